"""The words in which HumanEval and MBPP are asked, as published evaluations had them.

    diffucoder   a request, and an answer that begins inside a fence (DiffuCoder, by Qwen2.5-Coder's harness)
    evalplus     the same in the words of ``evalplus.codegen`` 0.3.1
    plain        as ``diffucode generate`` shows any prompt

A base model continues the prompt in either form, up to a stop string of EvalPlus'. Tasks that are neither
HumanEval nor MBPP are asked as HumanEval is, and have no stops.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from diffucode.errors import PromptError
from diffucode.tasks.prompts import COMPLETE_PREFILL, Rendered, Speaker, Style

Form = Literal["diffucoder", "evalplus", "plain"]
Family = Literal["humaneval", "mbpp", "other"]

DIFFUCODER_MBPP = "```\n{prompt}\n```"
EVALPLUS_REQUEST = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code "
    "block:\n```\n{prompt}\n```\n"
)
EVALPLUS_PREFILL = (
    "Below is a Python script with a self-contained function that solves the problem and passes "
    "corresponding tests:\n```python\n"
)
STOPS = ("\nif __name__", "\ndef main(", "\nprint(")
"""EvalPlus' ``EOS`` without special tokens, which are never in a text."""
CHAT_STOPS = (*STOPS, "\n```\n")
BASE_STOPS: dict[Family, tuple[str, ...]] = {
    "humaneval": (*STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert "),
    "mbpp": (*STOPS, '\n"""', "\nassert"),
    "other": (),
}
"""EvalPlus' ``extra_eos_for_direct_completion`` with them."""


class Asked(NamedTuple):
    """A task as a model is shown it."""

    rendered: Rendered
    stops: tuple[str, ...]
    """Text is cut before the earliest of them."""


def family_of(task: str) -> Family:
    """By a task's id: ``HumanEval/0``, ``Mbpp/2``."""
    known: dict[str, Family] = {"HumanEval": "humaneval", "Mbpp": "mbpp"}
    return known.get(task.split("/")[0], "other")


def asked(
    speaker: Speaker,
    task: str,
    prompt: str,
    form: Form,
    *,
    style: Style = "auto",
    system: str | None = None,
) -> Asked:
    """A task's prompt in a form. ``style`` belongs to the plain one.

    Raises PromptError for a style in another form, which has its own, and for what ``Speaker.render``
    refuses.
    """
    if form == "plain":
        return Asked(speaker.render(prompt, style, system), ())
    if style != "auto":
        raise PromptError(f"prompt style {style!r}: form {form!r} has its own; use form plain")
    family, stops = family_of(task), CHAT_STOPS if form == "evalplus" else ()
    if not speaker.instruct:
        begun = prompt.strip() + "\n" if form == "evalplus" else prompt
        return Asked(speaker.render(begun, "complete", system), BASE_STOPS[family])
    if form == "evalplus":
        request = EVALPLUS_REQUEST.format(prompt=prompt.strip())
        return Asked(speaker.prefilled(request, EVALPLUS_PREFILL, system), stops)
    if family == "mbpp":
        request = DIFFUCODER_MBPP.format(prompt=prompt.strip("\n"))
        return Asked(speaker.prefilled(request, COMPLETE_PREFILL, system), stops)
    return Asked(speaker.render(prompt, "complete", system), stops)
