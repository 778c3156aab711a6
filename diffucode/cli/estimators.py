"""``diffucode estimators``: which likelihood estimator to train a diffusion model with."""

from __future__ import annotations

import json as jsonlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffucode.cli.inputs import prompts_of
from diffucode.cli.options import Json, PromptsFile
from diffucode.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from rich.table import Table

    from diffucode.generate.prompted import Prompt
    from diffucode.metrics.passk import Estimate
    from diffucode.rl.compare import Comparison, Row

PROBLEMS = 24

Model = Annotated[str, typer.Option(help="A diffusion model: bundled name, folder, or hub id.")]
Problems = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--problems",
        min=1,
        help=f"Problems of minicode's dev split, instead of --prompts. ({PROBLEMS})",
    ),
]
Draws = Annotated[int, typer.Option(min=2, help="Plans of each completion.")]
GradientDraws = Annotated[
    int,
    typer.Option(min=0, help="Plans of the batch for its gradient, 3 or more; 0: no gradients."),
]
Seed = Annotated[int, typer.Option(help="Of problems, completions, plans and resampling.")]
Plot = Annotated[Path | None, typer.Option(help="Draw the costs into this PNG file.")]


def estimators(
    model: Model = "mini",
    prompts: PromptsFile = None,
    problems: Problems = None,
    draws: Draws = 32,
    gradient_draws: GradientDraws = 8,
    seed: Seed = 0,
    json: Json = False,
    plot: Plot = None,
) -> None:
    """Compare likelihood estimators: bias, variance, and the noise and direction of the gradient.

    One completion of each prompt is drawn at temperature 1, then scored under many plans of each
    estimator. docs/estimators.md says what the figures mean.
    """
    if prompts is not None and problems is not None:
        raise PromptError("--prompts and -n: expected one source of prompts, not both")
    if plot is not None:
        _check_plot(plot)
    named = None if prompts is None else prompts_of(None, None, prompts)

    from diffucode.generate.model import open_model
    from diffucode.generate.settings import GenerateConfig
    from diffucode.progress import Bars
    from diffucode.rl.compare import Settings, compare, sample

    settings = Settings(draws, gradient_draws, seed)
    loaded, _ = open_model(GenerateConfig(model=model))
    with Bars(watched=True) as bars:
        bars("completions", 0, 1)
        asked = _dev(problems or PROBLEMS, seed) if named is None else named
        traces = sample(loaded, asked, settings)
        bars("completions", 1, 1)
        found = compare(loaded.denoiser, traces, settings, progress=bars)
    if json:
        typer.echo(jsonlib.dumps({"model": loaded.name} | found.to_json()))
    else:
        show(loaded.name, found)
    if plot is not None:
        from diffucode.cli.estimators_plot import draw

        draw(loaded.name, found, plot)


def _dev(count: int, seed: int) -> list[Prompt]:
    from diffucode.generate.prompted import Prompt
    from diffucode.tasks import minicode

    return [Prompt(one.id, one.prompt) for one in minicode.problems("dev", seed, count)]


def _check_plot(path: Path) -> None:
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: expected a .png file in a folder that exists")


# --- the table ---------------------------------------------------------------------------------


def show(name: str, found: Comparison) -> None:
    """The counts and the table, on stdout: markdown that no width cuts where it is no terminal."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 400, highlight=False, markup=False, emoji=False)
    settings = found.settings
    typer.echo(
        f"`{name}`: {found.completions} completions of {found.prompts} prompts at temperature "
        f"{settings.temperature:g}, {found.tokens} scored positions; {settings.draws} plans of each, "
        f"{settings.gradient_draws} of the batch for its gradient; seed {settings.seed}. "
        f"ELBO {number(found.elbo)} nats a completion, from {found.reference_passes} passes each.\n"
    )
    with console.capture() as drawn:
        console.print(table(found, markdown=not terminal))
    typer.echo(drawn.get().strip(" \n") if not terminal else drawn.get())


def table(found: Comparison, *, markdown: bool) -> Table:
    """A row for each estimator."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    shown.add_column("estimator", no_wrap=True)
    for title in (
        "passes",
        "estimate",
        "minus ELBO",
        "variance",
        "variance x passes",
        "sd a token",
    ):
        shown.add_column(title, justify="right")
    if found.settings.gradient_draws:
        shown.add_column("gradient noise", justify="right")
        shown.add_column("noise x passes", justify="right")
        shown.add_column("cosine with ELBO's", justify="right")
    shown.add_column("expects")
    for row in found.rows:
        shown.add_row(*_cells(row))
    return shown


def _cells(row: Row) -> list[str]:
    moving = [row.variance, row.cost, row.per_token]
    moving += [one for one in (row.noise, row.noise_cost) if one is not None]
    return [
        row.name,
        f"{row.passes:.2f}".rstrip("0").rstrip("."),
        number(row.value),
        number(row.bias) + (" *" if row.biased else ""),
        *("0" if row.fixed else number(one) for one in moving),
        *([] if row.cosine is None else [number(row.cosine)]),
        row.expects,
    ]


def number(estimate: Estimate | None) -> str:
    """Three figures, with the interval where there is one that is not a point; ``-`` for none."""
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    value, low, high = estimate[:3]
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return _three(value)
    return f"{_three(value)} [{_three(low)}, {_three(high)}]"


def _three(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
