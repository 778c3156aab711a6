"""Reading a model's figures (``Bench.measure``), and an estimate as text."""

from __future__ import annotations

from typing import Any

from diffucode.metrics.outcomes import Figures


def percent(estimate: Figures | None) -> str:
    """A share with its interval."""
    if estimate is None:
        return "-"
    return _with_bounds(estimate, 100, 1)


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
