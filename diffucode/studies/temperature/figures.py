"""Cells to comparisons: mixtures at equal cost, unique solves, votes.

Costs are positions through the model. A budget is what k samples of the single best cell (chosen on ``dev``)
cost on average; a mixture spends the same on samples spread evenly over the cells of its axis::

    token    all token temperatures at the best cell's order temperature
    order    all order temperatures at the best cell's token temperature; an AR model has none
    both     all cells of the model
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat, takewhile
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.measure.sweep.cells import Samples
from diffucode.measure.sweep.figures import Values
from diffucode.measure.sweep.plan import Cell
from diffucode.metrics.passk import Estimate, clustered, clustered_share
from diffucode.metrics.scaling import Solvability, mixture, most, solvability
from diffucode.metrics.unique import Replicated, Unique, replicated, unique_solves
from diffucode.metrics.voting import Ballot, Rule, Tally, elect, plain, tally

Axis = Literal["token", "order", "both"]
AXES: tuple[Axis, ...] = ("token", "order", "both")
Counts = NDArray[np.int64]


class Budget(NamedTuple):
    """Two ways to spend the same."""

    k: int
    """Samples of the single best cell."""
    positions: float
    """A problem, both ways."""
    mixed: float
    """Samples of the mixture."""
    single: Estimate
    mixture: Estimate
    difference: Estimate
    """The mixture minus the single best cell."""


class Solved(NamedTuple):
    """Which problems which temperature solves."""

    cells: list[Cell]
    counts: Solvability
    unique: Unique
    halves: Replicated
    """The unique solves of the first half of the samples, on the second."""


class Voted(NamedTuple):
    """Votes across an axis, beside one at the single best temperature that costs as much."""

    tally: Tally
    accuracy: Estimate
    """With early exit."""
    full: Estimate
    """Plain majority over all samples."""
    single: Estimate
    """Plain majority of the best cell's samples, for what early exit spends on average."""
    samples: int
    """Of these."""
    difference: Estimate
    """Early exit minus ``single``."""


@dataclass(frozen=True)
class Found:
    """A model on ``test``."""

    model: str
    cells: list[Values]
    """All, with as many samples each."""
    best: Values
    """The single best by ``dev``, with all the samples it has."""
    seed: int
    rule: Rule

    def axis(self, name: Axis) -> list[Values]:
        """Its cells, colder first; none where the axis has one cell alone."""
        best = self.best.drawn.cell
        found = [
            one
            for one in self.cells
            for cell in [one.drawn.cell]
            if (name != "token" or cell.order_temperature == best.order_temperature)
            and (name != "order" or cell.temperature == best.temperature)
        ]
        again = name == "both" and best.decoder == "ar"  # it is the axis of tokens
        return [] if len(found) < 2 or again else found

    # --- equal cost ----------------------------------------------------------------------------

    def budgets(self, name: Axis) -> list[Budget]:
        """k = 1, 2, 4, ... samples of the best cell, as far as the samples of both reach."""
        mixed = self.axis(name)
        if not mixed:
            return []
        price, prices = _price(self.best), float(np.mean([_price(one) for one in mixed]))
        have, reach = self.best.samples[0].n, most([one.samples[0].n for one in mixed])
        doubled = accumulate(repeat(2), lambda k, two: k * two, initial=1)
        ks = takewhile(lambda k: k <= have and k * price / prices <= reach, doubled)
        return [self._budget(mixed, k, k * price, k * price / prices) for k in ks]

    def _budget(self, mixed: Sequence[Values], k: int, positions: float, many: float) -> Budget:
        single = [mixture([one.n], [one.passed], k) for one in self.best.samples]
        spread = [
            mixture([one.n for one in row], [one.passed for one in row], many)
            for row in zip(*(one.samples for one in mixed), strict=True)
        ]
        gap = [b - a for a, b in zip(single, spread, strict=True)]
        return Budget(
            k,
            positions,
            many,
            self._share(single),
            self._share(spread),
            clustered(gap, self.best.signatures, self.seed),
        )

    # --- who solves what -----------------------------------------------------------------------

    def solved(self, cells: Sequence[Values]) -> Solved:
        """Of cells with as many samples each."""
        many = cells[0].samples[0].n
        n, right = _counts(cells, 0, many)
        first, second = _counts(cells, 0, many // 2), _counts(cells, many // 2, many)
        return Solved(
            [one.drawn.cell for one in cells],
            solvability(right),
            unique_solves(n, right),
            replicated(first, second),
        )

    def orders(self) -> dict[float, list[Values]]:
        """The cells of each token temperature; none of an AR model."""
        found: dict[float, list[Values]] = {}
        for one in self.cells:
            found.setdefault(one.drawn.cell.temperature, []).append(one)
        return {tau: cells for tau, cells in found.items() if len(cells) > 1}

    # --- votes ---------------------------------------------------------------------------------

    def voted(self, name: Axis) -> Voted | None:
        """None where the axis has one cell alone."""
        cells = self.axis(name)
        if not cells:
            return None
        rows = list(zip(*(one.samples for one in cells), strict=True))
        ballots = [_ballot(row) for row in rows]
        counted = tally(ballots, self.rule)
        early = [_hit(ballot, self.rule) for ballot in ballots]
        full = [_hit(ballot, None) for ballot in ballots]
        afford = round(counted.used / len(rows) / _price(self.best))
        k = min(max(1, afford), self.best.samples[0].n)
        single = [_hit(_ballot([one.part(0, k)]), None) for one in self.best.samples]
        gap = [a - b for a, b in zip(early, single, strict=True)]
        return Voted(
            counted,
            self._share(early),
            self._share(full),
            self._share(single),
            k,
            clustered(gap, self.best.signatures, self.seed),
        )

    # --- bands ---------------------------------------------------------------------------------

    def bands(self) -> list[int]:
        return sorted({one.band for one in self.best.samples})

    def in_band(self, cell: Values, band: int) -> NDArray[np.bool_]:
        return np.array([one.band == band for one in cell.samples])

    def union(self, cells: Sequence[Values], band: int | None = None) -> Estimate | None:
        """Pass@All."""
        solved = np.max([one.passed for one in cells], axis=0) > 0
        kept = [band is None or one.band == band for one in cells[0].samples]
        values = [float(hit) for hit, used in zip(solved, kept, strict=True) if used]
        clusters = [one.signature for one, used in zip(cells[0].samples, kept, strict=True) if used]
        return clustered_share(values, clusters, self.seed) if values else None

    def _share(self, values: Sequence[float]) -> Estimate:
        return clustered_share(values, self.best.signatures, self.seed)


def found_of(
    test: Sequence[Values], deep: Sequence[Values], best: Cell, seed: int, rule: Rule
) -> Found:
    """A model's cells on the problems of all; its best one with more samples where there are some."""
    cells = [one for one in test if one.drawn.cell.model == best.model]
    more = next((one for one in deep if one.drawn.cell == best), None)
    own = next(one for one in cells if one.drawn.cell == best)
    if more is not None:
        known = {one.id: one for one in more.samples}
        if all(one.id in known for one in own.samples):
            own = Values(more.drawn, [known[one.id] for one in own.samples], own.k)
    return Found(best.model, cells, own, seed, rule)


def _price(cell: Values) -> float:
    """Mean positions of a sample."""
    return sum(sum(one.positions) for one in cell.samples) / sum(one.n for one in cell.samples)


def _counts(cells: Sequence[Values], begin: int, end: int) -> tuple[Counts, Counts]:
    """Of these samples of each problem in each cell: how many, and how many right ones."""
    right_QT = np.array([[sum(one.right[begin:end]) for one in cell.samples] for cell in cells]).T
    return np.full_like(right_QT, end - begin), right_QT


def _ballot(row: Sequence[Samples]) -> Ballot:
    return Ballot(
        [one.label for one in row], [one.right for one in row], [one.positions for one in row]
    )


def _hit(ballot: Ballot, rule: Rule | None) -> float:
    """Whether the answer is right: by the rule, or by plain majority over all pools."""
    winner = plain(ballot.labels) if rule is None else elect(ballot.labels, rule).winner
    return float(winner is not None and ballot.right[winner.cell][winner.sample])
