"""How well clusters agree with known classes, and what follows for counts of different algorithms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple


class Pairs(NamedTuple):
    """Pairs of things, by whether they share a cluster and a class."""

    both: int
    cluster_only: int
    class_only: int
    neither: int

    @property
    def precision(self) -> float:
        """Of the pairs in a cluster, the share of one class; NaN without such pairs."""
        return _ratio(self.both, self.both + self.cluster_only)

    @property
    def recall(self) -> float:
        """Of the pairs of a class, the share in one cluster; NaN without such pairs."""
        return _ratio(self.both, self.both + self.class_only)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.both, 2 * self.both + self.cluster_only + self.class_only)

    @property
    def adjusted_rand(self) -> float:
        """Agreement beyond chance (Hubert and Arabie 1985): 1 for equal partitions, 0 on average for random
        ones; 1 where both are all one, or all apart."""
        a, b, c, d = self
        if not b and not c:
            return 1.0
        return 2 * (a * d - b * c) / ((a + b) * (b + d) + (a + c) * (c + d))


def pairs(clusters: Sequence[Hashable | None], classes: Sequence[Hashable]) -> Pairs:
    """The pairs of things of one problem. A thing without a cluster (None) is in one with nothing."""
    counts = Counter(
        (one[0] is not None and one[0] == other[0], one[1] == other[1])
        for one, other in combinations(zip(clusters, classes, strict=True), 2)
    )
    return Pairs(
        *(counts[key] for key in ((True, True), (True, False), (False, True), (False, False)))
    )


def together(found: Iterable[Pairs]) -> Pairs:
    """The pairs of several problems as one."""
    return Pairs(*(sum(one) for one in zip(*found, strict=True)))


def effective(sizes: Sequence[int]) -> float:
    """EA, the effective number of algorithms: the exponential of the entropy of their shares (Lee et al.
    2025, arXiv:2503.00691). Raises ValueError for no programs."""
    total = sum(sizes)
    if total < 1:
        raise ValueError("no programs: the number of algorithms is undefined")
    return math.exp(-sum(s / total * math.log(s / total) for s in sizes if s))


def expected_distinct(sizes: Sequence[int], k: int) -> float:
    """DA@K: the expected number of algorithms in k programs drawn without replacement (Lee et al. 2025).

    Raises ValueError for more than there are.
    """
    total = sum(sizes)
    if not 1 <= k <= total:
        raise ValueError(f"DA@{k} of {total} programs: expected 1 <= k <= programs")
    return sum(1 - math.comb(total - s, k) / math.comb(total, k) for s in sizes)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
