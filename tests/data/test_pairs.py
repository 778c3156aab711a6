"""Pairs from tables and from minicode, and what is said of rows that are none."""

import json
from collections import Counter
from pathlib import Path

import pytest

from diffucode.data.pairs import Columns, Minicode, Pair, Table, read
from diffucode.errors import TaskError
from diffucode.tasks import minicode


def test_columns_of_a_table(tmp_path: Path) -> None:
    good = {"instruction": "Say a.", "output": " a\n", "input": ""}
    lines = [
        json.dumps(good),
        "[1, 2]",
        json.dumps({"instruction": "Say b."}),
        json.dumps(good | {"output": 3}),
        json.dumps(good | {"instruction": " \n"}),
        json.dumps(good | {"output": "c"}),
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(lines))
    left_out: Counter[str] = Counter()
    found = list(read(Table(str(file), columns=Columns("instruction", "output")), left_out))
    assert found == [
        Pair("pairs.jsonl:1", "Say a.", " a\n"),
        Pair("pairs.jsonl:6", "Say a.", "c"),
    ]
    assert left_out == {
        "no JSON object": 1,
        "no column 'output' beside 'instruction'": 1,
        "output is no text": 1,
        "instruction is blank": 1,
    }


def test_examples_of_minicode() -> None:
    left_out: Counter[str] = Counter()
    found = list(read(Minicode(seed=3, examples=5), left_out))
    made = minicode.examples("train", 3, 5)
    assert [(pair.prompt, pair.answer) for pair in found] == [(e.prompt, e.response) for e in made]
    assert not left_out


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="cannot be read"):
        next(read(Table(str(tmp_path / "none.jsonl")), Counter()))
    with pytest.raises(TaskError, match="examples: expected at least 1"):
        Minicode(examples=0)
