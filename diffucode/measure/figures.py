"""Reading a model's figures (``Bench.measure``), and an estimate as text."""

from __future__ import annotations

import math
from typing import Any

from diffucode.metrics.outcomes import Figures


def percent(estimate: Figures | None) -> str:
    """A share with its interval."""
    if estimate is None:
        return "-"
    return _with_bounds(estimate, 100, 1)


def predicted(estimate: Figures | None, scored: int, fresh: int) -> tuple[float, float] | None:
    """Where the same share over ``fresh`` other problems falls with the interval's probability.

    The interval of the mean of ``scored`` problems, widened by the error of the other mean: its variance
    is ``scored / fresh`` times this one's. None without an interval.
    """
    if estimate is None or estimate["low"] is None:
        return None
    value, wider = estimate["value"], math.sqrt(1 + scored / fresh)
    low, high = (value + wider * (estimate[key] - value) for key in ("low", "high"))
    return max(0.0, low), min(1.0, high)


def plain(estimate: Figures | None) -> str:
    """A number with its interval."""
    if estimate is None:
        return "-"
    return _with_bounds(estimate, 1, 2 if abs(estimate["value"]) < 100 else 0)


def _with_bounds(estimate: Figures, scale: float, digits: int) -> str:
    value, *bounds = (estimate[key] for key in ("value", "low", "high"))
    shown = f"{scale * value:.{digits}f}"
    if None in bounds:
        return shown
    return f"{shown} [{scale * bounds[0]:.{digits}f}, {scale * bounds[1]:.{digits}f}]"


def at_pace(model: Figures, pace: list[Any]) -> Figures | None:
    """The ``test`` figures of a model at a pace (schedule, steps, block length)."""
    rows = [row for row in model.get("greedy", []) if row["split"] == "test"]
    return next((row for row in rows if row["pace"] == pace), None)


def usual(model: Figures) -> Figures | None:
    """The ``test`` figures at the model's usual pace."""
    return at_pace(model, model["pace"])
