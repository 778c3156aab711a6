"""Which correct programs of a task are the same algorithm.

All rows are clustered at once, so that they share labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffucode.errors import TaskError
from diffucode.measure.benchmarks import Benchmark
from diffucode.measure.clustering.task import Clusterer, Task
from diffucode.measure.diversity.rows import Row
from diffucode.progress import Progress, silent
from diffucode.tasks import minicode
from diffucode.tasks.minicode import disjoint, inputs

PROBES = 24
"""Inputs of a task that a clusterer may run programs on, as in its calibration."""

Labels = Mapping[str, Mapping[str, int | None]]
"""By task and program; None where the clusterer could not tell."""


def labels(
    clusterer: Clusterer,
    asked: Mapping[str, Task],
    rows: Sequence[Row],
    progress: Progress = silent,
) -> Labels:
    """A label for each different correct program of each task. Raises what the clusterer raises."""
    found = {}
    for done, (id, task) in enumerate(asked.items(), start=1):
        every = [p for row in rows if id in row.correct for p in row.correct[id].programs]
        programs = list(dict.fromkeys(every))
        found[id] = dict(zip(programs, clusterer.labels(task, programs), strict=True))
        progress("clustered", done, len(asked))
    return found


def tasks_of(benchmark: Benchmark, tasks: Sequence[str]) -> dict[str, Task]:
    """What a clusterer may know of these tasks. Raises TaskError for one that the benchmark does not have."""
    known = {one.id: one for one in benchmark.tasks}
    if unknown := next((id for id in tasks if id not in known), None):
        raise TaskError(
            f"samples of {unknown!r}, which is not among the {len(known)} tasks of {benchmark.name} "
            f"({benchmark.source}); name the benchmark: --dataset, --first"
        )
    if benchmark.name == "minicode":
        return {id: _of_minicode(id) for id in tasks}
    problems = {one.id: one for one in benchmark.problems()}
    return {
        id: Task(id, one.prompt, one.entry_point, (*one.base, *one.plus)[:PROBES])
        for id in tasks
        for one in (problems[id],)
    }


def nameless(tasks: Sequence[str]) -> dict[str, Task]:
    """Tasks of which nothing is known, for a clusterer that only reads programs."""
    return {id: Task(id, "", "", ()) for id in tasks}


def _of_minicode(id: str) -> Task:
    problem = minicode.problem(id.replace("-", "/"))
    probes = inputs.probes(disjoint.kinds(problem))[-PROBES:]
    return Task(id, problem.prompt, problem.entry_point, probes)
