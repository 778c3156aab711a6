"""The temperature study as pictures: quality over T, equal cost, quality and diversity, order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffucode.measure.sweep.figures import Values
from diffucode.metrics.passk import Estimate
from diffucode.studies.plot import COLOURS, plain
from diffucode.studies.temperature.figures import Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {"token": "-", "order": ":", "both": "--"}


def draw(found: Sequence[Found], path: Path) -> None:
    """Write the picture (PNG)."""
    figure = Figure(figsize=(13.5, 9.0), dpi=110)
    FigureCanvasAgg(figure)
    (quality, cost), (diversity, order) = figure.subplots(2, 2)
    k = found[0].best.k
    quality.set_title(f"pass@1 (dashed) and pass@{k} over token T; bars: 95 %", fontsize=9)
    cost.set_title("mixture minus single best temperature, at equal total cost", fontsize=9)
    diversity.set_title(f"pass@1 and eDA@{k}; joined over token T, a line an order T", fontsize=9)
    order.set_title("local AR-ness@1 over token T, a line an order T", fontsize=9)
    for n, one in enumerate(found):
        colour = COLOURS[n % len(COLOURS)]
        _quality(quality, one, colour)
        _cost(cost, one, colour)
        for cells in _by_order(one.cells):
            _diversity(diversity, one, cells, colour)
            _order(order, one, cells, colour)
    cost.axhline(0, color="#777777", linewidth=0.8)
    cost.set_xscale("log", base=2)
    for axes, across, up in (
        (quality, "token temperature", "%"),
        (cost, "samples of the single best temperature", "points"),
        (diversity, "pass@1, %", f"eDA@{k}"),
        (order, "token temperature", "%"),
    ):
        plain(axes, across)
        axes.set_ylabel(up, fontsize=8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def _quality(axes: Axes, one: Found, colour: str) -> None:
    cells = one.axis("token") or [one.best]
    at = [cell.drawn.cell.temperature for cell in cells]
    for measure, style in (("pass_1", "--"), ("pass_k", "-")):
        known = [cell.estimate(measure, one.seed) for cell in cells]
        label = one.model if measure == "pass_k" else None
        _bars(axes, at, known, colour, style, label)


def _cost(axes: Axes, one: Found, colour: str) -> None:
    for axis, style in LINES.items():
        budgets = one.budgets(axis)  # type: ignore[arg-type]
        if budgets:
            known = [budget.difference for budget in budgets]
            label = f"{one.model}, {axis}"
            _bars(axes, [budget.k for budget in budgets], known, colour, style, label)


def _diversity(axes: Axes, one: Found, cells: Sequence[Values], colour: str) -> None:
    x = [100 * cell.mean("pass_1") for cell in cells]
    y = [cell.mean("eda_k") for cell in cells]
    order = cells[0].drawn.cell.order_temperature
    label = one.model if not order else None
    axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1, alpha=_fade(order), label=label)
    axes.annotate(
        f"T {cells[-1].drawn.cell.temperature:g}", (x[-1], y[-1]), fontsize=7, color=colour
    )


def _order(axes: Axes, one: Found, cells: Sequence[Values], colour: str) -> None:
    cell = cells[0].drawn.cell
    if cell.decoder == "diffusion":
        x = [one.drawn.cell.temperature for one in cells]
        y = [100 * one.mean("local") for one in cells]
        fade = _fade(cell.order_temperature)
        label = f"{one.model}, order T {cell.order_temperature:g}"
        axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1.4, alpha=fade, label=label)


def _bars(
    axes: Axes,
    x: Sequence[float],
    known: Sequence[Estimate | None],
    colour: str,
    style: str,
    label: str | None,
) -> None:
    there = [(at, one) for at, one in zip(x, known, strict=True) if one is not None]
    y = [100 * one.value for _, one in there]
    reach = [
        [100 * (one.value - one.low) for _, one in there],
        [100 * (one.high - one.value) for _, one in there],
    ]
    axes.errorbar(
        [at for at, _ in there],
        y,
        yerr=reach,
        fmt="o",
        linestyle=style,
        color=colour,
        markersize=4,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
        label=label,
    )


def _by_order(cells: Sequence[Values]) -> list[list[Values]]:
    found: dict[float | None, list[Values]] = {}
    for one in cells:
        found.setdefault(one.drawn.cell.order_temperature, []).append(one)
    return list(found.values())


def _fade(order: float | None) -> float:
    """The hotter the order, the paler the line."""
    return 1 / (1 + (order or 0.0))
