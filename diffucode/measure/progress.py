"""How far a long measurement is: told to a function that the caller brings, never printed."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""``progress(title, done, total)``; the last call of a title has done == total."""


def silent(title: str, done: int, total: int) -> None:
    """Tells nobody."""
