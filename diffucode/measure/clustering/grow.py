"""Inputs of growing size, made of a problem's own.

A value grows by repetition, which keeps much of what a problem may ask of its inputs: palindromes and
balanced brackets stay such, ascending lists ascend, distinct numbers stay distinct, a majority stays one,
square grids are square. What it does not keep shows as an exception, and such calls are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Arguments = tuple[Any, ...]
Part = Literal["all", "collections", "numbers"]

FACTORS = (1, 2, 4, 8)
EXAMPLES = 4
"""How many of a problem's inputs are grown, the largest."""


class Grown(NamedTuple):
    """One input."""

    arguments: Arguments
    factor: int
    part: Part
    """Which of the arguments grew."""


def grown(inputs: Sequence[Arguments]) -> list[Grown]:
    """The largest inputs, each times ``FACTORS``: all arguments, and where there are both, collections alone
    and numbers alone. [] for no inputs."""
    largest = sorted(inputs, key=_size, reverse=True)[:EXAMPLES]
    found = []
    for arguments in largest:
        collections = [not isinstance(value, (int, float)) for value in arguments]
        both = any(collections) and not all(collections)
        parts: tuple[Part, ...] = ("all", "collections", "numbers") if both else ("all",)
        for part in parts:
            chosen = [part == "all" or (part == "collections") == one for one in collections]
            for factor in FACTORS if part == "all" else FACTORS[1:]:
                values = tuple(
                    times(value, factor) if one else value
                    for value, one in zip(arguments, chosen, strict=True)
                )
                found.append(Grown(values, factor, part))
    return found


def times(value: Any, factor: int) -> Any:
    """The value ``factor`` times as large; a list of lists in both directions."""
    match value:
        case bool() | None:
            return value
        case int() | float() | str() | bytes():
            return value * factor
        case list() | tuple():
            return type(value)(_repeated(value, factor))
        case set() | frozenset():
            return type(value)(_repeated(sorted(value, key=repr), factor))
        case dict():
            keys = _repeated([*value], factor, apart=True)
            return dict(zip(keys, [*value.values()] * factor, strict=True))
        case _:
            return value


def _repeated(values: Sequence[Any], factor: int, apart: bool = False) -> list[Any]:
    """``values`` again and again; each time further up where they are different numbers."""
    numbers = all(type(value) is int for value in values)
    if values and numbers and len(set(values)) == len(values):
        span = max(values) - min(values) + 1
        return [value + turn * span for turn in range(factor) for value in values]
    if apart:
        return [f"{value}{turn or ''}" for turn in range(factor) for value in values]
    if any(isinstance(value, (list, tuple)) for value in values):
        return [times(value, factor) for _ in range(factor) for value in values]
    return [*values] * factor


def _size(value: Any) -> tuple[int, float]:
    """Elements in all; between inputs with as many, the sum of their numbers."""
    if isinstance(value, str):
        return len(value), 0
    if isinstance(value, (int, float)):
        return 1, abs(value)
    if isinstance(value, dict):
        return _size([*value, *value.values()])
    if not isinstance(value, (list, tuple, set, frozenset)):
        return 1, 0
    sizes = [_size(item) for item in value]
    return sum(size for size, _ in sizes), sum(total for _, total in sizes)
