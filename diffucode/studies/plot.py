"""A study as a picture: what each arm gained over its base, and how it got there by both axes of cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffucode.studies.figures import Found, passed
from diffucode.studies.plan import Arm, Voting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "#1f5fa8", "#c8641b", "#3a8f3a", "#8a4fa0", "#b03048", "#6b5b3e", "#2a9d9d", "#777777", "#b8860b",
)  # fmt: skip
AXES = {"rollouts": ("rollouts", 1.0), "positions": ("forward positions, millions", 1e6)}


def draw(found: Found, path: Path) -> None:
    """Write the picture (PNG)."""
    arms = [
        arm
        for arm in found.study.arms
        if arm.name in found.rows and arm.base in found.rows and not isinstance(arm.how, Voting)
    ]
    figure = Figure(figsize=(14.0, 1.8 + max(2.6, 0.42 * len(arms))), dpi=110)
    FigureCanvasAgg(figure)
    gains, *curves = figure.subplots(1, 3)
    colour = {arm.name: COLOURS[n % len(COLOURS)] for n, arm in enumerate(found.study.arms)}
    _gains(gains, found, arms, colour)
    for axes, name in zip(curves, AXES, strict=True):
        _curves(axes, found, arms, name, colour)
    figure.tight_layout()
    figure.savefig(path)


def _gains(axes: Axes, found: Found, arms: Sequence[Arm], colour: dict[str, str]) -> None:
    pace = found.study.pace
    axes.set_title(f"pass@1 on test minus the base's, {pace} pace; bars: 95 %", fontsize=9)
    axes.axvline(0, color="#777777", linewidth=0.8, linestyle="--")
    for y, arm in enumerate(arms):
        assert arm.base is not None
        if (one := found.against(arm.name, arm.base, passed(pace))) is None:
            continue
        if math.isfinite(one.low):
            axes.plot(
                [100 * one.low, 100 * one.high], [y, y], color=colour[arm.name], linewidth=1.8
            )
        axes.plot([100 * one.value], [y], "o", color=colour[arm.name], markersize=5)
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    plain(axes, "points")


def _curves(
    axes: Axes, found: Found, arms: Sequence[Arm], name: str, colour: dict[str, str]
) -> None:
    label, scale = AXES[name]
    axes.set_title("pass@1 on dev while training, a line a run", fontsize=9)
    for arm in arms:
        title: str | None = arm.name
        for row in found.rows[arm.name]:
            x = [(point[name] or 0.0) / scale for point in row.curve]
            y = [100 * (point["dev_pass"] or 0.0) for point in row.curve]
            if x:
                axes.plot(x, y, color=colour[arm.name], linewidth=1.0, alpha=0.8, label=title)
                title = None
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    plain(axes, label)


def plain(axes: Axes, label: str) -> None:
    """The look of all pictures."""
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(axis="both", labelsize=8)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
