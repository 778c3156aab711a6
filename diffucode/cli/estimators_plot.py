"""The costs of estimators as a picture: a dot and its interval for each, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from diffucode.metrics.passk import Estimate
    from diffucode.rl.compare import Comparison, Row

PLAIN, BIASED, FAINT = "#1f5fa8", "#c8641b", "#777777"


def draw(name: str, found: Comparison, path: Path) -> None:
    """Write the picture of a comparison: costs relative to ``count``, and where there are gradients, the
    direction of theirs."""
    rows, gradients = found.rows, found.settings.gradient_draws > 0
    panels = 3 if gradients else 1
    figure = Figure(figsize=(2.6 + 4.2 * panels, 1.5 + 0.34 * len(rows)), dpi=110)
    FigureCanvasAgg(figure)
    every = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    _costs(every[0], "Variance of the estimate x passes", rows, [row.cost for row in rows])
    if gradients:
        noise = [row.noise_cost for row in rows if row.noise_cost is not None]
        _costs(every[1], "Noise of the policy gradient x passes", rows, noise)
        _cosines(every[2], rows, [row.cosine for row in rows if row.cosine is not None])
    every[0].set_yticks(range(len(rows)), [_label(row) for row in rows])
    every[0].set_ylim(len(rows) - 0.4, -0.6)
    direction = "; direction: 1 is ELBO's" if gradients else ""
    figure.suptitle(
        f"{name}: what an estimate costs (count = 1, less is better){direction}", fontsize=11
    )
    figure.supxlabel(
        "orange: its expectation is not ELBO, beyond the interval; blue: no bias seen; bars: 95 %",
        fontsize=8,
        color=FAINT,
    )
    figure.tight_layout()
    figure.savefig(path)


def _label(row: Row) -> str:
    return f"{row.name}  ({row.passes:.3g} {'pass' if row.passes == 1 else 'passes'})"


def _costs(axes: Axes, title: str, rows: Sequence[Row], costs: Sequence[Estimate]) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xscale("log")
    low, high = _limits(costs)
    axes.set_xlim(low, high)
    for y, (row, cost) in enumerate(zip(rows, costs, strict=True)):
        if row.fixed or not math.isfinite(cost.value):
            _note(
                axes, row, y, "0: one plan, no noise" if row.fixed else "no signal in these draws"
            )
        else:
            _dot(axes, row, y, cost)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < 1000 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    _finish(axes)


def _cosines(axes: Axes, rows: Sequence[Row], cosines: Sequence[Estimate]) -> None:
    axes.set_title("Cosine of its mean gradient with ELBO's", fontsize=10)
    axes.set_xlim(-0.25, 1.5)
    for y, (row, cosine) in enumerate(zip(rows, cosines, strict=True)):
        if math.isfinite(cosine.value):
            _dot(axes, row, y, cosine)
        else:
            _note(axes, row, y, "no signal in these draws")
    _finish(axes)


def _dot(axes: Axes, row: Row, y: int, estimate: Estimate) -> None:
    colour = BIASED if row.biased else PLAIN
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.6)
    axes.plot([estimate.value], [y], "o", color=colour, markersize=5)


def _note(axes: Axes, row: Row, y: int, text: str) -> None:
    axes.annotate(
        text, (0.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8,
        color=BIASED if row.biased else PLAIN,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def _finish(axes: Axes) -> None:
    axes.axvline(1, color=FAINT, linewidth=0.8, linestyle="--")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _limits(costs: Sequence[Estimate]) -> tuple[float, float]:
    """Around all values, and their bounds as far as a factor of 30 from the outermost value."""
    value = [cost.value for cost in costs if math.isfinite(cost.value) and cost.value > 0] or [1.0]
    least, most = min(*value, 1.0), max(*value, 1.0)
    ends = [x for cost in costs for x in cost[1:3] if least / 30 < x < most * 30]
    return 0.7 * min([least, *ends]), 1.4 * max([most, *ends])
