"""What two programs for a problem have in common: from 0 (the same) to 1 on each of ``FEATURES``.

============  ====================================================================================
data          operations on the elements of the inputs, by kind (Bray-Curtis of the logarithms)
meetings      which elements were compared or added with one another (Jaccard)
rounds        rounds of loops and calls, in orders of magnitude on the largest input
growth        how much faster the one's work grows than the other's (exponents)
depth         how deep calls nest, in orders of magnitude
code          operations in the text, by kind (Bray-Curtis of the logarithms)
constructs    what they are built with, of ``TELLING`` (Jaccard)
names         functions and methods that they call (Jaccard)
form          statements that loop against comprehensions and built-in functions alone
============  ====================================================================================

Pure arithmetic on what was counted; nothing here runs anything.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from diffucode.execution.counted import DATA, KINDS
from diffucode.execution.counting import Profile
from diffucode.measure.clustering.grow import Grown
from diffucode.tasks.constructs import constructs

FEATURES = (
    *("data", "meetings", "rounds", "growth", "depth", "code", "constructs", "names", "form"),
)
TELLING = frozenset(
    {"sort", "heap", "bisection", "hashing", "queue", "memory", "recursion", "reversal"}
    | {"halving", "replacement", "combinations", "factorial"}
)
"""Constructs that a surface rewrite seldom brings in."""
_DATA = slice(0, len(DATA))
_CODE = slice(len(DATA), len(KINDS))
_LOOP, _CALL = KINDS.index("loop"), KINDS.index("call")
_SPAN = 4.0
"""A ratio of e^4 or more counts as wholly different."""


@dataclass(frozen=True)
class Print:
    """What is known of a program; ``None`` rows are calls that did not return."""

    log_CK: NDArray[np.float64]
    """Logarithm of 1 + operations, by call and kind; NaN where a call did not return."""
    meetings_C: tuple[frozenset[tuple[int, int]] | None, ...]
    """None where a call did not return or was stopped."""
    depth_C: NDArray[np.float64]
    constructs: frozenset[str]
    names: frozenset[str]


def print_of(program: str, profiles: Sequence[Profile | None]) -> Print | None:
    """The print of a program; None where it does not parse or no call returned."""
    found = constructs(program)
    if found is None or not any(profiles):
        return None
    rows = [[math.nan] * len(KINDS) if one is None else one.counts for one in profiles]
    return Print(
        np.log1p(np.array(rows, dtype=np.float64)),
        tuple(one.meetings if one is not None and one.finished else None for one in profiles),
        np.log(np.array([math.nan if one is None else max(1, one.depth) for one in profiles])),
        found,
        _called(program),
    )


def _called(program: str) -> frozenset[str]:
    tree = ast.parse(program)
    own = {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {n.id if isinstance(n, ast.Name) else getattr(n, "attr", "") for n in called}
    return frozenset(names - own)


def apart(one: Print, other: Print, inputs: Sequence[Grown]) -> NDArray[np.float64] | None:
    """``FEATURES`` of two programs for a problem; None where no call returned for both."""
    both = [c for c in range(len(inputs)) if not np.isnan(one.log_CK[c, 0] + other.log_CK[c, 0])]
    if not both:
        return None
    weight_C = np.array([1 + math.log2(inputs[c].factor) for c in both])
    weight_C /= weight_C.sum()
    a_CK, b_CK = one.log_CK[both], other.log_CK[both]
    met = [
        _jaccard(a, b)
        for c in both
        if (a := one.meetings_C[c]) is not None and (b := other.meetings_C[c]) is not None
    ]
    depth_C = np.abs(one.depth_C[both] - other.depth_C[both])
    return np.array(
        [
            _bray_curtis(a_CK[:, _DATA], b_CK[:, _DATA]) @ weight_C,
            float(np.mean(met)) if met else 0.0,
            _magnitudes(np.abs(_rounds(a_CK) - _rounds(b_CK)) @ weight_C),
            _growth(_work(a_CK) - _work(b_CK), [inputs[c] for c in both]),
            _magnitudes(float(depth_C @ weight_C)),
            _bray_curtis(a_CK[:, _CODE], b_CK[:, _CODE]) @ weight_C,
            _jaccard(one.constructs & TELLING, other.constructs & TELLING),
            _jaccard(one.names, other.names),
            float(("loop" in one.constructs) != ("loop" in other.constructs)),
        ]
    )


def _jaccard(one: frozenset[object], other: frozenset[object]) -> float:
    return 1 - len(one & other) / len(one | other) if one | other else 0.0


def _bray_curtis(a_CK: NDArray[np.float64], b_CK: NDArray[np.float64]) -> NDArray[np.float64]:
    total_C = (a_CK + b_CK).sum(axis=1)
    apart_C: NDArray[np.float64] = np.abs(a_CK - b_CK).sum(axis=1) / np.maximum(total_C, 1e-9)
    return apart_C


def _magnitudes(ratio: float) -> float:
    return min(1.0, ratio / _SPAN)


def _rounds(log_CK: NDArray[np.float64]) -> NDArray[np.float64]:
    return _work(log_CK[:, [_LOOP, _CALL]])


def _work(log_CK: NDArray[np.float64]) -> NDArray[np.float64]:
    log_C: NDArray[np.float64] = np.log1p(np.expm1(log_CK).sum(axis=1))
    return log_C


def _growth(ahead_C: NDArray[np.float64], inputs: Sequence[Grown]) -> float:
    """The largest difference of exponents over the parts of the arguments that were grown."""
    found = [0.0]
    for _, places in groupby(range(len(inputs)), key=lambda c: inputs[c].part):
        some = list(places)
        log_factor = np.log([inputs[c].factor for c in some])
        if log_factor.std() > 0:
            found.append(abs(float(np.polyfit(log_factor, ahead_C[some], 1)[0])))
    return min(1.0, max(found))
