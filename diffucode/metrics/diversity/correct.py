"""The correct programs of a task, as a type that only verdicts can make.

What looks at wrong programs as well takes each way of being wrong for an algorithm: unfiltered, the figures
of one model grew from about 1.3 to over 4 (docs/diversity.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Judged(NamedTuple):
    """A sample and what a scorer said of it."""

    program: str
    passed: bool | None
    """None: the scorer could not do its work, which is no verdict."""


@dataclass(frozen=True, init=False)
class CorrectPrograms:
    """The samples of a task that passed, in their order, with repetitions."""

    task: str
    programs: tuple[str, ...]
    pool: int
    """Samples with a verdict."""
    unjudged: int
    """Samples without one. They are in no figure."""

    def __init__(self, task: str, samples: Iterable[Judged]) -> None:
        known = list(samples)
        judged = [sample for sample in known if sample.passed is not None]
        object.__setattr__(self, "task", task)
        object.__setattr__(self, "programs", tuple(s.program for s in judged if s.passed))
        object.__setattr__(self, "pool", len(judged))
        object.__setattr__(self, "unjudged", len(known) - len(judged))
