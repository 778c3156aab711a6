"""Agreement of orders: worked numbers, what unrelated orders give, ties, pairs within and between prompts."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kendalltau

from diffucode.metrics.arness import Order
from diffucode.metrics.order_agreement import between, kendall_tau, order_overlap, within


def order(*positions: int, step: list[int] | None = None) -> Order:
    """Positions as they were written, one a step unless ``step`` says otherwise."""
    steps = np.array(range(len(positions)) if step is None else step, dtype=np.int64)
    at = np.array(positions, dtype=np.int64)
    return Order(at, steps, np.zeros(len(positions), dtype=np.float32))


def test_overlap_of_orders() -> None:
    assert order_overlap(order(0, 1, 2), order(0, 1, 2)) == 1
    assert order_overlap(order(0, 1), order(2, 3)) == 0
    assert order_overlap(order(0, 1, 2), order(2, 1, 0)) == pytest.approx((0 + 1 / 2 + 1) / 3)
    assert order_overlap(order(2, 0), order(0, 1, 2)) == pytest.approx((0 + 1 / 2) / 2)
    assert math.isnan(order_overlap(order(), order(0)))


def test_tau_of_orders() -> None:
    assert kendall_tau(order(0, 1, 2), order(0, 1, 2)) == 1
    assert kendall_tau(order(0, 1, 2), order(2, 1, 0)) == -1
    assert kendall_tau(order(0, 1, 2), order(0, 2, 1)) == pytest.approx(1 / 3)
    assert kendall_tau(order(5, 0, 1), order(0, 1, 7)) == 1, "of what both wrote: 0 before 1"
    assert math.isnan(kendall_tau(order(0, 1), order(1, 2))), "one position has no order"
    assert math.isnan(kendall_tau(order(0, 1, step=[0, 0]), order(0, 1)))


def test_unrelated_orders_by_enumeration() -> None:
    every = [order(*chosen) for chosen in permutations(range(4))]
    pairs = list(product(every, every))
    assert np.mean([order_overlap(one, two) for one, two in pairs]) == pytest.approx(5 / 8)
    assert np.mean([kendall_tau(one, two) for one, two in pairs]) == pytest.approx(0, abs=1e-12)


def test_tau_with_parallel_steps_is_scipy_s() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        one = order(*rng.permutation(9).tolist(), step=sorted(rng.integers(0, 4, 9).tolist()))
        two = order(*rng.permutation(9).tolist(), step=sorted(rng.integers(0, 6, 9).tolist()))
        steps = [x.step_T[np.argsort(x.position_T)] for x in (one, two)]
        assert kendall_tau(one, two) == pytest.approx(kendalltau(*steps).statistic, abs=1e-12)
    same = order(0, 1, 2, 3, step=[0, 0, 1, 1])
    assert kendall_tau(same, same) == 1


def test_means_over_pairs() -> None:
    three = [order(0, 1), order(0, 1), order(1, 0)]
    assert within(three, order_overlap) == pytest.approx(2 / 3)
    assert within(three, kendall_tau) == pytest.approx(-1 / 3)
    assert math.isnan(within([order(0)], order_overlap))
    assert within([*three, order(9)], kendall_tau) == pytest.approx(-1 / 3), "no value, no part"
    assert between(three, [order(0, 1), order(1, 0), order(0, 1)], kendall_tau) == pytest.approx(
        -1 / 3
    )
    assert between(three, [order(1, 0)], kendall_tau) == -1, "as many pairs as both have"
