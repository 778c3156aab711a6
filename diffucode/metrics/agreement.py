"""How well clusters agree with known classes."""

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


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
