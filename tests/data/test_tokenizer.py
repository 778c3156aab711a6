"""The tokenizer: no loss, reserved ids, and pieces that end where lines end."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from diffucode.data.tokenizer import MARKS, specials, train_tokenizer
from diffucode.tasks import minicode

ROOT = Path(__file__).parents[2]


@cache
def trained() -> Any:
    programs = [problem.program for problem in minicode.problems("train", 0, 60)]
    return train_tokenizer(programs, 1024, longest=512)


@pytest.mark.parametrize(
    "text",
    ["def f(x):\n\treturn x  # ünïcödé 🦜\r\n", "\x00\x7f", "  a   b\n\n\n    c ", "日本語", ""],
)
def test_nothing_is_lost(text: str) -> None:
    shipped = AutoTokenizer.from_pretrained(ROOT / "diffucode/models/weights/mini")
    for tokenizer in (shipped, trained(), train_tokenizer(["x = 1\n"], 330, longest=64)):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_sixty_four_ids_are_reserved() -> None:
    tokenizer = trained()
    names = specials()
    assert len(names) == len(set(names)) == 64
    assert tokenizer.convert_tokens_to_ids(names) == list(range(64))
    assert names[:3] == [tokenizer.eos_token, tokenizer.mask_token, tokenizer.pad_token]
    assert len(tokenizer("ab\n")["input_ids"]) <= 3 < 64 <= min(tokenizer("ab\n")["input_ids"])


def test_marks_are_single_tokens_that_stay_visible() -> None:
    text = "<code>\nx = 1\n</code><out>1</out>"
    ids = trained()(text)["input_ids"]
    assert [ids.count(i) for i in trained().convert_tokens_to_ids(list(MARKS))] == [1, 1, 1, 1]
    assert trained().decode([0, *ids, 1, 2, 63], skip_special_tokens=True) == text


def test_a_prompt_is_tokenised_alike_alone_and_before_its_answer() -> None:
    for problem in minicode.problems("train", 1, 30):
        prompt, answer = (
            trained()(text)["input_ids"] for text in (problem.prompt, problem.reference)
        )
        assert trained()(problem.program)["input_ids"] == prompt + answer


def test_indentation_goes_with_its_word_and_a_line_break_with_its_colon() -> None:
    text = "    for x in nums:\n        if x > 0:\n"
    pieces = [trained().decode([i]) for i in trained()(text)["input_ids"]]
    assert pieces[0] == "    for" and ":\n" in pieces and "        if" in pieces


def test_quoted_letters_and_numbers_are_tokens_of_their_own() -> None:
    """What has to be copied from the prompt reads the same in both places, contractions or not."""
    for letter in "aeorst":
        id = trained().convert_tokens_to_ids(letter)
        for text in (f"contain '{letter}'.", f"w.startswith('{letter}')"):
            assert id in trained()(text)["input_ids"]
    assert trained().tokenize(" 7.") == ["Ġ7", "."]


def test_bundled_models_share_a_tokenizer() -> None:
    one, two = (ROOT / "diffucode/models/weights" / name for name in ("mini", "mini-ar"))
    assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(one)
    assert tokenizer.convert_tokens_to_ids(specials()[:3]) == [0, 1, 2]
    assert tokenizer.eos_token_id == 0 and tokenizer.pad_token_id == 2
