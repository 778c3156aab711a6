"""What a job leaves: one JSON file, whole or not at all, with the outcome of every problem.

    {"arm", "seed", "point", "collapsed", "seconds", "cost", "curve",
     "measured": [{"pace", "split", "samples", "tau", "steps", columns...}, ...], "votes"}

Outcomes are columns, one list for each field over the problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from diffucode.errors import ResumeError
from diffucode.files import write_atomic
from diffucode.metrics.outcomes import Outcome

FILE = "row.json"
COLUMNS = (
    "id", "signature", "n", "valid", "plus", "reward", "ended", "distinct", "local", "leftmost", "passes",
)  # fmt: skip

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Measured:
    """The outcomes of one measurement."""

    pace: str
    """As ``Study.paces`` names it."""
    split: str
    tau: float
    columns: Columns
    """``COLUMNS``, a value a problem."""

    def of_problem(self, name: str) -> dict[str, Any]:
        """A column by the problems' ids."""
        return dict(zip(self.columns["id"], self.columns[name], strict=True))


@dataclass(frozen=True)
class Votes:
    """Samples of each problem: whose behaviour is whose, and which are right."""

    id: list[str]
    signature: list[str]
    label: list[list[int | None]]
    """Samples of a problem with one number do the same; None: nothing that could be compared."""
    right: list[list[bool]]
    positions: int
    """That went through the model, all samples together."""


@dataclass(frozen=True)
class Row:
    """A finished job."""

    arm: str
    seed: int
    point: int | None
    collapsed: str | None
    """Why there is no model to measure: its outcomes are failures then. None: it was measured."""
    seconds: float
    """Wall clock, of the process that finished it."""
    cost: dict[str, float] = field(default_factory=dict)
    """Of the training: rollouts, forward positions."""
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """Evaluations on ``dev`` while it trained, with what they had cost by then."""
    measured: list[Measured] = field(default_factory=list)
    votes: Votes | None = None

    def at(self, pace: str, *, tau: float = 0.0) -> Measured | None:
        """The measurement at a pace and a temperature."""
        return next((m for m in self.measured if m.pace == pace and m.tau == tau), None)

    def write(self, folder: Path) -> None:
        write_atomic(folder / FILE, json.dumps(asdict(self)) + "\n")


def read(folder: Path) -> Row | None:
    """The row in a job's folder; None where the job is not finished. Raises ResumeError for another file."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        measured = [Measured(**one) for one in found.pop("measured")]
        votes = found.pop("votes")
        return Row(**found, measured=measured, votes=None if votes is None else Votes(**votes))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResumeError(
            f"{file}: not the row of a job ({error}); delete it to run it again"
        ) from None


def columns(outcomes: Sequence[Outcome]) -> Columns:
    return {name: [getattr(one, name) for one in outcomes] for name in COLUMNS}


def failed(like: Measured, samples: int) -> Measured:
    """The same problems without one answer: what a model that writes nothing is measured to be."""
    many = len(like.columns["id"])
    kept = {name: like.columns[name] for name in ("id", "signature")}
    nothing: Columns = {name: [0] * many for name in COLUMNS} | {
        "n": [samples] * many,
        "local": [None] * many,
        "leftmost": [None] * many,
    }
    return replace(like, columns=nothing | kept)


def by_arm(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Measured rows of each arm, by seed; those of a grid are left out."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.seed):
        if row.point is None:
            found.setdefault(row.arm, []).append(row)
    return found
