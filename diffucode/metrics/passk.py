"""How many problems are solved, and how sure that figure is.

    pass_at_k          the chance that k samples of a problem hold a solution, unbiased (Chen et al. 2021)
    wilson             a share of independent trials with its interval
    clustered          a mean over problems, its interval from whole clusters of similar ones
    clustered_share    the same of shares, with an interval also where all are 0 or all 1
    bootstrap          the same of any statistic

Problems that share a signature are nearly the same problem: an interval that takes them as independent is
too narrow, so the bootstrap draws signatures, with all their problems. Samples of one problem are never
resampled. What training and its seed contribute is in none of these intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A figure with its interval, and what it rests on."""

    value: float
    low: float
    high: float
    n: int
    """Problems, or trials."""
    clusters: int
    """Groups of them that were resampled; equal to ``n`` where each stands for itself."""

    def to_json(self) -> dict[str, float | int | None]:
        """A JSON value; figures that are not numbers are null."""
        return {
            key: None if isinstance(x, float) and not math.isfinite(x) else x
            for key, x in self._asdict().items()
        }


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The chance that ``k`` of ``n`` samples, drawn without replacement, hold one of the ``passed``.

    ``1 - C(n - passed, k) / C(n, k)``, the unbiased estimate of pass@k from n samples (Chen et al. 2021,
    arXiv:2107.03374, section 2.1). Raises ValueError for k over n, which n samples cannot tell.
    """
    if not (0 <= passed <= n and 1 <= k <= n):
        raise ValueError(
            f"pass@{k} of {passed} in {n} samples: expected 1 <= k <= n and 0 <= passed <= n"
        )
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def wilson(hits: int, n: int, confidence: float = 0.95) -> Estimate:
    """The share of independent trials that succeeded, with Wilson's score interval (Wilson 1927)."""
    if not (0 <= hits <= n and n > 0):
        raise ValueError(f"{hits} of {n}: expected 0 <= hits <= n and n > 0")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = middle - half if hits > 0 else 0.0  # exactly: the difference would be rounding
    high = middle + half if hits < n else 1.0
    return Estimate(share, low, high, n, n)


def clustered(
    values: Sequence[float], clusters: Sequence[Hashable], seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """The mean of ``values``, one a problem, with the 95 % percentile interval over resampled clusters.

    A pure function of its arguments. With fewer than two clusters the bounds are not known: NaN.
    Raises ValueError for no values, or another number of clusters than of values.
    """
    value_N = np.asarray(values, dtype=np.float64)
    index_N, count = numbered(clusters, len(value_N))
    total_C = np.bincount(index_N, value_N, count)
    size_C = np.bincount(index_N, minlength=count)
    drawn_RC = _draws(count, seed, resamples)
    low, high = _bounds((drawn_RC @ total_C) / (drawn_RC @ size_C), count)
    return Estimate(float(value_N.mean()), low, high, len(value_N), count)


def clustered_share(
    shares: Sequence[float], clusters: Sequence[Hashable], seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """``clustered`` for values from 0 to 1, such as whether a problem is solved.

    Where all are 0, or all 1, resampling says nothing: Wilson's interval then, a trial each cluster.
    """
    found = clustered(shares, clusters, seed, resamples)
    if found.value not in (0.0, 1.0):
        return found
    bound = wilson(int(found.value) * found.clusters, found.clusters)
    return found._replace(low=bound.low, high=bound.high)


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: Sequence[Hashable],
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Any statistic of problems, given by their indices, with the interval of ``clustered``.

    The statistic sees an index as often as its cluster was drawn.
    """
    index_N, count = numbered(clusters, len(clusters))
    drawn_RC = _draws(count, seed, resamples)
    every_N = np.arange(len(clusters))
    found_R = np.array([statistic(np.repeat(every_N, drawn_C[index_N])) for drawn_C in drawn_RC])
    low, high = _bounds(found_R, count)
    return Estimate(float(statistic(every_N)), low, high, len(clusters), count)


def numbered(clusters: Sequence[Hashable], n: int) -> tuple[NDArray[np.intp], int]:
    """Clusters as numbers from 0, in the order in which they first occur, and how many there are."""
    if len(clusters) != n or not n:
        raise ValueError(
            f"{n} values in {len(clusters)} clusters: expected as many, and one at least"
        )
    number: dict[Hashable, int] = {}
    for cluster in clusters:
        number.setdefault(cluster, len(number))
    return np.array([number[cluster] for cluster in clusters], dtype=np.intp), len(number)


def _draws(count: int, seed: int, resamples: int) -> NDArray[np.int64]:
    """How often each of ``count`` clusters is drawn in each resample, ``[R, C]``."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)


def _bounds(found_R: NDArray[np.float64], clusters: int) -> tuple[float, float]:
    if clusters < 2:
        return math.nan, math.nan
    low, high = np.nanpercentile(found_R, (2.5, 97.5))
    return float(low), float(high)
