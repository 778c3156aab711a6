"""Orders beside each other: how alike samples of one prompt were written.

    kendall_tau      all pairs of positions weigh alike: 1 for the same order, -1 for the reversed one
    order_overlap    the beginnings weigh most: 1 for the same order, 0 where they share no position

Of unrelated orders of n positions, tau is 0 on average and the overlap (n + 1) / 2n.

Two samples also agree because a model has habits, whatever the prompt. ``between`` is that agreement, of
samples of different prompts: what ``within`` has more than that is owed to the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from diffucode.metrics.arness import Order

Measure = Callable[[Order, Order], float]


def kendall_tau(one: Order, two: Order) -> float:
    """Kendall's tau-b (1945) of the steps of the positions that both wrote.

    Positions of one step are tied, so parallel decoding adds no agreement of its own. NaN where they
    share fewer than two positions, or one of them wrote all of these in one step.
    """
    _, at_one, at_two = np.intersect1d(one.position_T, two.position_T, return_indices=True)
    step_T, other_T = one.step_T[at_one], two.step_T[at_two]
    sign_TT = np.sign(step_T[:, None] - step_T[None, :])
    other_TT = np.sign(other_T[:, None] - other_T[None, :])
    untied = math.sqrt(int((sign_TT != 0).sum()) * int((other_TT != 0).sum()))
    return float((sign_TT * other_TT).sum() / untied) if untied else math.nan


def order_overlap(one: Order, two: Order) -> float:
    """Average overlap of two orders (Fagin, Kumar, Sivakumar 2003): the shared part of their first d
    positions, averaged over d up to the length of the shorter.

    1 for equal orders, (n + 1) / 2n expected of random ones over the same n positions, 0 for orders that
    share none. NaN where nothing was written.
    """
    depth = min(len(one), len(two))
    if not depth:
        return math.nan
    first, second = one.position_T[:depth], two.position_T[:depth]
    at = {int(position): d for d, position in enumerate(second)}
    both = [max(d, at[p]) for d, p in enumerate(first.tolist()) if p in at]
    shared_D = np.cumsum(np.bincount(np.array(both, dtype=np.int64), minlength=depth))
    return float((shared_D / np.arange(1, depth + 1)).mean())


def within(orders: Sequence[Order], measure: Measure) -> float:
    """Mean over all pairs of the samples of one prompt; NaN where no pair has a value."""
    return _mean([measure(one, two) for one, two in combinations(orders, 2)])


def between(orders: Sequence[Order], others: Sequence[Order], measure: Measure) -> float:
    """Mean over the pairs of equal number, of the samples of two prompts; NaN where none has a value."""
    return _mean([measure(one, two) for one, two in zip(orders, others, strict=False)])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
