"""Samples files to a comparison: read, cut to equal size, cluster, measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffucode.errors import TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.benchmarks import Benchmark
from diffucode.measure.clustering.calibrate import CanonicalTree
from diffucode.measure.clustering.judge import Endpoint, Judge
from diffucode.measure.clustering.offline import Offline
from diffucode.measure.clustering.task import Clusterer
from diffucode.measure.diversity.comparison import Comparison, compare
from diffucode.measure.diversity.figures import Options
from diffucode.measure.diversity.files import judged
from diffucode.measure.diversity.labels import labels, nameless, tasks_of
from diffucode.measure.diversity.rows import references_of, rows
from diffucode.measure.scored import Half
from diffucode.progress import Progress, silent

Way = Literal["idea", "form", "tree", "judge"]
"""Who says which programs are the same algorithm: ``clustering.offline`` by either grain, the syntax tree, or
``clustering.judge``."""


@dataclass(frozen=True)
class File:
    """A samples file, and its verdicts where they do not lie beside it."""

    samples: Path
    results: Path | None = None


def diversity(
    files: Mapping[str, File],
    benchmark: Benchmark | None,
    *,
    way: Way | None = None,
    endpoint: Endpoint | None = None,
    half: Half = "plus",
    options: Options | None = None,
    paper: bool = False,
    cache: Path,
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Compare files, by the name that each should have.

    ``benchmark``: None where it is not known, which ``way`` "tree" alone does with; without ``way`` it is
    "form" for minicode, "idea" for others (docs/clustering.md). ``paper``: NAUADC ends at K = 25 also where
    there are fewer samples. Raises TaskError where files do not fit each other or their benchmark.
    """
    asked = options or Options()
    chosen = way or ("form" if benchmark and benchmark.name == "minicode" else "idea")
    if benchmark is None and chosen != "tree":
        raise TaskError(
            f"{', '.join(files)}: of which benchmark? Telling algorithms apart needs its tasks: give "
            "--dataset, or --clusters tree, which compares texts"
        )
    read = {name: judged(file.samples, half, file.results) for name, file in files.items()}
    tasks = list(dict.fromkeys(task for samples in read.values() for task in samples))
    known = nameless(tasks) if benchmark is None else tasks_of(benchmark, tasks)
    compared = rows(read, references_of(tasks))
    if not paper:
        asked = Options(asked.k, min(asked.k_max, compared.n))
    with _clusterer(chosen, endpoint, cache) as clusterer:
        wanted = {task: known[task] for task in compared.tasks}
        found = labels(clusterer, wanted, compared.every, progress)
        groups = benchmark.cluster if benchmark else {task: task for task in tasks}
        return compare(compared, found, clusterer.name, groups, asked, seed)


@contextmanager
def _clusterer(way: Way, endpoint: Endpoint | None, cache: Path) -> Iterator[Clusterer]:
    if way == "tree":
        yield CanonicalTree()
    elif way == "judge":
        if endpoint is None:
            raise TaskError("clusters by a judge: expected its URL and model")
        yield Judge(endpoint, cache / "judge")
    else:
        with Sandbox(tier="strongest") as sandbox:
            yield Offline(sandbox, way)
