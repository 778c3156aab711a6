"""Differences between ways of training, from several runs of each on the same problems.

A figure of a trained model moves with the run (its seed) and with the problems, so both are resampled::

                 problems, by signature
    arm a   run  x x x x x x x x        a resample draws runs of a, runs of b and signatures, each with
            run  x x x x x x x x        replacement and apart; a signature is drawn for both arms at once,
    arm b   run  x x x x x x x x        because both were asked the same problems
            run  x x x x x x x x

Of S runs S - 1 are drawn: with so few, drawing S makes the variance too small by the factor (S - 1) / S (the
rescaled bootstrap of Rao and Wu 1988). The error is the standard deviation over resamples. It counts what
runs and problems do together more than once (Owen 2007, "The pigeonhole bootstrap"), so it errs to the wide
side. The interval is Student's, because a spread that five runs show is itself uncertain; its degrees of
freedom are Satterthwaite's, from the variances that resampling one factor alone gives. Simulated with runs
that differ more than problems do, percentiles of plain resamples held the truth in 84 % of 250 studies of
three runs and in 90 % of five; these intervals in 96 % and 97 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffucode.metrics.jackknife import student
from diffucode.metrics.passk import RESAMPLES, Estimate, numbered

Floats = NDArray[np.float64]
LEVEL, POWER = 0.05, 0.8

Decision = Literal["resolved", "not resolved"]


@dataclass(frozen=True)
class Table:
    """Values of runs on problems, ``[S, P]``: of one arm in one measurement."""

    value_SP: Floats
    runs: Hashable | None
    """Names the runs: tables of one name are resampled together. None: there was no training, nothing of it
    is resampled."""


@dataclass(frozen=True)
class Crossed:
    """A statistic of several tables. Bounds and error are NaN where they cannot be known: a trained arm with
    one run, or one signature."""

    value: float
    low: float
    high: float
    error: float
    """Standard error."""
    p: float
    """Two-sided, of the hypothesis that the statistic is 0; the interval of confidence 1 - p ends there."""
    runs: int
    """Of the trained arm that has fewest; 0 where none was trained."""
    n: int
    """Problems."""
    clusters: int

    @property
    def detectable(self) -> float:
        """The smallest difference that an experiment of this error sees four times in five, at 5 %."""
        reach = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)
        return reach * self.error

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, self.low, self.high, self.n, self.clusters)

    def decision(self, adjusted: float) -> Decision:
        """Of a comparison with this adjusted p-value: a difference that the experiment was too small for
        is not resolved, whatever its p."""
        seen = adjusted <= LEVEL and abs(self.value) >= self.detectable
        return "resolved" if seen else "not resolved"


def crossed(
    statistic: Callable[..., Floats],
    tables: Sequence[Table],
    clusters: Sequence[Hashable],
    seed: int,
    resamples: int = RESAMPLES,
) -> Crossed:
    """A statistic of the tables' means, by resampling runs and clusters of problems.

    ``statistic`` takes one array of means a table, all of one shape, and works elementwise. A pure function
    of its arguments. Raises ValueError for tables of another width than there are clusters, and for tables
    of one name with another number of runs.
    """
    index_P, count = numbered(clusters, len(clusters))
    many: dict[Hashable | None, int] = {}
    for table in tables:
        size, width = table.value_SP.shape
        known = many.setdefault(table.runs, size)
        if width != len(index_P) or size != known or not size:
            raise ValueError(
                f"a table of {size} runs x {width} problems: expected {known or 'some'} runs of this arm "
                f"and the {len(index_P)} problems that have a cluster"
            )
    trained = {name: size for name, size in many.items() if name is not None}
    sums = [_by_cluster(table.value_SP, index_P, count) for table in tables]
    size_C = np.bincount(index_P, minlength=count).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn_RC = rng.multinomial(count, np.full(count, 1 / count), resamples)
    drawn = {name: _drawn(rng, size, resamples) for name, size in trained.items()}

    def found(moved: set[Hashable | None], *, problems: bool) -> Floats:
        """The statistic where only these runs are resampled, and the problems or not."""
        weight_RC = drawn_RC if problems else np.ones((1, count))
        means = []
        for table, sum_SC in zip(tables, sums, strict=True):
            size = len(sum_SC)
            weight_RS = drawn[table.runs] if table.runs in moved else np.full((1, size), 1 / size)
            means.append(((weight_RS @ sum_SC) * weight_RC).sum(1) / (weight_RC @ size_C))
        return np.asarray(statistic(*np.broadcast_arrays(*means)))

    value = float(found(set(), problems=False)[0])
    least = min(trained.values(), default=0)
    shape = (least, len(index_P), count)
    if count < 2 or least == 1:
        return Crossed(value, math.nan, math.nan, math.nan, math.nan, *shape)
    error = float(found(set(trained), problems=True).std(ddof=1))
    parts = [(float(found({name}, problems=False).var()), s - 1) for name, s in trained.items()]
    parts.append((float(found(set(), problems=True).var()), count - 1))
    freedom = _freedom(parts)
    reach = student(freedom) * error
    p = _p(abs(value), error, freedom)
    return Crossed(value, value - reach, value + reach, error, p, *shape)


def difference(one: Floats, other: Floats) -> Floats:
    """The statistic of a comparison."""
    return one - other


def mean(one: Floats) -> Floats:
    """The statistic of a single table."""
    return one


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family (Holm 1979), in the order given; one that is not known counts as 1."""
    known = [1.0 if math.isnan(one) else one for one in p]
    order = sorted(range(len(known)), key=known.__getitem__)
    adjusted, highest = [0.0] * len(known), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(known) - rank) * known[index]))
        adjusted[index] = highest
    return adjusted


def _by_cluster(value_SP: Floats, index_P: NDArray[np.intp], count: int) -> Floats:
    return np.stack([np.bincount(index_P, row_P, count) for row_P in value_SP])


def _drawn(rng: np.random.Generator, size: int, resamples: int) -> Floats:
    """The weight of each run in each resample; they sum to 1."""
    draws = max(1, size - 1)
    return rng.multinomial(draws, np.full(size, 1 / size), resamples) / draws


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Satterthwaite's, of independent variances, each with its own."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return float(min(freedom for _, freedom in parts))
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts)


def _p(distance: float, error: float, freedom: float) -> float:
    """1 minus the confidence of the interval that just ends at 0."""
    if error == 0:
        return float(distance == 0)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if middle < 1.0 and student(freedom, middle) * error < distance:
            low = middle
        else:
            high = middle
    return 1 - (low + high) / 2
