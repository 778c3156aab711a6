"""Diffusion against AR: at equal temperature, and at equal pass@1.

A model that is right more often has more right programs to be different, so at equal T the better model looks
more diverse. At equal pass@1 each diffusion cell is held against the AR model's curve over T: the straight
line between the two neighbouring temperatures whose pass@1 encloses the cell's (``metrics.front.at_equal``;
of several crossings the AR model's best). Outside the AR model's range there is no comparison. The interval
resamples signatures and draws both the cell and the curve anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.measure.sweep.figures import Values
from diffucode.measure.sweep.plan import Cell
from diffucode.metrics.front import at_equal
from diffucode.metrics.passk import Estimate, bootstrap, clustered

COMPARED = ("pass_k", "eda_k", "ea")
RESAMPLES = 500
"""Of the comparisons at equal pass@1."""


class Matched(NamedTuple):
    """A diffusion cell minus an AR model, in one measure."""

    cell: Cell
    against: str
    measure: str
    at: float
    """The temperature, or the pass@1, that both have."""
    difference: Estimate | None
    """None where the AR model has nothing at it."""


def at_equal_temperature(cells: Sequence[Values], seed: int) -> list[Matched]:
    """Every diffusion cell against each AR model's cell of the same T, on the problems where both are
    defined."""
    found = []
    for one, (name, curve) in product(_diffusion(cells), _curves(cells).items()):
        cell = one.drawn.cell
        twin = next((x for x in curve if x.drawn.cell.temperature == cell.temperature), None)
        if twin is None:
            continue
        for measure in COMPARED:
            gap = one[measure] - twin[measure]
            known = ~np.isnan(gap)
            clusters = [sign for sign, used in zip(one.signatures, known, strict=True) if used]
            difference = clustered(gap[known].tolist(), clusters, seed) if clusters else None
            found.append(Matched(cell, name, measure, cell.temperature, difference))
    return found


def at_equal_pass(cells: Sequence[Values], seed: int) -> list[Matched]:
    """Every diffusion cell against each AR model at the cell's pass@1."""
    found = []
    for one, (name, curve) in product(_diffusion(cells), _curves(cells).items()):
        for measure in COMPARED:
            difference = _gap(one, curve, measure, seed)
            found.append(Matched(one.drawn.cell, name, measure, one.mean("pass_1"), difference))
    return found


def _gap(one: Values, curve: Sequence[Values], measure: str, seed: int) -> Estimate | None:
    own, own_pass = one[measure], one["pass_1"]
    theirs = [(other["pass_1"], other[measure]) for other in curve]

    def gap(index_N: NDArray[np.intp]) -> float:
        points = [(_mean(right[index_N]), _mean(value[index_N])) for right, value in theirs]
        return _mean(own[index_N]) - at_equal(_mean(own_pass[index_N]), points)

    if not one.samples or math.isnan(gap(np.arange(len(one.samples)))):
        return None
    return bootstrap(gap, one.signatures, seed, RESAMPLES)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _diffusion(cells: Sequence[Values]) -> list[Values]:
    return [one for one in cells if one.drawn.cell.decoder == "diffusion"]


def _curves(cells: Sequence[Values]) -> dict[str, list[Values]]:
    """The cells of each AR model, colder first."""
    found: dict[str, list[Values]] = {}
    for one in cells:
        if one.drawn.cell.decoder == "ar":
            found.setdefault(one.drawn.cell.model, []).append(one)
    return {
        name: sorted(curve, key=lambda one: one.drawn.cell.temperature)
        for name, curve in found.items()
    }
