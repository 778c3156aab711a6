"""Test-time scaling over temperatures: what the samples of several cells solve together.

A cell is a temperature, or a pair of token and order temperature; ``n_T`` and ``passed_T`` count the samples
of one problem in each of T cells, and those that are right.

    Pass@All      the share of problems that some sample of any cell solves (Wu, Mirhoseini, Tambe 2025,
                  arXiv:2510.02611). It has spent the samples of all cells: pass@k of one is no match for it
    mixture       pass@k of k samples in all, spread evenly over the cells: what it is to be compared with
                  pass@k of the best single cell
    solvability   which problems each cell solves: the object behind both

Where one sample costs more in one cell than in another, budgets are costs: k is the budget over the mean
cost of a sample, and need not be whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.metrics.passk import pass_at_k


def mixture(n_T: Sequence[int], passed_T: Sequence[int], k: float) -> float:
    """The chance that ``k`` samples, spread evenly over the cells, hold a right one; unbiased.

    Each cell gives floor(k / T) samples, drawn without replacement from those it has; what is left of k goes
    to as many different cells, drawn at random, one more each. A k that is not whole is the whole number
    below it, or the one above, by chance: the line between both, whose mean cost is that of k samples. Of
    one cell this is ``pass_at_k``. Raises ValueError where a cell has too few samples, which it cannot tell.
    """
    if not n_T or len(n_T) != len(passed_T) or not k >= 0:
        raise ValueError(
            f"a mixture of {k} samples from {len(n_T)} cells, {len(passed_T)} of them with counts: expected "
            "cells, a count of right ones for each, and k >= 0"
        )
    whole = math.floor(k)
    below = _spread(n_T, passed_T, whole)
    if whole == k:
        return below
    return below + (k - whole) * (_spread(n_T, passed_T, whole + 1) - below)


def most(n_T: Sequence[int]) -> int:
    """The largest k of a mixture from cells with so many samples."""
    return len(n_T) * min(n_T)


class Solvability(NamedTuple):
    """How many problems the cells solve."""

    by_any: int
    """Pass@All, as a count."""
    by_all: int
    by_cell: tuple[int, ...]
    by_it_alone: tuple[int, ...]
    """Problems that no other cell solves, for each cell."""


def solvability(passed_QT: NDArray[np.int64]) -> Solvability:
    """Of Q problems in T cells, from the number of right samples."""
    solved_QT = passed_QT > 0
    alone_Q = solved_QT.sum(1) == 1
    return Solvability(
        int(solved_QT.any(1).sum()),
        int(solved_QT.all(1).sum()),
        tuple(solved_QT.sum(0).tolist()),
        tuple(solved_QT[alone_Q].sum(0).tolist()),
    )


def _spread(n_T: Sequence[int], passed_T: Sequence[int], k: int) -> float:
    """``mixture`` of a whole k."""
    each, rest = divmod(k, len(n_T))
    # missed[j]: over all choices of j cells so far that drew one more, the sum of the chances that all missed
    missed = [1.0]
    for n, passed in zip(n_T, passed_T, strict=True):
        as_each = _miss(n, passed, each)
        one_more = _miss(n, passed, each + 1) if rest else 0.0
        padded = [0.0, *missed, 0.0]
        missed = [
            padded[j + 1] * as_each + padded[j] * one_more
            for j in range(min(rest, len(missed)) + 1)
        ]
    return 1.0 - missed[rest] / math.comb(len(n_T), rest)


def _miss(n: int, passed: int, k: int) -> float:
    return 1.0 - pass_at_k(n, passed, k) if k else 1.0
