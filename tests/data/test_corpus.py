"""Corpora on disk: documents and their ends, what is left out, and when a file of tokens is made again."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from diffucode.data import corpus as module
from diffucode.data.corpus import ABOUT, Corpus, Tokens, tokens_of
from diffucode.errors import ConfigError, TaskError
from diffucode.models.toy import tiny_tokenizer

TEXTS = ["def f(x):\n    return x\n", "é 🦜", "x = 1", "# done"]
TOKENIZER = tiny_tokenizer()
END, MASK = TOKENIZER.eos_token_id, TOKENIZER.mask_token_id


def written(file: Path, texts: list[Any], column: str = "text") -> Path:
    rows = [text if isinstance(text, dict) else {column: text} for text in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def made(folder: Path, tokenizer: Any = TOKENIZER, **changes: Any) -> Tokens:
    return tokens_of(Corpus(**changes), tokenizer, end=END, mask=MASK, folder=folder / "tokens")


def documents(tokens: Tokens) -> list[str]:
    """The texts between the ends."""
    ends = [-1, *np.flatnonzero(tokens.token_T == END).tolist()]
    assert ends[-1] == len(tokens.token_T) - 1, "the last document ends, too"
    return [TOKENIZER.decode(tokens.token_T[a + 1 : b]) for a, b in pairwise(ends)]


def test_documents_keep_their_order_and_get_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    found = made(tmp_path, files=str(written(tmp_path / "t.jsonl", TEXTS)))
    assert documents(found) == TEXTS and found.documents == 4 and found.left_out == {}
    assert found.token_T.dtype == np.uint16


def test_every_kind_of_file_and_patterns_of_them(tmp_path: Path) -> None:
    import datasets

    one = written(tmp_path / "1.jsonl", TEXTS)
    table = pyarrow.Table.from_pylist([{"text": text} for text in TEXTS])
    parquet.write_table(table, tmp_path / "2.parquet")
    parts = datasets.DatasetDict({"train": datasets.Dataset(table)})
    parts.save_to_disk(str(tmp_path / "3"))
    written(tmp_path / "b.part.jsonl", TEXTS[2:])
    written(tmp_path / "a.part.jsonl", TEXTS[:2])
    for files, split in (
        (one, None),
        (tmp_path / "2.parquet", None),
        (tmp_path / "3", "train"),
        (tmp_path / "*.part.jsonl", None),
    ):
        assert documents(made(tmp_path, files=str(files), split=split)) == TEXTS, files


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [*TEXTS[:2], " \n", {"text": 3}, {"content": "x"}, "the <|mask|> token"]
    file = written(tmp_path / "t.jsonl", rows)
    file.write_text(file.read_text() + "none\n")
    found = made(tmp_path, files=str(file))
    assert documents(found) == TEXTS[:2]
    assert found.left_out == {
        "text is blank": 1,
        "text is no text": 1,
        "no column 'text' beside 'content'": 1,
        "spells the mask token": 1,
        "no JSON object": 1,
    }
    assert made(tmp_path, files=str(file)).left_out == found.left_out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": "none.jsonl"}, "files .*none.jsonl: no such file or folder"),
        ({"files": "none*.parquet"}, "no such file or folder, and no pattern of any"),
        (
            {"files": "t.jsonl", "text": "content"},
            "t.jsonl: no document in it; left out: 4 x no column 'content' beside 'text'",
        ),
        ({"files": "t.csv"}, "t.csv: expected a .jsonl"),
        ({"files": "t.jsonl", "split": "train"}, "only a saved folder has splits"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    written(tmp_path / "t.jsonl", TEXTS)
    (tmp_path / "t.csv").write_text("text\nx\n")
    with pytest.raises(TaskError, match=message):
        made(tmp_path, **{**changes, "files": str(tmp_path / changes["files"])})


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_are_over_0(weight: float) -> None:
    with pytest.raises(ConfigError, match="expected a number over 0"):
        Corpus("t.jsonl", weight=weight)


def test_tokens_are_made_once_and_again_when_something_else_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = written(tmp_path / "t.jsonl", TEXTS), module.rows.read
    calls: list[Path] = []

    def counted(path: Path, split: str | None) -> Iterator[Any]:
        calls.append(path)
        return read(path, split)

    monkeypatch.setattr(module.rows, "read", counted)

    def times(**changes: Any) -> int:
        before = len(calls)
        made(tmp_path, **{"files": str(file), **changes})
        return len(calls) - before

    assert [times(), times(), times(weight=2.0), times(files=str(tmp_path / "*.jsonl"))] == [
        1, 0, 0, 0,
    ]  # fmt: skip
    other = tiny_tokenizer()
    other.add_tokens(["return"])
    assert [times(tokenizer=other), times(tokenizer=other), times()] == [1, 0, 0]
    written(file, TEXTS[:3])
    assert times() == 1 and len(documents(made(tmp_path, files=str(file)))) == 3


def test_a_file_that_a_kill_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "t.jsonl", TEXTS)

    def stop(at: int) -> Callable[[int], None]:
        def seen(documents: int) -> None:
            if documents >= at:
                raise KeyboardInterrupt

        return seen

    monkeypatch.setattr(module, "AT_ONCE", 1)
    place = tmp_path / "tokens"
    with pytest.raises(KeyboardInterrupt):
        tokens_of(Corpus(str(file)), TOKENIZER, end=END, mask=MASK, folder=place, seen=stop(2))
    assert not list(place.rglob(ABOUT)) and not list(place.rglob("tokens.bin"))
    assert documents(made(tmp_path, files=str(file))) == TEXTS


def test_a_large_vocabulary_takes_wider_integers(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<{n}>" for n in range(66_000)])
    file = written(tmp_path / "t.jsonl", ["<65999>x"])
    found = made(tmp_path, tokenizer, files=str(file))
    assert found.token_T.dtype == np.uint32
    assert found.token_T.tolist() == [260 + 65_999, *tokenizer.encode("x"), END]
