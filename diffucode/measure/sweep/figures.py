"""The samples of a cell to what they are worth: a value for each problem, and estimates over problems.

    pass_1, pass_k    unbiased (Chen et al. 2021)
    eda_k             the expected number of different algorithms among the right ones of k samples: wrong
                      samples stay in the pool, so it is pass@k where there is one algorithm only
    ea                effective number of algorithms, exp of their entropy, of the right samples of a problem
                      that has some (Lee et al. 2025); undefined, not 0, where none is right
    distinct          different programs among the samples, and distinct_right among the right ones

Two programs are one algorithm, and one program, where their canonical syntax trees are equal: names,
docstrings and layout do not count. That is the finest clustering there is; it overstates algorithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffucode.measure.sweep.cells import Drawn, Samples
from diffucode.metrics.diversity.abundance import eda_at_k, hill, sizes_of
from diffucode.metrics.diversity.undefined import number
from diffucode.metrics.outcomes import Figures
from diffucode.metrics.passk import Estimate, clustered, clustered_share, pass_at_k

MEASURES = {
    "pass_1": "pass@1",
    "pass_k": "pass@{k}",
    "eda_k": "eDA@{k}",
    "ea": "EA",
    "distinct": "distinct programs",
    "distinct_right": "distinct right ones",
    "valid": "valid Python",
    "ended": "ended",
    "local": "local AR-ness@1",
    "leftmost": "global AR-ness@1",
    "nfe": "passes",
    "positions": "positions",
}
"""What each measure is called."""
SHARES = ("pass_1", "pass_k", "valid", "ended", "local", "leftmost")
COMMON = 5
"""Right samples that every cell has of a problem whose algorithms are compared."""


@dataclass(frozen=True)
class Values:
    """A cell's measures of P problems, in one order for all cells; NaN where one is undefined."""

    drawn: Drawn
    samples: list[Samples]
    k: int

    def __getitem__(self, measure: str) -> NDArray[np.float64]:
        return np.array([MEASURE[measure](one, self.k) for one in self.samples], dtype=np.float64)

    @property
    def signatures(self) -> list[str]:
        return [one.signature for one in self.samples]

    @property
    def passed(self) -> NDArray[np.int64]:
        return np.array([one.passed for one in self.samples], dtype=np.int64)

    def mean(self, measure: str) -> float:
        """Over the problems where it is defined; NaN where it nowhere is."""
        known = self[measure]
        known = known[~np.isnan(known)]
        return float(known.mean()) if len(known) else math.nan

    def estimate(
        self, measure: str, seed: int, among: NDArray[np.bool_] | None = None
    ) -> Estimate | None:
        """The mean with its interval; ``among``: of these problems. None where it nowhere is defined."""
        value = self[measure]
        known = ~np.isnan(value) if among is None else ~np.isnan(value) & among
        if not known.any():
            return None
        clusters = [one.signature for one, used in zip(self.samples, known, strict=True) if used]
        estimate = clustered_share if measure in SHARES else clustered
        return estimate(value[known].tolist(), clusters, seed)


def aligned(drawn: Sequence[Drawn], ids: Sequence[str], samples: int, k: int) -> list[Values]:
    """Every cell on the problems that all have ``samples`` samples of (one, of deterministic cells)."""
    size = {one.cell: 1 if one.cell.deterministic else samples for one in drawn}
    shared = [
        id
        for id in ids
        if all(id in one.problems and one.problems[id].n >= size[one.cell] for one in drawn)
    ]
    return [Values(one, one.of(shared, size[one.cell]), k) for one in drawn]


def common(cells: Sequence[Values]) -> NDArray[np.bool_]:
    """The problems that every cell has ``COMMON`` right samples of; deterministic cells are not asked."""
    asked = [one.passed for one in cells if not one.drawn.cell.deterministic]
    return np.min(asked, axis=0) >= COMMON if asked else np.zeros(len(cells[0].samples), bool)


def figures(values: Values, seed: int, shared: NDArray[np.bool_]) -> Figures:
    """Everything about a cell, as JSON. ``shared``: the problems of ``common``."""
    cell, samples = values.drawn.cell, values.samples
    many = sum(one.n for one in samples)
    tokens = sum(sum(one.tokens) for one in samples)
    core, wall = (
        sum(getattr(one, name) for one in samples) for name in ("core_seconds", "seconds")
    )
    estimates = {name: _json(values.estimate(name, seed)) for name in MEASURES}
    return {
        "model": cell.model,
        "decoder": cell.decoder,
        "temperature": cell.temperature,
        "order_temperature": cell.order_temperature,
        "problems": len(samples),
        "samples": samples[0].n if samples else 0,
        **estimates,
        "ea_common": _json(values.estimate("ea", seed, shared)),
        "tokens_per_second": tokens / wall if wall else None,
        "tokens_per_core_second": tokens / core if core else None,
        "core_seconds": core / many if many else None,
        "total_positions": sum(sum(one.positions) for one in samples),
    }


def eda(one: Samples, k: int) -> float:
    """Expected different algorithms among the right ones of ``k`` samples."""
    return number(eda_at_k(_sizes(one), one.n, min(k, one.n)))  # as _pass has it


def ea(one: Samples) -> float:
    """Effective number of algorithms; NaN where no sample is right."""
    return number(hill(_sizes(one), 1))


def _sizes(one: Samples) -> tuple[int, ...]:
    """Of the clusters of right samples."""
    return sizes_of(tree for tree, right in zip(one.tree, one.right, strict=True) if right)


def _pass(one: Samples, passed: int, k: int) -> float:
    return pass_at_k(one.n, passed, min(k, one.n))  # k over n: all samples are one, deterministic


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return fmean(known) if known else math.nan


MEASURE: dict[str, Callable[[Samples, int], float]] = {
    "pass_1": lambda one, k: one.passed / one.n,
    "pass_k": lambda one, k: _pass(one, one.passed, k),
    "eda_k": eda,
    "ea": lambda one, k: ea(one),
    "distinct": lambda one, k: len(set(one.tree) - {None}),
    "distinct_right": lambda one, k: len(_sizes(one)),
    "valid": lambda one, k: sum(tree is not None for tree in one.tree) / one.n,
    "ended": lambda one, k: sum(one.ended) / one.n,
    "local": lambda one, k: _mean(one.local),
    "leftmost": lambda one, k: _mean(one.leftmost),
    "nfe": lambda one, k: _mean(one.nfe),
    "positions": lambda one, k: _mean(one.positions),
}


def _json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_json()
