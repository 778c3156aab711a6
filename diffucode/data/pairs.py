"""Prompts with the answers to learn: rows of a table, or minicode's training examples.

What cannot be used is left out and counted by its reason; nothing is cut or repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from diffucode.data import rows
from diffucode.errors import TaskError
from diffucode.tasks import minicode


@dataclass(frozen=True)
class Columns:
    """Which column holds what."""

    prompt: str = "prompt"
    answer: str = "answer"


@dataclass(frozen=True)
class Table:
    """A pair a row of what ``data.rows`` reads."""

    file: str
    """File or folder."""
    split: str | None = None
    """Of a saved folder that has several."""
    columns: Columns = Columns()
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Minicode:
    """The first examples of minicode's split ``train``, in all forms."""

    seed: int = 0
    examples: int = 1000
    kind: Literal["minicode"] = "minicode"

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise TaskError(f"examples: expected at least 1, got {self.examples}")


Source = Minicode | Table


class Pair(NamedTuple):
    """Text as it was found, neither part blank."""

    place: str
    """Where it stands, for people."""
    prompt: str
    answer: str


def read(source: Source, left_out: Counter[str]) -> Iterator[Pair]:
    """The pairs of a source in their order; rows that are none are added to ``left_out``.

    Raises TaskError on what cannot be read, when the first pair is asked for or where the reading fails.
    """
    if isinstance(source, Minicode):
        for index in range(source.examples):
            (example,) = minicode.examples("train", source.seed, 1, index)
            yield Pair(f"minicode/train/{example.id}", example.prompt, example.response)
        return
    for row in rows.read(Path(source.file), source.split):
        found = _pair(row, source.columns)
        if isinstance(found, Pair):
            yield found
        else:
            left_out[found] += 1


def _pair(row: rows.Row, columns: Columns) -> Pair | str:
    """A pair, or why there is none, in words that many rows share."""
    if row.fields is None:
        return "no JSON object"
    texts = []
    for name in (columns.prompt, columns.answer):
        if name not in row.fields:
            return f"no column {name!r} beside {', '.join(map(repr, row.fields))}"
        if not isinstance(text := row.fields[name], str):
            return f"{name} is no text"
        if not text.strip():
            return f"{name} is blank"
        texts.append(text)
    return Pair(row.place, *texts)
