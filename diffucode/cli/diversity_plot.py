"""Diversity as a picture: algorithms over samples, over correct programs, and task by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffucode.cli.arness_plot import COLOURS, FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from diffucode.measure.diversity.comparison import Comparison
    from diffucode.measure.diversity.means import Curve


def draw(found: Comparison, path: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(14.0, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    colours = {one.row: COLOURS[n % len(COLOURS)] for n, one in enumerate(found.eda)}
    _curves(panels[0], found.eda, colours)
    panels[0].set_ylim(bottom=0)
    _finish(panels[0], f"eDA@K: algorithms in K samples, all {found.tasks} tasks", "K")
    common = f"{len(found.common)} common tasks"
    if found.common:
        _curves(panels[1], found.da, colours)
        _tasks(panels[2], found, colours)
    else:
        for axes in panels[1:]:
            axes.text(0.5, 0.5, f"no task with {found.options.k}\ncorrect programs in every file",
                      ha="center", va="center", color=FAINT, transform=axes.transAxes)  # fmt: skip
    _finish(panels[1], f"DA@K: algorithms in K correct programs, {common}", "K")
    _finish(panels[2], f"EA of each of the {common}, the most diverse first", "task")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(
        f"Algorithms told apart by {found.clusterer}; bands: 95 % over tasks", fontsize=10
    )
    figure.savefig(path)


def _curves(axes: Axes, curves: Sequence[Curve], colours: dict[str, str]) -> None:
    for one in curves:
        k = range(1, len(one.points) + 1)
        colour = colours[one.row]
        axes.plot(k, [p.value for p in one.points], "o-", color=colour, markersize=3,
                  linewidth=1.6, label=one.row)  # fmt: skip
        axes.fill_between(k, [p.low for p in one.points], [p.high for p in one.points],
                          color=colour, alpha=0.13, linewidth=0)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _tasks(axes: Axes, found: Comparison, colours: dict[str, str]) -> None:
    """Bars beside each other, each row's tasks in its own order."""
    many = len(found.effective)
    width = 0.8 / many
    for number, (row, values) in enumerate(found.effective.items()):
        x = np.arange(1, len(values) + 1) + (number - (many - 1) / 2) * width
        axes.bar(x, np.array(values) - 1, width, bottom=1, color=colours[row])
    axes.axhline(1, color=FAINT, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _finish(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
