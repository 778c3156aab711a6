"""The Pareto front, and curves at an equal value."""

import math

import pytest

from diffucode.metrics.front import at_equal, front


def test_the_front_is_what_nothing_beats() -> None:
    points = [(0.5, 1.0), (0.4, 2.0), (0.4, 1.5), (0.3, 1.0), (0.2, 3.0), (0.6, math.nan)]
    assert front(points) == [0, 1, 4]
    assert front([(1.0, 1.0), (1.0, 1.0)]) == [0, 1]
    assert front([(1.0, 1.0), (1.0, 2.0)]) == [1]
    assert front([]) == []


def test_a_curve_at_an_equal_value() -> None:
    falling = [(0.6, 1.0), (0.5, 2.0), (0.3, 4.0)]
    assert at_equal(0.4, falling) == pytest.approx(3.0)
    assert at_equal(0.5, falling) == 2.0
    assert math.isnan(at_equal(0.7, falling)) and math.isnan(at_equal(0.1, falling))
    # 0.5 is passed twice: the better one
    assert at_equal(0.5, [(0.6, 1.0), (0.4, 3.0), (0.6, 5.0)]) == pytest.approx(4.0)
    assert at_equal(0.5, [(0.5, 1.5)]) == 1.5
    assert math.isnan(at_equal(0.5, []))
