"""Figures of tasks to means over tasks, with intervals from resampled tasks (minicode: signatures)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffucode.measure.diversity.figures import Measure, Options, View
from diffucode.measure.diversity.labels import Labels
from diffucode.measure.diversity.rows import Row, Rows
from diffucode.metrics.diversity.codebleu import Code
from diffucode.metrics.diversity.techniques import techniques
from diffucode.metrics.diversity.undefined import Figure, Undefined
from diffucode.metrics.passk import Estimate, clustered


@dataclass(frozen=True)
class Mean:
    """A figure over tasks. A task that does not define it is left out and counted."""

    estimate: Estimate | None
    """None where no task defines it."""
    undefined: Mapping[str, int]
    """Tasks that do not, by the reason."""

    def to_json(self) -> dict[str, Any]:
        found = self.estimate.to_json() if self.estimate else {"value": None, "n": 0}
        return found | {"undefined": dict(self.undefined)}


Table = dict[str, dict[str, Mean]]
"""By figure, then by row."""


@dataclass(frozen=True)
class Curve:
    """A mean over tasks at each K from 1 on."""

    row: str
    points: Sequence[Estimate]


class Means:
    """Means of figures of the same rows; the figure of a task is computed once."""

    def __init__(
        self, rows: Rows, labels: Labels, groups: Mapping[str, str], options: Options, seed: int
    ) -> None:
        """``groups``: what is resampled together, by task."""
        self._rows, self._labels, self._groups = rows, labels, groups
        self._options, self._seed = options, seed
        self._views: dict[tuple[str, str], View] = {}
        self._values: dict[tuple[str, str, str], Figure] = {}
        self._codes: dict[str, Code | None] = {}

    def view(self, row: Row, task: str) -> View:
        """A task of a row, as figures see it."""
        if (found := self._views.get((row.name, task))) is None:
            correct, known = row.correct[task], self._known(task)
            found = View(correct, self._labels[task], self._options, known, self._codes)
            self._views[row.name, task] = found
        return found

    def table(self, measures: Mapping[str, Measure], on: Mapping[str, Sequence[str]]) -> Table:
        """Of each row by its name in ``on``, over these tasks, as far as the row has them."""
        rows = [row for row in self._rows.every if row.name in on]
        return {
            name: {
                row.name: self._mean(
                    (task, self._value(name, measure, row, task))
                    for task in on[row.name]
                    if task in row.correct
                )
                for row in rows
            }
            for name, measure in measures.items()
        }

    def minus_first(self, measures: Mapping[str, Measure], tasks: Sequence[str]) -> Table:
        """Each other file, and the pool, less the first file, task by task where both are defined."""
        first, *others = self._rows.sampled

        def less(name: str, measure: Measure, row: Row, task: str) -> Figure:
            one = self._value(name, measure, row, task)
            other = self._value(name, measure, first, task)
            if isinstance(one, Undefined) or isinstance(other, Undefined):
                return one if isinstance(one, Undefined) else other
            return one - other

        return {
            name: {
                row.name: self._mean((task, less(name, measure, row, task)) for task in tasks)
                for row in others
            }
            for name, measure in measures.items()
        }

    def curves(self, at: Callable[[int], Measure], k_max: int, tasks: Sequence[str]) -> list[Curve]:
        """Of each file and the pool, over the tasks that define it at every K."""
        found = []
        for row in self._rows.sampled:
            means = [
                self._mean((task, at(k)(self.view(row, task))) for task in tasks)
                for k in range(1, k_max + 1)
            ]
            points = [mean.estimate for mean in means if mean.estimate and not mean.undefined]
            found.append(Curve(row.name, points))
        return found

    def _value(self, name: str, measure: Measure, row: Row, task: str) -> Figure:
        key = name, row.name, task
        if key not in self._values:
            self._values[key] = measure(self.view(row, task))
        return self._values[key]

    def _mean(self, values: Iterable[tuple[str, Figure]]) -> Mean:
        known: list[tuple[str, float]] = []
        reasons: Counter[str] = Counter()
        for task, value in values:
            if isinstance(value, Undefined):
                reasons[value.reason] += 1
            else:
                known.append((task, value))
        if not known:
            return Mean(None, reasons)
        groups = [self._groups[task] for task, _ in known]
        return Mean(clustered([value for _, value in known], groups, self._seed), reasons)

    def _known(self, task: str) -> frozenset[str] | None:
        """The techniques of the task's reference solutions."""
        row = self._rows.references
        if row is None or task not in row.correct:
            return None
        return frozenset(n for p in row.correct[task].programs for n in techniques(p) or ())
