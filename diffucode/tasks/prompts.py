"""What a model is shown: a prompt in the words that its family was published with.

Three styles, and ``auto`` that picks one::

    chat       a message to an instruct model                -> an answer, code in a fence
    complete   the beginning of a program                    -> its continuation
    raw        the text as it stands, special tokens and all -> text

An instruct model that is asked to ``complete`` gets DiffuCoder's evaluation template: the program
in a fence inside a request, and an answer whose fence is already open. Any other model continues.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from diffucode.errors import PromptError

Style = Literal["auto", "chat", "complete", "raw"]

Reading = Literal["answer", "fence", "continuation", "verbatim"]
"""How a completion is read; ``extract`` says what each finds."""

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": ...}``."""


@dataclass(frozen=True)
class Rendered:
    """A prompt ready for the tokenizer."""

    text: str
    reading: Reading
    templated: bool
    """Whether the text spells its special tokens, so that the tokenizer must add none."""
    code: str = ""
    """The beginning of the program, when the completion continues it."""


@dataclass(frozen=True)
class Template:
    """A chat format as text: what stands around each message."""

    turn: str
    """One message; fields ``role`` and ``content``."""
    answer: str
    """What opens the model's turn."""
    start: str = ""
    """What opens the conversation."""
    system: str | None = None
    """The system prompt that the family was published with."""
    marks: tuple[str, ...] = ()
    """Special tokens without which a tokenizer does not speak this format; the last one ends a message."""

    def __call__(self, messages: Sequence[Message]) -> str:
        turns = "".join(self.turn.format(role=m["role"], content=m["content"]) for m in messages)
        return self.start + turns + self.answer


CHATML = Template(
    turn="<|im_start|>{role}\n{content}<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    system="You are a helpful assistant.",
    marks=("<|im_start|>", "<|im_end|>"),
)
"""Qwen's format, which Dream and DiffuCoder use (apple/ml-diffucoder, README)."""

HEADERS = Template(
    turn="<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>",
    answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
    start="<|startoftext|>",
    marks=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
"""LLaDA's format (ML-GSAI/LLaDA, chat template of the tokenizer)."""

TEMPLATES: dict[str, Template] = {"dream": CHATML, "diffucoder": CHATML, "llada": HEADERS}
"""By model family. A family that is not here speaks through its tokenizer's own template."""

COMPLETE_REQUEST = "Please complete the following problem:\n```\n{code}\n```\n"
COMPLETE_PREFILL = "Here is the code to solve this problem: \n```python\n"


@dataclass(frozen=True)
class Speaker:
    """How one model is spoken to."""

    chat: Callable[[Sequence[Message]], str] | None
    """Messages to text that ends where the model's turn begins; None: the model does not chat."""
    system: str | None
    """The default system prompt, if the family has one."""
    instruct: bool
    """Whether ``auto`` chats."""
    end: str | None = None
    """The special token that ends a message of the family's template."""

    @classmethod
    def of(
        cls,
        name: str,
        family: str,
        vocabulary: Mapping[str, int],
        own: Callable[[Sequence[Message]], str] | None,
    ) -> Speaker:
        """The family's template if the tokenizer has its marks, else the tokenizer's ``own`` one.

        A base model may carry a chat template too, so the word "base" in the name keeps ``auto`` away.
        """
        template = TEMPLATES.get(family)
        if template is not None and all(mark in vocabulary for mark in template.marks):
            chat: Callable[[Sequence[Message]], str] | None = template
            system, end = template.system, template.marks[-1]
        else:
            chat, system, end = own, None, None
        base = re.search(r"(?<![a-z])base(?![a-z])", name.lower().rstrip("/").rpartition("/")[2])
        return cls(chat, system, chat is not None and base is None, end)

    def style(self, style: Style) -> Literal["chat", "complete", "raw"]:
        """``auto`` resolved."""
        if style == "auto":
            return "chat" if self.instruct else "complete"
        return style

    def render(self, prompt: str, style: Style = "auto", system: str | None = None) -> Rendered:
        """The prompt in this style. ``system=None`` is the family's default, an empty one is none.

        A program to complete that ends in a finished line (a colon, a closed docstring) gets the
        newline that a shell likes to swallow.

        Raises PromptError for an empty prompt, a chat with a model that has no chat template, and a
        system prompt where no message carries it.
        """
        if not prompt.strip():
            raise PromptError(
                "the prompt is empty; expected a request or the beginning of a program"
            )
        style = self.style(style)
        if style == "raw":
            self._refuse_system(system, style)
            return Rendered(prompt, "verbatim", templated=False)
        if style == "chat":
            return Rendered(self._converse(prompt.strip(), system), "answer", templated=True)
        if self.instruct:
            request = COMPLETE_REQUEST.format(code=prompt.strip("\n"))
            return self.prefilled(request, COMPLETE_PREFILL, system)
        self._refuse_system(system, style)
        code = prompt + "\n" * _ends_a_line(prompt)
        return Rendered(code, "continuation", templated=False, code=code)

    def prefilled(self, request: str, opening: str, system: str | None = None) -> Rendered:
        """A chat in which the answer has begun: ``opening`` ends inside a fence, the completion goes on.

        Raises PromptError for a model without a chat template.
        """
        return Rendered(self._converse(request, system) + opening, "fence", templated=True)

    def _converse(self, content: str, system: str | None) -> str:
        if self.chat is None:
            raise PromptError(
                "this model's tokenizer has no chat template; use --prompt-style complete or raw"
            )
        system = self.system if system is None else system
        messages = [{"role": "system", "content": system}] if system else []
        return self.chat([*messages, {"role": "user", "content": content}])

    def _refuse_system(self, system: str | None, style: str) -> None:
        if system:
            raise PromptError(
                f"a system prompt needs a chat model; prompt style {style!r} has no place for it"
            )


def _ends_a_line(code: str) -> bool:
    """Whether the code ends in a colon or in the end of a docstring, with no newline after it."""
    return code.endswith(":") or any(
        code.endswith(quotes) and code.count(quotes) % 2 == 0 for quotes in ('"""', "'''")
    )
