"""``diffucode score``: how many of the samples are right."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diffucode.cli.samples import Data, First
from diffucode.errors import TaskError

if TYPE_CHECKING:
    from rich.table import Table

    from diffucode.measure.scored import Scored
    from diffucode.measure.verdict import Verdict
    from diffucode.metrics.passk import Estimate

SHOWN = 20
"""Disagreements in the table; all of them are in the JSON."""

Samples = Annotated[
    Path, typer.Argument(help="samples.jsonl: task_id and solution a line; or EvalPlus' folder.")
]
Dataset = Annotated[
    str | None,
    typer.Option(help="humaneval, mbpp, minicode[:SPLIT[:SEED]] or a file. (what run.json says)"),
]
Scorer = Annotated[
    Literal["strict", "evalplus", "both"],
    typer.Option(help="Our sandbox by EvalPlus' rules, EvalPlus' own evaluator, or both."),
]
Ks = Annotated[
    list[int] | None, typer.Option("-k", min=1, help="k of pass@k; repeatable. (1, and all)")
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Score what lacks tasks, or samples of some.")
]
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe", help="Let EvalPlus' evaluator run where nothing isolates it."),
]
Cache = Annotated[Path | None, typer.Option(help="Where reference answers are kept. (~/.cache)")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def score(
    samples: Samples,
    dataset: Dataset = None,
    data: Data = None,
    first: First = None,
    scorer: Scorer = "strict",
    k: Ks = None,
    partial: Partial = False,
    unsafe: Unsafe = False,
    cache: Cache = None,
    seed: Annotated[int, typer.Option(help="Of the resampled intervals.")] = 0,
    json: Json = False,
) -> None:
    """Run the samples on a benchmark's tests: pass@k, base and plus, with intervals over tasks."""
    from diffucode.measure.benchmarks import benchmark, cache_folder
    from diffucode.measure.scored import scored
    from diffucode.measure.submission import asked_of
    from diffucode.progress import Bars

    recorded = asked_of(samples)
    name = dataset or recorded.get("dataset")
    if name is None:
        raise TaskError(
            f"{samples}: no run.json beside it says of what; name the benchmark: --dataset"
        )
    many = first if first is not None or dataset is not None else recorded.get("first")
    kept = cache or cache_folder()
    with Bars(watched=True) as bars:
        asked = benchmark(name, first=many, data=data, cache=kept, progress=bars)
        found = scored(
            samples,
            asked,
            scorer=scorer,
            ks=k,
            partial=partial,
            cache=kept,
            seed=seed,
            allow_unsafe=unsafe,
            progress=bars,
        )
    if json:
        typer.echo(jsonlib.dumps(found.to_json()))
        return

    from rich.console import Console

    console = Console()
    for table in _tables(found):
        console.print(table)


def _tables(found: Scored) -> list[Table]:
    from rich.table import Table

    head = found.benchmark
    ks = sorted(
        {k for halves in found.figures.values() for one in halves.values() for k in one.passed}
    )
    shown = Table(
        title=f"{head['dataset']} ({head['version']}): {found.tasks} of {head['tasks']} tasks"
    )
    shown.add_column("scorer")
    shown.add_column("tests")
    for k in ks:
        shown.add_column(f"pass@{k}, %", justify="right")
    shown.add_column("solved", justify="right")
    shown.add_column("no verdict", justify="right")
    shown.add_column("seconds", justify="right")
    for scorer, halves in found.figures.items():
        for half, one in halves.items():
            cells = [_cell(one.passed[k]) for k in ks]
            took = f"{found.seconds[scorer]:.0f}" if half == "base" else ""
            shown.add_row(scorer, half, *cells, str(one.solved), str(one.unknown), took)
    if not found.apart:
        return [shown]
    apart = Table(title=f"{len(found.apart)} samples that the scorers judge differently")
    for column in ("task", "sample", "strict", "evalplus"):
        apart.add_column(column)
    for ours, theirs in found.apart[:SHOWN]:
        apart.add_row(ours.task, str(ours.sample), _said(ours), _said(theirs))
    return [shown, apart]


def _cell(one: Estimate | None) -> str:
    if one is None:
        return "-"
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _said(one: Verdict) -> str:
    passed = "passes" if one.plus else "base only" if one.base else "fails"
    return f"{passed} ({one.why})" if one.why else passed
