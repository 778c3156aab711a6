"""The published templates, letter for letter, and who gets which."""

from collections.abc import Mapping, Sequence

import pytest

from diffucode.errors import PromptError
from diffucode.tasks.prompts import CHATML, HEADERS, Speaker

CHATML_VOCABULARY = {"<|im_start|>": 1, "<|im_end|>": 2}
HEADER_VOCABULARY = {"<|start_header_id|>": 1, "<|end_header_id|>": 2, "<|eot_id|>": 3}


def own(messages: Sequence[Mapping[str, str]]) -> str:
    return "".join(f"[{m['role']}]{m['content']}" for m in messages) + "[assistant]"


DIFFUCODER = Speaker.of("DiffuCoder-7B-Instruct", "dream", CHATML_VOCABULARY, own)
LLADA = Speaker.of("LLaDA-8B-Instruct", "llada", HEADER_VOCABULARY, own)
AR = Speaker.of("smollm2", "causal", {}, own)
MINI = Speaker.of("mini", "dream", {"a": 0}, None)


def test_dream_chat_is_the_published_string() -> None:
    rendered = DIFFUCODER.render("Write a sort.\n")
    assert rendered.text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nWrite a sort.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert (rendered.reading, rendered.templated) == ("answer", True)


def test_llada_chat_is_the_published_string() -> None:
    assert LLADA.render("Write a sort.").text == (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nWrite a sort.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_an_autoregressive_model_speaks_through_its_own_template() -> None:
    assert AR.render("hi").text == "[user]hi[assistant]"
    assert AR.render("hi", system="be terse").text == "[system]be terse[user]hi[assistant]"


def test_system_prompt_none_is_the_default_and_empty_is_none() -> None:
    assert "helpful" in DIFFUCODER.render("hi").text
    assert "system" not in DIFFUCODER.render("hi", system="").text
    assert "system\nBe terse.<|im_end|>" in DIFFUCODER.render("hi", system="Be terse.").text


def test_braces_in_a_prompt_are_text() -> None:
    assert "d = {x}" in DIFFUCODER.render("d = {x}").text


def test_completing_on_an_instruct_model_is_the_evaluation_template() -> None:
    rendered = DIFFUCODER.render("def f():\n", "complete")
    assert rendered.text == CHATML(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {
                "role": "user",
                "content": "Please complete the following problem:\n```\ndef f():\n```\n",
            },
        ]
    ) + ("Here is the code to solve this problem: \n```python\n")
    assert rendered.reading == "fence"


@pytest.mark.parametrize("style", ["auto", "complete", "raw"])
def test_a_model_that_does_not_chat_sees_the_prompt_itself(style: str) -> None:
    rendered = MINI.render("def f():\n    ", style)  # type: ignore[arg-type]
    assert rendered.text == "def f():\n    "
    assert not rendered.templated
    assert rendered.reading == ("verbatim" if style == "raw" else "continuation")


@pytest.mark.parametrize(
    ("prompt", "added"),
    [
        ("def f(x):", "\n"),
        ('def f(x):\n    """Doc."""', "\n"),
        ("def f(x):\n    '''Doc.'''", "\n"),
        ('def f(x):\n    """', ""),
        ("def f(x):\n", ""),
        ("def f(x", ""),
        ("x = ", ""),
    ],
)
def test_a_finished_line_gets_its_newline_in_a_program_only(prompt: str, added: str) -> None:
    assert MINI.render(prompt).text == MINI.render(prompt).code == prompt + added
    assert MINI.render(prompt, "raw").text == prompt


def test_auto_chats_with_instruct_models_only() -> None:
    base = Speaker.of("apple/DiffuCoder-7B-Base", "dream", CHATML_VOCABULARY, own)
    assert DIFFUCODER.style("auto") == LLADA.style("auto") == AR.style("auto") == "chat"
    assert base.style("auto") == MINI.style("auto") == "complete"
    folder = Speaker.of("database/base/tiny-instruct/", "dream", CHATML_VOCABULARY, own)
    assert folder.style("auto") == "chat", "the word, and in the model's own name"
    assert base.render("hi", "chat").templated, "a base model still chats when told to"


def test_a_tokenizer_without_the_marks_does_not_speak_the_family_template() -> None:
    assert MINI.chat is None
    assert Speaker.of("x", "llada", CHATML_VOCABULARY, None).chat is None
    assert Speaker.of("x", "llada", HEADER_VOCABULARY, None).chat is HEADERS


@pytest.mark.parametrize(
    ("speaker", "prompt", "style", "system", "message"),
    [
        (MINI, " \n", "auto", None, "the prompt is empty"),
        (DIFFUCODER, "", "raw", None, "the prompt is empty"),
        (MINI, "hi", "chat", None, "no chat template"),
        (MINI, "hi", "complete", "be terse", "needs a chat model"),
        (DIFFUCODER, "hi", "raw", "be terse", "needs a chat model"),
    ],
)
def test_refusals(
    speaker: Speaker, prompt: str, style: str, system: str | None, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        speaker.render(prompt, style, system)  # type: ignore[arg-type]
