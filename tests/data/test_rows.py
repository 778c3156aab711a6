"""Rows of tables on disk: each with its place, and an error for what cannot be read."""

import gzip
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from diffucode.data import rows
from diffucode.data.rows import Row, read
from diffucode.errors import TaskError


def test_lines_keep_their_numbers_and_their_strange_characters(tmp_path: Path) -> None:
    text = '{"a": "x\u2028y"}\n\nnone\n{"a": 2}'
    (tmp_path / "t.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.jsonl", "t.jsonl.gz"):
        assert [*read(tmp_path / name)] == [
            Row(f"{name}:1", {"a": "x\u2028y"}),
            Row(f"{name}:3", None),
            Row(f"{name}:4", {"a": 2}),
        ]


def test_parquet_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "AT_ONCE", 2)
    table = [{"a": n, "b": [{"c": "x" * n}]} for n in range(5)]
    parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "t.parquet")
    assert [*read(tmp_path / "t.parquet")] == [
        Row(f"t.parquet:{n}", fields) for n, fields in enumerate(table, start=1)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "none.jsonl: cannot be read"),
        ("none.parquet", None, "none.parquet: cannot be read as parquet"),
        ("t.parquet", b"no", "cannot be read as parquet"),
        ("t.jsonl", b"\xff\xfe", "t.jsonl: cannot be read"),
        ("t.jsonl.gz", b"no", "cannot be read"),
        ("t.csv", b"a,b", "t.csv: expected a .jsonl"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message):
        [*read(tmp_path / name)]


def test_splits_are_of_saved_folders(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="only a saved folder has splits"):
        read(tmp_path / "t.jsonl", "train")
    with pytest.raises(TaskError, match="no data set that datasets saved"):
        [*read(tmp_path)]
