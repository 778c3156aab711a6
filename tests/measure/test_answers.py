"""Answers of any model, read from JSON lines."""

import json
from pathlib import Path

import pytest

from diffucode.errors import TaskError
from diffucode.measure.answers import read_answers


def written(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return file


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return written(tmp_path / "p.jsonl", [{"id": id, "prompt": "def f():"} for id in "ab"])


def test_answers_stand_under_their_prompts(prompts: Path, tmp_path: Path) -> None:
    rows = [{"id": id, "program": p} for id, p in (("b", "1"), ("a", "2"), ("b", "a\u2028b"))]
    found = read_answers(prompts, written(tmp_path / "out.jsonl", rows))
    assert list(found.items()) == [("a", ["2"]), ("b", ["1", "a\u2028b"])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "no lines in it"),
        ("\n[1]\n", "line 2: expected an object with id and program"),
        ('{"id": 1, "program": ""}\n', "line 1: expected an object"),
        ('{"id": "c", "program": ""}\n', "an answer to 'c', which .* does not ask"),
        ('{"id": "b", "program": ""}\n', "1 of 2 prompts have no answer, the first is 'a'"),
    ],
)
def test_files_of_another_form_are_refused(
    prompts: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    answers = tmp_path / "out.jsonl"
    if text is not None:
        answers.write_text(text)
    with pytest.raises(TaskError, match=message):
        read_answers(prompts, answers)
