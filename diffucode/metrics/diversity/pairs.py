"""The mean of a comparison over all pairs of programs, with their repetitions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from statistics import fmean
from typing import TypeVar

from diffucode.metrics.diversity.undefined import Figure, Undefined

T = TypeVar("T", bound=Hashable)


def over_pairs(items: Sequence[T], compare: Callable[[T, T], Figure]) -> Figure:
    """The mean over unordered pairs of a symmetric comparison; equal pairs are compared once.

    Copies stay in: a mean over different programs alone overstates how diverse they are. Undefined with
    fewer than two items, or where a pair is.
    """
    if len(items) < 2:
        return Undefined("fewer than 2 programs")
    known: dict[tuple[T, T], Figure] = {}
    for one, other in combinations(items, 2):
        if (one, other) not in known:
            known[one, other] = known[other, one] = compare(one, other)
    figures = [known[pair] for pair in combinations(items, 2)]
    values = [figure for figure in figures if not isinstance(figure, Undefined)]
    if len(values) < len(figures):
        return next(figure for figure in figures if isinstance(figure, Undefined))
    return fmean(values)
