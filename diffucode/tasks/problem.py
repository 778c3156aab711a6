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
class Problem:
    """A function to complete. Plain data: nothing here runs anything."""

    id: str
    """Unique and reproducible, for example ``minicode/test/0/17``."""
    prompt: str
    """Signature and docstring, ending in a newline: the body comes next."""
    entry_point: str
    """Name of the function that the cases call."""
    references: tuple[str, ...]
    """Known correct bodies, indented, ending in a newline; the first is the one to learn from."""
    cases: tuple[Case, ...]
    signature: str
    """What the problem composes, without its wording and constants; splits are disjoint in it."""

    @property
    def reference(self) -> str:
        return self.references[0]

    @property
    def program(self) -> str:
        """Prompt and reference: a module that defines the entry point."""
        return self.prompt + self.reference
