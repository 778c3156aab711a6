"""The published words of HumanEval and MBPP, letter for letter."""

import pytest

from diffucode.errors import PromptError
from diffucode.tasks.forms import BASE_STOPS, Form, asked, family_of
from diffucode.tasks.prompts import CHATML, Speaker

INSTRUCT = Speaker.of("DiffuCoder-7B-Instruct", "dream", {"<|im_start|>": 1, "<|im_end|>": 2}, None)
BASE = Speaker.of("mini", "dream", {"a": 0}, None)
CODE = '\n\ndef double(x):\n    """Twice x."""\n'
REQUEST = '"""\nWrite a function.\nassert f(1) == 2\n"""\n'


def chat(request: str) -> str:
    system = {"role": "system", "content": "You are a helpful assistant."}
    return CHATML([system, {"role": "user", "content": request}])


def test_diffucoder_asks_humaneval_and_mbpp_in_different_words() -> None:
    """reference: DiffuCoder's evaluation protocol."""
    prefill = "Here is the code to solve this problem: \n```python\n"
    shown, stops = asked(INSTRUCT, "HumanEval/0", CODE, "diffucoder")
    request = f"Please complete the following problem:\n```\n{CODE.strip(chr(10))}\n```\n"
    assert (shown.text, shown.reading, stops) == (chat(request) + prefill, "fence", ())
    assert asked(INSTRUCT, "minicode/test-0-0", CODE, "diffucoder").rendered == shown

    shown, stops = asked(INSTRUCT, "Mbpp/2", REQUEST, "diffucoder")
    request = f"```\n{REQUEST.strip()}\n```"
    assert (shown.text, shown.reading, stops) == (chat(request) + prefill, "fence", ())


@pytest.mark.parametrize(("task", "prompt"), [("HumanEval/0", CODE), ("Mbpp/2", REQUEST)])
def test_evalplus_words_are_those_of_its_codegen(task: str, prompt: str) -> None:
    from evalplus.provider.utility import EOS, extra_eos_for_direct_completion, make_raw_chat_prompt

    class Tokenizer:
        chat_template = "any"

        def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool) -> str:
            user, assistant = messages
            return chat(user["content"]) + assistant["content"] + "<|im_end|>\n"

    theirs = make_raw_chat_prompt(
        prompt.strip() + "\n",
        "Please provide a self-contained Python script that solves the following problem in a markdown "
        "code block:",
        "Below is a Python script with a self-contained function that solves the problem and passes "
        "corresponding tests:",
        Tokenizer(),
    )
    shown, stops = asked(INSTRUCT, task, prompt, "evalplus")
    assert (shown.text, shown.reading) == (theirs, "fence")
    texts = [stop for stop in EOS if not stop.startswith("<")]
    assert stops == (*texts, "\n```\n")

    shown, stops = asked(BASE, task, prompt, "evalplus")
    assert shown.text == shown.code == prompt.strip() + "\n"
    assert stops == (*texts, *extra_eos_for_direct_completion(family_of(task)))


def test_base_models_continue() -> None:
    shown, stops = asked(BASE, "HumanEval/0", CODE, "diffucoder")
    assert (shown.text, shown.reading, stops) == (CODE, "continuation", BASE_STOPS["humaneval"])
    assert asked(BASE, "Mbpp/2", REQUEST, "diffucoder").stops == BASE_STOPS["mbpp"]
    shown, stops = asked(BASE, "minicode/test-0-0", CODE, "diffucoder")
    assert shown == BASE.render(CODE) and stops == ()


def test_only_plain_has_a_style() -> None:
    shown = asked(INSTRUCT, "HumanEval/0", CODE, "plain", style="chat", system="")
    assert shown == (INSTRUCT.render(CODE, "chat", ""), ())
    forms: tuple[Form, ...] = ("diffucoder", "evalplus")
    for form in forms:
        with pytest.raises(PromptError, match="use form plain"):
            asked(INSTRUCT, "HumanEval/0", CODE, form, style="chat")
        assert "helpful" not in asked(INSTRUCT, "Mbpp/2", REQUEST, form, system="").rendered.text
