"""A figure that has no value here says why; it is never 0, and no mean takes it for one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Undefined:
    """No value, and why."""

    reason: str


Figure = float | Undefined


def number(figure: Figure) -> float:
    """The value, NaN where there is none."""
    return math.nan if isinstance(figure, Undefined) else figure


def defined(figures: Iterable[Figure]) -> list[float]:
    """Those that have a value, in their order."""
    return [figure for figure in figures if not isinstance(figure, Undefined)]
