"""Arguments to try a problem on: ordinary ones, narrow ones that force duplicates and ties, and the edges."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from random import Random
from typing import Any

WORDS = """
    apple area at bee be cat civic data dog ear echo eel egg engine house ice idea it kayak level letter lion
    moon noon note ocean orange otter owl ox radar rest river rose salt sea star stone sun table tea test
    to tree umbrella use verse water zoo
""".split()  # noqa: SIM905 - a word list reads better as text

PROBES = 64
"""Inputs of the behaviour fingerprint."""
RICH = {"int": 6, "ints": 4, "words": 3, "str": 5, "dict": 4, "grid": 6}
"""Least size of the first argument of most probes."""


@cache
def probes(kinds: tuple[str, ...]) -> tuple[tuple[Any, ...], ...]:
    """The common inputs of all problems with these argument kinds: the edges, then drawn ones."""
    rng = Random(f"minicode/probes/{kinds}")
    drawn = [draw(kinds, rng, rich=True) for _ in range(PROBES)]
    return tuple([*edges(kinds), *drawn][:PROBES])


def edges(kinds: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Empty, single, equal, negative and tied values of the first argument."""
    rng = Random(f"minicode/edges/{kinds}")
    rest = kinds[1:]
    return [(deepcopy(first), *(_DRAW[kind](rng) for kind in rest)) for first in _EDGES[kinds[0]]]


def draw(kinds: tuple[str, ...], rng: Random, rich: bool = False) -> tuple[Any, ...]:
    """A random argument tuple; the first argument of a ``rich`` one is not small, and tells more apart."""
    first, *rest = kinds
    values = [_DRAW[first](rng)]
    while rich and _size(values[0]) < RICH[first]:
        values = [_DRAW[first](rng)]
    for kind in rest:
        value = _DRAW[kind](rng)
        values.append(_related(value, values[0], rng) if kind == first else value)
    return tuple(values)


def _size(value: Any) -> int:
    """Elements of a collection, cells of a grid with two rows or more, magnitude of a number."""
    if isinstance(value, int):
        return abs(value)
    if value and isinstance(value[0] if isinstance(value, list) else "", list):
        return len(value) * len(value[0]) if len(value) > 1 else 1
    return len(value)


def _related(value: Any, first: Any, rng: Random) -> Any:
    """A second argument that shares some of the first's content."""
    if isinstance(value, str) and rng.random() < 0.6:
        shuffled = "".join(rng.sample(first, len(first)))
        return rng.choice(
            (shuffled, shuffled + first[:1], first[: rng.randint(0, len(first))] + value)
        )
    if isinstance(value, list):
        if first and isinstance(first[0], list) and len(value[0]) != len(first[0]):
            return value
        return [rng.choice(first) if first and rng.random() < 0.4 else x for x in value]
    if isinstance(value, dict):
        return {
            rng.choice([*first]) if first and rng.random() < 0.4 else k: x for k, x in value.items()
        }
    return value


def _int(rng: Random) -> int:
    roll = rng.random()
    if roll < 0.08:
        return rng.randint(-20, -1)
    if roll < 0.65:
        return rng.randint(0, 40)
    return rng.randint(41, 120) if roll < 0.9 else rng.randint(121, 300)


def _value(rng: Random) -> Callable[[], int]:
    """How the integers of one collection are drawn."""
    narrow = rng.sample(range(-5, 13), 3)
    low = rng.choice((-9, -9, 0))
    return rng.choice(
        (
            lambda: rng.randint(low, 24),
            lambda: rng.randint(low, 12),
            lambda: rng.choice(narrow),
            lambda: rng.randint(-12, 1),
        )
    )


def _ints(rng: Random) -> list[int]:
    value = _value(rng)
    values = [value() for _ in range(rng.randint(0, 9))]
    if rng.random() < 0.1:
        values.sort()
    if rng.random() < 0.1:
        values += values[::-1]
    return values


def _words(rng: Random) -> list[str]:
    pool = rng.sample(WORDS, rng.choice((3, 20)))
    words = [rng.choice(pool) for _ in range(rng.randint(0, 7))]
    return [rng.choice((w, w.upper(), w.capitalize())) if rng.random() < 0.2 else w for w in words]


def _str(rng: Random) -> str:
    if rng.random() < 0.5:
        return " ".join(_words(rng))
    alphabet = rng.choice(
        ("aaeeioourstxyzABEORSTZ0123579  ", "aabbc", "abAB12 -", "rotatelevel", "()()ab")
    )
    text = "".join(rng.choice(alphabet) for _ in range(rng.randint(0, 12)))
    return text + text[::-1] if rng.random() < 0.1 else text


def _dict(rng: Random) -> dict[str, int]:
    value = _value(rng)
    return {rng.choice(WORDS): value() for _ in range(rng.randint(0, 7))}


def _grid(rng: Random) -> list[list[int]]:
    rows, columns = rng.randint(1, 4), rng.randint(1, 4)
    if rng.random() < 0.4:
        columns = rows
    high = rng.choice((1, 2, 9))
    low = rng.choice((0, 0, -4))
    grid = [[rng.randint(low, high) for _ in range(columns)] for _ in range(rows)]
    if rng.random() < 0.1:
        grid = [row[:] for row in [grid[0]] * rows]
    return grid


def _k(rng: Random) -> int:
    return rng.randint(1, 6)


_DRAW: dict[str, Callable[[Random], Any]] = {
    "int": _int,
    "ints": _ints,
    "words": _words,
    "str": _str,
    "dict": _dict,
    "grid": _grid,
    "k": _k,
}
_EDGES: dict[str, list[Any]] = {
    "int": [0, 1, 2, 3, 10, 12, 16, 97, 100, 101, 121, -1, -7],
    "ints": [[], [0], [5], [-3], [7, 7], [-4, -4, -9], [1, 2, 3, 4], [9, 6, 3],
             [2, 2, 5, 5, 3], [12, 12, 11]],
    "words": [[], ["a"], ["eel", "eel"], ["star", "Stone", "ear", "rose"], ["level", "cat", "noon"],
              ["zoo", ""]],
    "str": ["", "a", "Z", " ", "aa", "abba", "eel and Eel", "a1b22c", "zoo  bee", "(())", ")(", "Noon"],
    "dict": [{}, {"a": 0}, {"cat": 3, "dog": 3}, {"sea": -4, "sun": -2}, {"bee": 5, "eel": 2, "ice": 5}],
    "grid": [[], [[0]], [[5]], [[1, 1], [1, 1]], [[-3, -1]], [[2], [7]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]],
}  # fmt: skip
