"""A programming problem: what is asked, what answers it, how an answer is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One call of the entry point and the value it must return."""

    arguments: tuple[Any, ...]
    expected: Any


@dataclass(frozen=True)
class Tests:
    """Three disjoint sets of cases. Training sees ``reward`` only; ``plus`` is the headline."""

    reward: tuple[Case, ...]
    base: tuple[Case, ...]
    plus: tuple[Case, ...]


@dataclass(frozen=True)
class Reference:
    """A body that the generator knows, indented and ending in a newline."""

    body: str
    algorithm: str
    rate: float
    """Share of training examples of this problem that use it."""
    correct: bool
    """False where the algorithm misses a case (empty, duplicates, negatives, ties)."""


@dataclass(frozen=True)
class Problem:
    """A function to complete. Plain data: nothing here runs anything."""

    id: str
    """Unique and reproducible, for example ``minicode/test/0/17``."""
    prompt: str
    """Signature and docstring, ending in a newline: the body comes next."""
    entry_point: str
    """Name of the function that tests call."""
    references: tuple[Reference, ...]
    """Known bodies, the most frequent in training first; at least one is correct."""
    signature: str
    """What the problem composes, without its wording and constants; splits are disjoint in it."""
    domain: str
    band: int
    """Difficulty, 1 to 5."""

    @property
    def trap(self) -> bool:
        """Whether the most frequent algorithm is wrong on some inputs."""
        return not self.references[0].correct

    @property
    def reference(self) -> str:
        """The most frequent correct body."""
        return next(r.body for r in self.references if r.correct)

    @property
    def program(self) -> str:
        """Prompt and a correct body: a module that defines the entry point."""
        return self.prompt + self.reference
