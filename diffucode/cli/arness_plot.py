"""Orders of decoding as pictures: curves over k, step by position, the first step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from diffucode.measure.first_step import FirstStep
    from diffucode.measure.orders import Agreement, Kind, Orders

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8a4fa0",
)  # fmt: skip
FAINT = "#777777"


def draw(found: Sequence[Orders], profiles: Sequence[FirstStep], folder: Path) -> list[Path]:
    """Write ``arness.png``, ``heat_maps.png`` and, with profiles, ``first_step.png``; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"arness.png": _curves(found), "heat_maps.png": _heat_maps(found)}
    if profiles:
        pictures["first_step.png"] = _profiles([one.name for one in found], profiles)
    for name, figure in pictures.items():
        FigureCanvasAgg(figure)
        figure.savefig(folder / name)
    return [folder / name for name in pictures]


def _curves(found: Sequence[Orders]) -> Figure:
    figure = Figure(figsize=(15.0, 4.2), dpi=110, layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=(3, 3, 2, 2.6))
    kinds: tuple[Kind, ...] = ("local", "local as a set", "global")
    titles = ("Local AR-ness@k, in order", "Local AR-ness@k, as a set", "Global AR-ness@k")
    for axes, kind, title in zip(panels, kinds, titles, strict=False):
        for number, one in enumerate(found):
            points = one.parts["answer"].curve(kind)
            k = [point.k for point in points]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(k, [p.sorted.value for p in points], "o-", color=colour, markersize=4,
                      linewidth=1.6, label=one.name)  # fmt: skip
            axes.fill_between(k, [p.sorted.low for p in points], [p.sorted.high for p in points],
                              color=colour, alpha=0.15, linewidth=0)  # fmt: skip
            axes.plot(k, [p.random for p in points], ":", color=colour, linewidth=1.2)
        axes.set_ylim(0, 1.03)
        axes.set_xticks(k)
        _finish(axes, title, "k")
    _agreement(panels[-1], found)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=4, fontsize=8, frameon=False)  # fmt: skip
    figure.suptitle(
        "Answers up to their first terminator; bands and bars: 95 % over prompts; dotted: random orders",
        fontsize=10,
    )
    return figure


def _agreement(axes: Axes, found: Sequence[Orders]) -> None:
    for number, one in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        tau: Agreement = one.agreement["tau"]
        for shift, estimate, filled in ((-0.12, tau.within, colour), (0.12, tau.between, "white")):
            if estimate is None:
                continue
            x = number + shift
            axes.plot([x, x], [estimate.low, estimate.high], color=colour, linewidth=1.6)
            axes.plot(
                [x], [estimate.value], "o", color=colour, markerfacecolor=filled, markersize=5
            )
    axes.axhline(0, color=FAINT, linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.6, len(found) - 0.4)
    axes.set_xticks([])
    _finish(axes, "Kendall's tau of two samples' orders", "full: same prompt; open: other prompt")


def _heat_maps(found: Sequence[Orders]) -> Figure:
    figure = Figure(figsize=(1.2 + 4.6 * len(found), 4.6), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    maps = [one.parts["canvas"].heat_SL for one in found]
    least = min(float(heat[heat > 0].min()) for heat in maps)
    norm = LogNorm(min(least, 0.5), 1.0)  # many positions are written in one of many steps
    for axes, one, heat_SL in zip(panels, found, maps, strict=True):
        shown = axes.imshow(np.where(heat_SL > 0, heat_SL, np.nan), norm=norm, cmap="viridis",
                            origin="lower", aspect="auto", interpolation="nearest")  # fmt: skip
        axes.set_title(one.name, fontsize=10)
        axes.set_xlabel("position behind the prompt", fontsize=9)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("step", fontsize=9)
    figure.colorbar(shown, ax=list(panels), label="share of samples", shrink=0.9)
    figure.suptitle("When each position was written", fontsize=10)
    return figure


def _profiles(names: Sequence[str], profiles: Sequence[FirstStep]) -> Figure:
    figure = Figure(figsize=(10.0, 3.8), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2)
    titles = ("Largest probability", "Entropy, nats")
    for axes, title, column in zip(panels, titles, (0, 1), strict=True):
        for number, profile in enumerate(profiles):
            value_PN = profile[column]
            low_N, middle_N, high_N = np.quantile(value_PN, (0.1, 0.5, 0.9), axis=0)
            colour, x = COLOURS[number % len(COLOURS)], np.arange(value_PN.shape[1])
            axes.plot(x, value_PN.mean(0), color=colour, linewidth=1.8, label=names[number])
            axes.plot(x, middle_N, "--", color=colour, linewidth=1)
            axes.fill_between(x, low_N, high_N, color=colour, alpha=0.12, linewidth=0)
        axes.set_ylim(bottom=0)
        _finish(axes, title, "position behind the prompt")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=4, fontsize=8, frameon=False)  # fmt: skip
    figure.suptitle(
        "Before any token is written; line: mean, dashed: median, band: 10 to 90 % of prompts",
        fontsize=10,
    )
    return figure


def _finish(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
