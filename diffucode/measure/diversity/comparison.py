"""Rows of programs to tables of figures.

all        every task, unsolved ones too: eDA@K
own        the tasks that a row solves: the paper's way, which flatters who solves more and harder tasks
common     the tasks that every file and their pool solve K times: what compares
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffucode.measure.diversity.figures import (
    LISTED,
    Options,
    da,
    eda,
    of_algorithms,
    of_all,
    of_form,
)
from diffucode.measure.diversity.labels import Labels
from diffucode.measure.diversity.means import Curve, Means, Table
from diffucode.measure.diversity.rows import REFERENCES, Row, Rows
from diffucode.metrics.diversity import abundance


@dataclass(frozen=True)
class Counts:
    """What the figures of a row rest on."""

    solved: int
    """Tasks with a correct program."""
    correct: int
    """Programs."""
    abstained: int
    """Of them, those that the clusterer could not place: they are in no cluster."""
    unjudged: int
    """Samples without a verdict: they are in no figure."""
    clamped: int
    """Solved tasks with fewer placed programs than NAUADC's last K: it is too low there."""


@dataclass(frozen=True)
class Comparison:
    """All that ``diffucode diversity`` says."""

    clusterer: str
    options: Options
    n: int
    """Samples of a task in each row, references excepted."""
    tasks: int
    left_out: int
    """Tasks that only some of the files have."""
    common: Sequence[str]
    counts: Mapping[str, Counts]
    """By row."""
    all: Table
    own: Table
    shared: Table
    """On the common tasks."""
    references: Table
    """Of the reference solutions of the common tasks, each listed once: no figure of how often."""
    minus_first: Table
    """A row less the first file: eDA on all tasks, the rest on the common ones."""
    eda: Sequence[Curve]
    da: Sequence[Curve]
    """On the common tasks, up to the fewest programs that any of them has."""
    effective: Mapping[str, Sequence[float]]
    """EA of each common task, by row, falling."""
    per_task: Mapping[str, Mapping[str, Any]]
    """By task and row: samples with a verdict, correct programs, cluster sizes."""

    def to_json(self) -> dict[str, Any]:
        return {
            "clusterer": self.clusterer,
            "k": self.options.k,
            "k_max": self.options.k_max,
            "samples": self.n,
            "tasks": self.tasks,
            "tasks_left_out": self.left_out,
            "counts": {row: vars(counts) for row, counts in self.counts.items()},
            "all": _json(self.all),
            "own": _json(self.own),
            "common": {"tasks": list(self.common), "figures": _json(self.shared)},
            "references": _json(self.references),
            "minus_first": _json(self.minus_first),
            "curves": {"eDA": _points(self.eda), "DA": _points(self.da)},
            "per_task": dict(self.per_task),
        }


def compare(
    rows: Rows,
    labels: Labels,
    clusterer: str,
    groups: Mapping[str, str],
    options: Options,
    seed: int = 0,
) -> Comparison:
    """``clusterer``: the name of who made the labels; ``groups``: what is resampled together, by task."""
    means = Means(rows, labels, groups, options, seed)
    sampled = [row.name for row in rows.sampled]

    def placed(row: Row, task: str) -> int:
        return sum(means.view(row, task).sizes)

    common = [t for t in rows.tasks if all(placed(row, t) >= options.k for row in rows.sampled)]
    fewest = min((placed(row, task) for row in rows.sampled for task in common), default=0)
    solved = {row.name: [t for t in row.correct if row.correct[t].programs] for row in rows.every}
    every, algorithms = of_all(options, rows.n), of_algorithms(options)
    everything = algorithms | of_form(options)

    def counted(row: Row) -> Counts:
        each = [(task, one.programs) for task, one in row.correct.items()]
        return Counts(
            solved=len(solved[row.name]),
            correct=sum(len(programs) for _, programs in each),
            abstained=sum(labels[task][p] is None for task, programs in each for p in programs),
            unjudged=sum(one.unjudged for one in row.correct.values()),
            clamped=sum(placed(row, task) < options.k_max for task in solved[row.name]),
        )

    return Comparison(
        clusterer=clusterer,
        options=options,
        n=rows.n,
        tasks=len(rows.tasks),
        left_out=rows.left_out,
        common=common,
        counts={row.name: counted(row) for row in rows.every},
        all=means.table(every, dict.fromkeys(sampled, rows.tasks)),
        own=means.table(algorithms, {name: solved[name] for name in sampled}),
        shared=means.table(everything, dict.fromkeys(sampled, common)),
        references=means.table({name: algorithms[name] for name in LISTED}, {REFERENCES: common}),
        minus_first=means.minus_first(every, rows.tasks) | means.minus_first(everything, common),
        eda=means.curves(eda, rows.n, rows.tasks),
        da=means.curves(da, fewest, common),
        effective={
            row.name: sorted(
                (
                    ea
                    for task in common
                    if isinstance(ea := abundance.hill(means.view(row, task).sizes, 1), float)
                ),
                reverse=True,
            )
            for row in rows.sampled
        },
        per_task={
            task: {
                row.name: {
                    "judged": row.correct[task].pool,
                    "correct": len(row.correct[task].programs),
                    "sizes": list(means.view(row, task).sizes),
                }
                for row in rows.every
                if task in row.correct
            }
            for task in rows.tasks
        },
    )


def _json(table: Table) -> dict[str, Any]:
    return {
        figure: {row: mean.to_json() for row, mean in means.items()}
        for figure, means in table.items()
    }


def _points(curves: Sequence[Curve]) -> dict[str, Any]:
    return {one.row: [point.to_json() for point in one.points] for one in curves}
