"""EvalPlus' comparison rules, and the two places where ours differ on purpose."""

import math
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffucode.execution.compare import (
    OPAQUE,
    Anything,
    Equal,
    NotNone,
    Rule,
    Same,
    SameElements,
    same,
    same_elements,
)

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("got", "expected", "atol", "verdict"),
    [
        # equality, as Python has it
        (1, True, 0, True),
        (1, 1.0, 0, True),
        ({"a": 1}, {"a": 1.0}, 0, True),
        ([1, 2], [1, 2], 0, True),
        ([1, 2], (1, 2), 0, False),
        ([(1, 2)], [[1, 2]], 0, False),
        ({1, 2}, frozenset({1, 2}), 0, True),
        ("1", 1, 0, False),
        (None, 0, 0, False),
        (OPAQUE, None, 0, False),
        # floats without a tolerance of the problem's own: 1e-6
        (0.3, 0.1 + 0.2, 0, True),
        (1.0 + 9e-7, 1.0, 0, True),
        (1.0 + 2e-6, 1.0, 0, False),
        ([0.3, 1.0], [0.1 + 0.2, 1.0], 0, True),
        ((0.3,), (0.1 + 0.2,), 0, True),
        ([0.3, 1], [0.1 + 0.2, 1], 0, False),  # not all floats: exact
        ([[0.3]], [[0.1 + 0.2]], 0, False),  # not flat: exact
        ({"a": 0.3}, {"a": 0.1 + 0.2}, 0, False),
        (1e9 + 90, 1e9, 0, True),  # rtol 1e-7
        (1e9 + 110, 1e9, 0, False),
        (3, 3.0000001, 0, False),  # the outer types differ
        ((0.3,), [0.1 + 0.2], 0, False),
        # a tolerance of the problem's own
        (1.00005, 1.0, 1e-4, True),
        (1.0002, 1.0, 1e-4, False),
        ([[1.00005, 2]], [[1.0, 2]], 1e-4, True),
        ([(1.00005, 2)], [[1.0, 2]], 1e-4, True),  # further in, a tuple is as good as a list
        ([1.00005, 2], [1.0, 2, 3], 1e-4, False),
        ([1.00005, 1.00005], [[1.0, 1.0], [1.0, 1.0]], 1e-4, False),  # numpy would stretch it
        (["a", 1.00005], ["a", 1.0], 1e-4, False),
        (100, 101, 1e-4, False),
        (1 + 1e-5j, 1 + 0j, 1e-4, True),
        # the numbers that are none
        (INF, INF, 0, True),
        (-INF, INF, 0, False),
        (1.0, INF, 0, False),
        (INF, 1.0, 0, False),
        (1.0, NAN, 0, False),
        (NAN, 1.0, 0, False),
        (NAN, float("nan"), 0, True),
        ([1.0, NAN], [1.0 + 1e-9, float("nan")], 0, True),
        (10**400, 1.0, 1e-4, False),
        (10**400, 10**400 + 1, 1e-4, False),
    ],
)
def test_same(got: Any, expected: Any, atol: float, verdict: bool) -> None:
    assert same(got, expected, atol=atol) is verdict


def test_the_tolerance_of_one_comparison_does_not_reach_the_next() -> None:
    assert same(0.3, 0.1 + 0.2)
    assert not same([[0.3]], [[0.1 + 0.2]])


NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.booleans()
NESTED = st.recursive(NUMBERS, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=6)


@given(NESTED, NESTED, st.sampled_from([0.0, 1e-6, 1e-4]), st.floats(-3e-4, 3e-4))
def test_agrees_with_numpy_where_shapes_agree(
    expected: Any, other: Any, atol: float, shift: float
) -> None:
    def moved(value: Any) -> Any:
        return [moved(item) for item in value] if isinstance(value, list) else value + shift

    for got in (moved(expected), other):
        try:
            arrays = np.asarray(got), np.asarray(expected)
        except ValueError:  # ragged
            continue
        if arrays[0].shape != arrays[1].shape:
            continue
        flat_floats = type(expected) is float or (
            isinstance(expected, list) and all(type(item) is float for item in expected)
        )
        used = 1e-6 if atol == 0 and flat_floats else atol
        close = type(got) is type(expected) and bool(np.allclose(*arrays, rtol=1e-7, atol=used))
        assert same(got, expected, atol=atol) == (got == expected or (used != 0 and close))


def test_rules_of_mbpp() -> None:
    def passes(rule: Rule, got: Any, expected: Any) -> bool:
        return rule(got, expected, ())

    assert passes(SameElements(), (4, 5), [5, 4, 4])
    assert passes(SameElements(), {4: "x", 5: "y"}, [5, 4])
    assert not passes(SameElements(), (4,), [5, 4])
    assert not passes(SameElements(), (4, 6), [5, 4])
    assert not passes(SameElements(), (4, 5, 6), [5, 4])
    assert not passes(Same(), (4, 5), [5, 4])
    with pytest.raises(TypeError):
        passes(SameElements(), 4, [4])
    with pytest.raises(TypeError):
        passes(SameElements(), [[4]], [4])
    assert passes(NotNone(), OPAQUE, True) and passes(NotNone(), None, False)
    assert passes(NotNone(), "Found", True) and passes(NotNone(), 0, True)
    assert not passes(NotNone(), None, True) and not passes(NotNone(), OPAQUE, False)
    assert passes(NotNone(), False, False) and not passes(NotNone(), False, True)
    assert passes(Anything(), OPAQUE, 1)
    assert passes(Equal(), 0.1 + 0.2, 0.1 + 0.2) and not passes(Equal(), 0.1 + 0.2, 0.3)
    assert passes(Same(1e-4), 1.00005, 1.0) and not passes(Same(), 1.00005, 1.0)


def test_colliding_elements_cost_linear_time() -> None:
    prime = sys.hash_info.modulus
    hostile = [prime * k for k in range(1, 200_000)]  # every one hashes to 0
    start = time.thread_time()
    assert not same_elements(hostile, list(range(1000)))
    assert time.thread_time() - start < 1
