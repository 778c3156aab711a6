"""Arguments to try a problem on: ordinary ones and the edges."""

from __future__ import annotations

from random import Random
from typing import Any

WORDS = """
    apple area bee cat civic data dog ear echo eel egg engine house ice idea kayak level letter lion
    moon noon note ocean orange otter owl radar rest river rose salt sea star stone sun table tea test
    tree umbrella use verse water zoo
""".split()  # noqa: SIM905 - a word list reads better as text

TESTS = 10


def arguments(source: str, names: tuple[str, ...], rng: Random) -> list[tuple[Any, ...]]:
    """``TESTS`` argument tuples for a source; the first is empty or the smallest possible."""
    firsts = [_FIRST[source]] + [_DRAW[source](rng) for _ in range(TESTS - 1)]
    return [(first, rng.randint(1, 6)) if "k" in names else (first,) for first in firsts]


def _numbers(rng: Random) -> list[int]:
    return [rng.randint(-9, 24) for _ in range(rng.randint(1, 8))]


def _words(rng: Random) -> list[str]:
    return [rng.choice(WORDS) for _ in range(rng.randint(1, 7))]


def _sentence(rng: Random) -> str:
    return " ".join(_words(rng))


def _characters(rng: Random) -> str:
    alphabet = "aaeeioourstxyzABEORSTZ0123579  "
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 12)))


_FIRST: dict[str, Any] = {
    "list": [], "upto": 0, "below": 0, "digits": 0, "divisors": 1, "words": [], "split": "", "chars": "",
}  # fmt: skip
_DRAW = {
    "list": _numbers,
    "upto": lambda rng: rng.randint(1, 30),
    "below": lambda rng: rng.randint(1, 30),
    "digits": lambda rng: rng.randint(10, 10 ** rng.randint(2, 7)),
    "divisors": lambda rng: rng.choice((6, 12, 18, 20, 24, 28, 30, 36, 40, 42, 48, 60, 72, 84, 90)),
    "words": _words,
    "split": _sentence,
    "chars": _characters,
}
