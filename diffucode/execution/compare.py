"""Is this the expected value? EvalPlus' comparison, on plain data outside the sandbox.

What is compared was read by ``values.decode``: exact built-in types, so ``==`` runs no method that a
program wrote. The rules are those of EvalPlus 0.3.1, read per comparison: there, one float among the
expected values switches the tolerance on for all later inputs of the problem.

1. Equal is the same: ``1 == 1.0 == True``, but a list is no tuple.
2. Otherwise numbers within ``atol + 1e-7 * |expected|`` are the same, if the outer types are equal; in
   lists and tuples (one as good as the other further in) item by item. ``atol`` is the problem's; where
   that is 0, 1e-6 if the expected value is a float or a flat list or tuple of floats, else no tolerance.

Two differences. EvalPlus hands 2 to ``numpy.allclose``, which also stretches one row over many; here
lengths agree at every depth. And NaN is the same as NaN, bare or where 2 looks: there no program, not
even the reference, can pass a test that expects one.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import Any, Protocol

RTOL = 1e-7
FLOAT_ATOL = 1e-6


class Opaque:
    """What a call returned when that was no plain data: equal to nothing, not None, true."""


OPAQUE = Opaque()


class Rule(Protocol):
    """When a returned value passes. May raise any Exception on values it was not made for: a failure."""

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool: ...


@dataclass(frozen=True)
class Check:
    """One call of a function and when its value passes. The call goes into the sandbox, the rest stays."""

    arguments: tuple[Any, ...]
    """Plain data."""
    expected: Any
    """Plain data, or ``Encoded``."""
    rule: Rule


@dataclass(frozen=True)
class Encoded:
    """An expected value kept as ``values.encode`` wrote it: large ones cost a tenth of the memory, and
    for ``Same`` an equal one is never read."""

    data: bytes


@dataclass(frozen=True)
class Same:
    """The expected value, as EvalPlus compares."""

    atol: float = 0.0

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return same(got, expected, atol=self.atol)


@dataclass(frozen=True)
class Equal:
    """``got == expected``, as an ``assert`` compares."""

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return bool(got == expected)


@dataclass(frozen=True)
class SameElements:
    """The same elements in any order and number (EvalPlus, for eight MBPP tasks); else as ``Same``."""

    atol: float = 0.0

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return same_elements(got, expected) or _tolerably(got, expected, self.atol)


@dataclass(frozen=True)
class NotNone:
    """Something or nothing, as expected (EvalPlus, for three MBPP tasks that return matches)."""

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return bool((got if type(got) is bool else got is not None) == expected)


@dataclass(frozen=True)
class Anything:
    """Any return at all: the call neither raised nor hung."""

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return True


def same(got: Any, expected: Any, *, atol: float = 0.0) -> bool:
    """Whether ``got`` passes for ``expected``; both plain data, ``atol`` >= 0. Never raises."""
    return bool(got == expected) or _tolerably(got, expected, atol)


def same_elements(got: Any, expected: Any) -> bool:
    """``set(got) == set(expected)``, in time linear in ``got`` even if its elements' hashes collide.

    Raises TypeError when one of the two cannot become a set.
    """
    place = {element: index for index, element in enumerate(set(expected))}
    found = {place.get(element, -1) for element in got}
    return -1 not in found and len(found) == len(place)


def _tolerably(got: Any, expected: Any, atol: float) -> bool:
    if atol == 0 and _floats(expected):
        atol = FLOAT_ATOL
    if atol == 0 or type(got) is not type(expected):
        return False
    return _close(got, expected, atol)


def _floats(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(type(item) is float for item in value)
    return type(value) is float


def _close(got: Any, expected: Any, atol: float) -> bool:
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(got, (list, tuple))
            and len(got) == len(expected)
            and all(_close(*pair, atol) for pair in zip(got, expected, strict=True))
        )
    if not (isinstance(got, (int, float, complex)) and isinstance(expected, (int, float, complex))):
        return False
    if got == expected or (got != got and expected != expected):
        return True
    try:
        if not (cmath.isfinite(got) and cmath.isfinite(expected)):
            return False
        return bool(abs(got - expected) <= atol + RTOL * abs(expected))
    except OverflowError:  # an integer that no float reaches
        return False
