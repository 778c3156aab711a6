"""Quality against diversity: the points that no other one beats, and two models at equal quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The Pareto front: indices of the points that no other one beats in one value without losing in the
    other; the best first value comes first. Equal points are all on it or all off it; NaN never is."""
    known = [n for n, point in enumerate(points) if not any(map(math.isnan, point))]
    kept = [n for n in known if not any(_beats(points[other], points[n]) for other in known)]
    return sorted(kept, key=lambda n: (-points[n][0], n))


def at_equal(x: float, curve: Sequence[tuple[float, float]]) -> float:
    """The y of a curve where its x is ``x``: on the straight line between neighbouring points (given in the
    order of the setting that moves along the curve, such as temperature).

    Where the curve passes x several times, the highest of these. NaN where it never does: nothing is
    extrapolated.
    """
    found = [y for at, y in curve if at == x]
    for (x0, y0), (x1, y1) in pairwise(curve):
        if min(x0, x1) < x < max(x0, x1):
            found.append(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return max((y for y in found if not math.isnan(y)), default=math.nan)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]
