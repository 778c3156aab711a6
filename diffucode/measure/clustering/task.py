"""What a clusterer is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Task:
    """A problem, as far as a clusterer may know it."""

    id: str
    statement: str
    """What is asked, for a judge that reads."""
    entry_point: str
    inputs: Sequence[tuple[Any, ...]]
    """Arguments that the function takes, for a clusterer that runs programs."""


class Clusterer(Protocol):
    """Tells which programs for a task use the same algorithm. They should all be correct: wrong programs are
    unlike one another in ways that are no algorithms."""

    @property
    def name(self) -> str:
        """Which clusterer, in which version: figures of different ones must not be compared."""

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        """For each program a number from 0, equal where the algorithm is; None where it cannot tell."""


def numbered(labels: Sequence[int | None]) -> list[int | None]:
    """Labels as numbers from 0 in the order in which they first occur."""
    number: dict[int, int] = {}
    return [None if one is None else number.setdefault(one, len(number)) for one in labels]
