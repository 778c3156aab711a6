"""Programs with holes whose fillings are known: HumanEval infilling, and minicode with lines taken out.

read(file)                the rows of OpenAI's human-eval-infilling: one hole each
cut(problems, holes, seed)  whole lines of minicode's references, none beside another, as many holes
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from diffucode.errors import TaskError
from diffucode.execution.asserts import Unsplit
from diffucode.execution.checks import Test
from diffucode.generate.infill import Holes
from diffucode.measure.problems import Known


@dataclass(frozen=True)
class Gapped:
    """A program with holes, what stood in them, and how a filled one is checked."""

    id: str
    cluster: Hashable
    """Rows that are nearly the same problem share it: intervals resample these."""
    given: tuple[str, ...]
    """Text before, between and after the holes."""
    answers: tuple[str, ...]
    entry_point: str
    tests: tuple[Test, ...]

    @property
    def whole_lines(self) -> bool:
        """Whether every hole is one line, and this may be known."""
        return all(map(is_line, self.answers))

    def filled(self, fills: Sequence[str]) -> str:
        """The program with its holes filled."""
        return Holes(self.given, (1,) * len(self.answers)).filled(fills)


def is_line(text: str) -> bool:
    """One line, with its end."""
    return text.find("\n") == len(text) - 1 >= 0


def read(file: str | Path) -> tuple[Gapped, ...]:
    """The rows of a ``.jsonl`` or ``.jsonl.gz`` of HumanEval infilling (Bavarian et al. 2022).

    Their tests run whole beside the program, as published. Raises TaskError when the file is missing or
    a line is no such row.
    """
    path = Path(file)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TaskError(
            f"{path}: expected a .jsonl or .jsonl.gz of infilling tasks: {error}"
        ) from None
    rows = []
    # not splitlines: JSON strings may hold U+2028 and the like
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            rows.append(_row(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TaskError(
                f"{path}, line {number}: expected a row with task_id, prompt, suffix, "
                f"canonical_solution, test and entry_point: {type(error).__name__} {error}"
            ) from None
    return tuple(rows)


def chosen(rows: Sequence[Gapped], n: int, seed: int) -> list[Gapped]:
    """``n`` of the rows, or all: those whose digests with the seed come first, in the file's order."""

    def digest(row: Gapped) -> bytes:
        return hashlib.sha256(f"{seed}/{row.id}".encode()).digest()

    kept = {row.id for row in sorted(rows, key=digest)[:n]}
    return [row for row in rows if row.id in kept]


def cut(known: Known, holes: int, seed: int) -> Gapped | None:
    """A minicode problem with ``holes`` lines of its reference taken out, chosen by (seed, id).

    A hole is a whole line, from its indentation to its newline, and no two are neighbours. None where
    the reference has too few lines.
    """
    problem, tests = known
    lines = problem.reference.splitlines(keepends=True)
    if len(lines) < 2 * holes - 1:
        return None
    # A choice of h numbers below n - h + 1 spread by their rank: each set without neighbours once.
    random = Random(f"{seed}/{problem.id}")
    picked = [at + rank for rank, at in enumerate(
        sorted(random.sample(range(len(lines) - holes + 1), holes))
    )]  # fmt: skip
    given, start = [], 0
    for at in picked:
        given.append("".join(lines[start:at]))
        start = at + 1
    return Gapped(
        id=problem.id,
        cluster=problem.signature,
        given=(problem.prompt + given[0], *given[1:], "".join(lines[start:])),
        answers=tuple(lines[at] for at in picked),
        entry_point=problem.entry_point,
        tests=tests.plus,
    )


def _row(row: Mapping[str, Any]) -> Gapped:
    _kind, problem, number, *_ = row["task_id"].split("/")
    entry_point = str(row["entry_point"])
    source = f"{row['test']}\ncheck({entry_point})\n"
    return Gapped(
        id=row["task_id"],
        cluster=f"{problem}/{number}",
        given=(str(row["prompt"]), str(row["suffix"])),
        answers=(str(row["canonical_solution"]),),
        entry_point=entry_point,
        tests=(Unsplit(source, "the data set's own check"),),
    )
