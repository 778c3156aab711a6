"""``diffucode sweep``: models over token and order temperatures, to one page."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffucode.cli.options import ConfigFile

if TYPE_CHECKING:
    from diffucode.metrics.outcomes import Figures

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides of the plan, as in problems=20."),
]
Out = Annotated[Path, typer.Option(help="Folder of the samples, report.json and report.html.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model; repeatable. (the plan's)")
]
Temperatures = Annotated[
    list[float] | None, typer.Option("--temperature", help="A token temperature; repeatable.")
]
Orders = Annotated[
    list[float] | None,
    typer.Option("--order-temperature", help="An order temperature; repeatable."),
]
Samples = Annotated[
    int | None, typer.Option("-n", "--samples", help="Samples of each problem in each cell.")
]
Cache = Annotated[
    Path | None,
    typer.Option("--problems-folder", help="Keeps problems and tests. (the folder of --out)"),
]
ReportOnly = Annotated[bool, typer.Option("--report", help="Draw nothing; report what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def sweep(
    overrides: Overrides = None,
    out: Out = Path("runs/sweep"),
    config: ConfigFile = None,
    model: Models = None,
    temperature: Temperatures = None,
    order_temperature: Orders = None,
    samples: Samples = None,
    problems_folder: Cache = None,
    report: ReportOnly = False,
    json: Json = False,
) -> None:
    """Sample models over a grid of temperatures and report quality, diversity, order and cost.

    Samples are kept as they come: a sweep that was stopped goes on, more samples or problems extend it,
    and several calls with the same --out share the work. A call draws on one core.
    """
    from diffucode import config as configs
    from diffucode.measure.sweep.grid import Grid
    from diffucode.measure.sweep.plan import Sweep

    given: dict[str, Any] = {
        "models": model,
        "temperatures": temperature,
        "order_temperatures": order_temperature,
        "samples": samples,
    }
    flags = [f"{name}={jsonlib.dumps(value)}" for name, value in given.items() if value]
    plan = configs.load(Sweep, config, [*(overrides or []), *flags])

    from diffucode.progress import Bars

    with Bars(watched=True) as bars:
        grid = Grid(plan, out, problems_folder or out, bars)
        if not report:
            _draw(grid)
    found = _written(grid)
    if json:
        typer.echo(jsonlib.dumps(found))
    else:
        _show(found)
        typer.echo(f"\n{out / 'report.html'}")


def _draw(grid: Any) -> None:
    import torch

    from diffucode.execution.sandbox import Sandbox

    torch.set_num_threads(1)
    with Sandbox(tier="strongest") as sandbox:
        for drawn in grid.run(sandbox):
            typer.echo(f"diffucode: {drawn.cell.name}: {len(drawn.problems)} problems", err=True)


def _written(grid: Any) -> Figures:
    """The report, in the folder."""
    from diffucode.files import write_atomic
    from diffucode.measure.sweep.page import render
    from diffucode.measure.sweep.report import report

    found = report(grid)
    write_atomic(grid.folder / "report.json", jsonlib.dumps(found, indent=1) + "\n")
    write_atomic(grid.folder / "report.html", render(found))
    return found


TOLD = ("pass_1", "pass_k", "eda_k", "ea", "distinct", "valid", "local", "positions")


def _show(found: Figures) -> None:
    """The main measures of the cells, without intervals: all is in the page."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from diffucode.measure.sweep.figures import SHARES
    from diffucode.measure.sweep.page import named, shown

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else box.MARKDOWN)
    table.add_column("cell")
    for measure in TOLD:
        unit = ", %" if measure in SHARES else ""
        table.add_column(named(measure, found["sweep"]["k"]) + unit, justify="right")
    for cell in found["cells"]:
        values = (shown(measure, cell[measure]).partition(" ")[0] for measure in TOLD)
        table.add_row(cell["name"], *values)
    Console(width=None if terminal else 400, highlight=False, markup=False, emoji=False).print(
        table
    )
