"""Which figures of a run are drawn together, and what each is called.

A figure that no panel names is drawn on its own, so a run's page shows all that it logged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from diffucode.runpage.charts import Curve, Point

Kind = Literal["lines", "share", "stacked"]


@dataclass(frozen=True)
class Panel:
    title: str
    note: str
    names: Mapping[str, str]
    """Curve by key; a key also stands for itself with a pace behind it (``dev_pass_32``)."""
    kind: Kind = "lines"


@dataclass(frozen=True)
class Drawn:
    """A panel with the curves that this run has."""

    title: str
    note: str
    kind: Kind
    curves: Sequence[Curve]


USUAL = "usual pace"
DEV = "on dev problems at temperature 0"

PANELS = (
    Panel("Reward", "mean over the completions of an update", {"reward": "reward"}),
    Panel(
        "Rollouts",
        "shares of the completions of an update",
        {"pass_rate": "pass all tests", "valid": "valid Python", "unique_programs": "unique programs"},
        "share",
    ),
    Panel(
        "Solved (pass@1)", f"{DEV}, by pace",
        {"dev_pass": USUAL, "dev_passed": USUAL}, "share",
    ),
    Panel("Valid Python", f"{DEV}, by pace", {"dev_valid": USUAL}, "share"),
    Panel(
        "AR-ness", f"{DEV}; 1 is from left to right",
        {"dev_arness_local1": "local@1", "dev_arness_global1": "global@1", "dev_arness_global4": "global@4"},
        "share",
    ),
    Panel("Loss", "", {"loss": "loss", "cross_entropy": "cross-entropy, nats"}),
    Panel(
        "Entropy of rollouts", "nats a token, when it was drawn",
        {"rollout_entropy": "at temperature 1", "tempered_entropy": "at its temperature"},
    ),
    Panel("Entropy in training", "nats a target, under the masks", {"entropy": "entropy"}),
    Panel("Ratio of new to old policy", "mean over targets", {"ratio_mean": "ratio"}),
    Panel(
        "Largest deviation of a ratio from 1", "0 in the first iteration, but for rounding",
        {"ratio_first_deviation": "first iteration", "ratio_last_deviation": "last iteration"},
    ),
    Panel("Clipped", "share of targets", {"clip_fraction": "clipped"}),
    Panel("KL to the reference", "nats a target", {"kl": "KL"}),
    Panel("Gradient norm", "before clipping", {"grad_norm": "norm"}),
    Panel(
        "Groups and completions that teach nothing", "shares",
        {"zero_variance_groups": "groups without variance", "dropped": "dropped completions"}, "share",
    ),
    Panel("Length", "written positions a completion", {"length": "positions"}),
    Panel(
        "Where the time goes", "seconds an update",
        {"seconds_rollout": "rollout", "seconds_reward": "reward", "seconds_update": "update"}, "stacked",
    ),
    Panel(
        "Forward passes", "of an update",
        {"rollout_passes": "rollout", "forward_passes": "update"},
    ),
    Panel("Learning rate", "", {"rate": "rate"}),
)  # fmt: skip
NO_CURVES = {"step", "epoch", "tokens"}


def drawn(rows: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """The panels of a run, with the figures in it that are numbers somewhere."""
    found = columns(rows)
    left = [key for key in found if key not in NO_CURVES]
    panels = []
    for panel in PANELS:
        curves = [
            Curve(_named(name, pace), found[key])
            for own, name in panel.names.items()
            for key, pace in _paces(own, left)
        ]
        left = [key for key in left if not any(_paces(own, [key]) for own in panel.names)]
        if curves:
            panels.append(Drawn(panel.title, panel.note, panel.kind, curves))
    return panels + [Drawn(key, "", "lines", [Curve(key, found[key])]) for key in left]


def _paces(own: str, keys: Sequence[str]) -> list[tuple[str, str | None]]:
    """The keys that are ``own``, at whatever pace, and that pace."""
    matches = [re.fullmatch(rf"{own}(?:_(\d+))?", key) for key in keys]
    return [(match[0], match[1]) for match in matches if match is not None]


def _named(name: str, pace: str | None) -> str:
    if pace is None:
        return name
    return f"{pace} steps" if name == USUAL else f"{name}, {pace} steps"


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """The points of every figure, by step; of several rows about one step the last counts. A value that
    is no number is a gap; a figure without any number is left out."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        step = row.get("step")
        if is_number(step):
            for key, value in row.items():
                found.setdefault(key, {})[step] = value if is_number(value) else math.nan
    return {
        key: [Point(step, by_step[step]) for step in sorted(by_step)]
        for key, by_step in found.items()
        if any(map(math.isfinite, by_step.values()))
    }


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
