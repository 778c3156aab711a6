"""Files that a kill leaves whole, or short of their last line at most."""

from pathlib import Path

import pytest

from diffucode import files
from diffucode.errors import ResumeError
from diffucode.files import append_jsonl, read_jsonl, write_atomic


def test_damage_inside_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text('{"a": 1}\n{"a"\n{"a": 2}\n')
    with pytest.raises(ResumeError, match="line 2"):
        read_jsonl(file)
    assert read_jsonl(tmp_path / "none") == []


def test_an_atomic_write_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state"
    write_atomic(file, "old")

    def power_cut(_: int) -> None:
        assert file.read_text() == "old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(file, b"new")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    write_atomic(file, b"new")
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


def test_a_torn_line_is_forgotten_when_more_is_added(tmp_path: Path) -> None:
    file = tmp_path / "new" / "rows.jsonl"
    append_jsonl(file, [{"index": 0}, {"index": 1}])
    with file.open("a") as lines:
        lines.write('{"index": 2, "pl')
    assert read_jsonl(file) == [{"index": 0}, {"index": 1}]
    append_jsonl(file, [{"index": 3}])
    assert read_jsonl(file) == [{"index": 0}, {"index": 1}, {"index": 3}]
