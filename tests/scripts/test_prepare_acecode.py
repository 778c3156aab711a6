"""The command that prepares AceCode: what it reads, writes, says and refuses."""

import json
import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from running import ROOT, python

from diffucode.rl.graded import Table, load

SCRIPT = ROOT / "scripts" / "prepare_acecode"
SAMPLE = ROOT / "tests" / "data" / "acecode_sample.jsonl"


def call(*arguments: object, code: int = 0) -> str:
    printed, complained = python(SCRIPT, *arguments, code=code)
    return complained if code else printed


def ids(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


def test_parquet_and_jsonl_give_the_same_file(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    said = call(SAMPLE, tmp_path / "a.jsonl")
    call(tmp_path / "in.parquet", tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert len(ids(tmp_path / "a.jsonl")) == 4
    assert "13 rows read" in said and "acecode_sample.jsonl:13" in said
    found = load(Table(str(tmp_path / "a.jsonl")))
    assert len(found.problems) == 4 and found.left_out == ()


def test_the_paper_and_the_other_bands(tmp_path: Path) -> None:
    call(SAMPLE, tmp_path / "paper.jsonl", "--paper")
    assert len(ids(tmp_path / "paper.jsonl")) == 2
    said = call(SAMPLE, tmp_path / "easy.jsonl", "--difficulty", "easy")
    assert len(ids(tmp_path / "easy.jsonl")) == 5
    assert "1 not, because it speaks to the reader" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl", "out.jsonl"), "none.jsonl: cannot be read"),
        ((SAMPLE, "out.jsonl", "--paper", "--difficulty", "easy"), "not allowed with"),
        ((SAMPLE, "out.jsonl", "--split", "train"), "only a saved folder has splits"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    assert message in call(*arguments, code=2)
    assert not (ROOT / "out.jsonl").exists() and not (tmp_path / "out.jsonl").exists()


def test_it_runs_by_itself_and_explains_itself() -> None:
    assert os.access(SCRIPT, os.X_OK) and SCRIPT.read_text().startswith("#!/usr/bin/env python\n")
    text = call("--help")
    for word in ("--paper", "--difficulty", "--split", "qwen_coder_2.5", "40th percentile"):
        assert word in text
