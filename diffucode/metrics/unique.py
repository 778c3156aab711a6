"""Problems that one temperature solves and no other: more than chance would give, and again on new samples?

The null hypothesis is that temperature does not matter: the right samples of a problem fell on the cells as
labels that are permuted within the problem would. Of c right samples among N, all lie in a cell with n of
them with probability C(n, c) / C(N, c), so the distribution of the count over problems is exact (a sum of
independent trials); nothing is simulated. Many unique solves are no evidence by themselves: a problem with
one right sample is always solved by one cell alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.metrics.scaling import solvability

Counts = NDArray[np.int64]


class Unique(NamedTuple):
    """Unique solves beside what permuted labels give."""

    by_cell: tuple[int, ...]
    found: int
    """Of all cells."""
    expected: float
    """Under the null."""
    p: float
    """Chance of as many or more under the null."""


class Replicated(NamedTuple):
    """What became of the unique solves of some samples on others of the same problems."""

    found: int
    """Unique solves on the first samples."""
    solved: int
    """Of these, solved by the same cell again."""
    again: int
    """Of these, by it alone again."""
    expected: float
    """``again``, if labels were permuted in the second samples."""
    p: float
    """Chance of as many or more under that null."""


def unique_solves(n_QT: Counts, passed_QT: Counts) -> Unique:
    """Of Q problems in T cells: samples, and right ones. Raises ValueError for arrays that do not fit."""
    _check(n_QT, passed_QT)
    chances = [
        sum(_all_inside(int(n), n_T, passed_T) for n in n_T)
        for n_T, passed_T in zip(n_QT, passed_QT, strict=True)
    ]
    by_cell = solvability(passed_QT).by_it_alone
    found = sum(by_cell)
    return Unique(by_cell, found, sum(chances), at_least(chances, found))


def replicated(first: tuple[Counts, Counts], second: tuple[Counts, Counts]) -> Replicated:
    """The unique solves of ``first`` (samples, right ones) on the samples of ``second``, which it does not
    share."""
    _check(*first)
    _check(*second)
    solved_QT = first[1] > 0
    problems = np.flatnonzero(solved_QT.sum(1) == 1)
    cells = solved_QT[problems].argmax(1)
    n_QT, passed_QT = second
    same = passed_QT[problems, cells] > 0
    alone = same & ((passed_QT[problems] > 0).sum(1) == 1)
    chances = [
        _all_inside(int(n_QT[q, cell]), n_QT[q], passed_QT[q])
        for q, cell in zip(problems, cells, strict=True)
    ]
    again = int(alone.sum())
    return Replicated(len(problems), int(same.sum()), again, sum(chances), at_least(chances, again))


def at_least(chances: Sequence[float], count: int) -> float:
    """The probability that ``count`` or more of independent trials succeed, each with its own chance."""
    tail_n = [1.0] + [0.0] * len(chances)
    for chance in chances:
        tail_n = [
            have * (1 - chance) + (tail_n[n - 1] if n else 0.0) * chance
            for n, have in enumerate(tail_n)
        ]
    return min(1.0, sum(tail_n[count:])) if count > 0 else 1.0


def _all_inside(n: int, n_T: NDArray[np.int64], passed_T: NDArray[np.int64]) -> float:
    """The chance that all right samples of a problem fall into a cell with ``n``; 0 where none is right."""
    right = int(passed_T.sum())
    return math.comb(n, right) / math.comb(int(n_T.sum()), right) if right else 0.0


def _check(n_QT: Counts, passed_QT: Counts) -> None:
    if n_QT.shape != passed_QT.shape or n_QT.ndim != 2 or n_QT.shape[1] < 2:
        raise ValueError(
            f"samples {n_QT.shape}, right ones {passed_QT.shape}: expected the same problems x two or more "
            "cells"
        )
