"""``diffucode diversity``: how many different algorithms samples hold."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diffucode.cli.options import Json
from diffucode.cli.samples import Data, First
from diffucode.cli.score import Cache, Dataset
from diffucode.errors import ConfigError, TaskError

if TYPE_CHECKING:
    from diffucode.measure.benchmarks import Benchmark
    from diffucode.measure.diversity.comparison import Comparison
    from diffucode.measure.diversity.job import Way
    from diffucode.measure.diversity.means import Mean, Table

Files = Annotated[
    list[Path], typer.Argument(metavar="SAMPLES.jsonl...", help="Files that were scored.")
]
Results = Annotated[
    list[Path] | None,
    typer.Option(help="Verdicts of a file, in the files' order; repeatable. (beside each file)"),
]
Tests = Annotated[Literal["base", "plus"], typer.Option(help="What a correct program has to pass.")]
Clusters = Annotated[
    Literal["idea", "form", "tree"] | None,
    typer.Option(
        help="What another algorithm is: another idea, another form of code (both by running it), or any "
        "other syntax tree. (form for minicode, else idea)"
    ),
]
JudgeUrl = Annotated[
    str | None,
    typer.Option(
        "--judge", metavar="URL", help="Let a language model tell: an OpenAI-compatible server."
    ),
]
JudgeModel = Annotated[str | None, typer.Option(metavar="NAME", help="Its model.")]
K = Annotated[int, typer.Option("-k", min=2, help="Correct programs of a task that are compared.")]
Paper = Annotated[
    bool, typer.Option("--paper-nauadc", help="NAUADC over K = 1..25, flat beyond the programs.")
]
Seed = Annotated[int, typer.Option(help="Of the resampled intervals.")]
Plot = Annotated[Path | None, typer.Option(help="Draw curves and tasks into this PNG file.")]


def diversity(
    files: Files,
    results: Results = None,
    dataset: Dataset = None,
    data: Data = None,
    first: First = None,
    tests: Tests = "plus",
    clusters: Clusters = None,
    judge: JudgeUrl = None,
    judge_model: JudgeModel = None,
    k: K = 5,
    paper_nauadc: Paper = False,
    cache: Cache = None,
    seed: Seed = 0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Count the different algorithms among the correct samples, and compare files of samples.

    On all tasks (eDA@K), on those that a file solves, and on those that all files solve K times.
    docs/diversity.md says what the figures mean. A key for the judge is read from OPENAI_API_KEY.
    """
    if results and len(results) != len(files):
        raise ConfigError(
            f"--results: {len(results)} for {len(files)} files of samples; expected one for each"
        )
    if (judge is None) != (judge_model is None) or (judge and clusters):
        raise ConfigError("--judge: expected --judge-model beside it, and no --clusters")
    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise ConfigError(f"--plot {plot}: expected a .png file in a folder that exists")

    from diffucode.measure.benchmarks import cache_folder
    from diffucode.measure.clustering.judge import Endpoint
    from diffucode.measure.diversity.figures import Options
    from diffucode.measure.diversity.job import File
    from diffucode.measure.diversity.job import diversity as compared
    from diffucode.progress import Bars

    kept = cache or cache_folder()
    way: Way | None = "judge" if judge else clusters
    endpoint = None
    if judge and judge_model:
        endpoint = Endpoint(judge, judge_model, os.environ.get("OPENAI_API_KEY", ""))
    given: Sequence[Path | None] = results or [None] * len(files)
    named = {
        name: File(file, verdicts)
        for name, file, verdicts in zip(names(files), files, given, strict=True)
    }
    with Bars(watched=True) as bars:
        asked = _benchmark(files, dataset, first, data, kept)
        found = compared(
            named,
            asked,
            way=way,
            endpoint=endpoint,
            half=tests,
            options=Options(k),
            paper=paper_nauadc,
            cache=kept,
            seed=seed,
            progress=bars,
        )
    if json:
        typer.echo(jsonlib.dumps(found.to_json()))
    else:
        show(found)
    if plot is not None:
        from diffucode.cli.diversity_plot import draw

        draw(found, plot)


def names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: their names, else those of their folders, else their paths."""
    for some in ([f.name for f in files], [f.resolve().parent.name for f in files]):
        if len(set(some)) == len(some):
            return some
    paths = list(map(str, files))
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{', '.join(paths)}: the same file twice")
    return paths


def _benchmark(
    files: Sequence[Path], dataset: str | None, first: int | None, data: Path | None, cache: Path
) -> Benchmark | None:
    """What the runs' own records say, where nothing is given."""
    from diffucode.measure.benchmarks import benchmark
    from diffucode.measure.submission import asked_of

    if dataset is not None:
        return benchmark(dataset, first=first, data=data, cache=cache)
    recorded = [asked_of(file) for file in files]
    every = {one.get("dataset") for one in recorded}
    if len(every) > 1:
        raise TaskError(
            f"{', '.join(map(str, files))}: samples of {' and '.join(sorted(map(str, every)))}; give "
            "files of one benchmark, or its name: --dataset"
        )
    name = every.pop()
    if name is None:
        return None
    return benchmark(name, first=first or max(r["first"] for r in recorded), data=data, cache=cache)


# --- tables --------------------------------------------------------------------------------------


def show(found: Comparison) -> None:
    """What the figures rest on, and a table for each set of tasks."""
    from diffucode.cli.table import print_table

    k, n, every = found.options.k, found.n, found.tasks
    typer.echo(
        f"Algorithms told apart by {found.clusterer}; {n} samples of each of {every} tasks"
        + (f" ({found.left_out} that not all files have are left out)" if found.left_out else "")
        + ". Brackets: 95 % over tasks; (n): the tasks that define a figure, where not all do.\n"
    )
    rows = list(found.counts)
    print_table(
        ("", *rows),
        [
            [title, *(str(getattr(found.counts[row], name)) for row in rows)]
            for title, name in (
                ("solved tasks", "solved"),
                ("correct programs", "correct"),
                ("without a label", "abstained"),
                ("samples without a verdict", "unjudged"),
            )
        ],
    )
    _table(f"All {every} tasks, unsolved ones count 0", found.all, every)
    clamped = "; ".join(f"{r} {found.counts[r].clamped}" for r in rows if _in(found.own, r))
    _table(
        "The tasks that each file solves, which are not the same; NAUADC is too low on those with fewer "
        f"than {found.options.k_max} correct programs ({clamped})",
        found.own,
        None,
    )
    common = len(found.common)
    if not common:
        typer.echo(f"\nNo task with {k} correct programs in every file: nothing to compare.")
        return
    _table(f"The {common} tasks with {k} correct programs in every file", found.shared, common)
    if any(found.references.values()):
        _table("The reference solutions of these tasks, each once", found.references, common)
    if any(found.minus_first.values()):
        _table(
            f"Less {rows[0]}, task by task; eDA on all tasks, the rest on those {common}",
            found.minus_first,
            None,
        )


def _in(table: Table, row: str) -> bool:
    return any(row in means for means in table.values())


def _table(title: str, table: Table, tasks: int | None) -> None:
    from diffucode.cli.table import print_table

    typer.echo(f"\n{title}:\n")
    rows = list(next(iter(table.values())))
    print_table(("", *rows), [[name, *_cells(means, tasks)] for name, means in table.items()])


def _cells(means: Mapping[str, Mean], tasks: int | None) -> list[str]:
    from diffucode.cli.table import figure

    shown = []
    for mean in means.values():
        n = mean.estimate.n if mean.estimate else 0
        partly = n and (mean.undefined or (tasks is not None and n < tasks))
        shown.append(figure(mean.estimate) + (f" ({n})" if partly else ""))
    return shown
