"""What was asked of the bundled models before they were trained, beside what they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from diffucode.measure.figures import at_pace, percent, plain, usual
from diffucode.measure.shipping import BYTES
from diffucode.metrics.outcomes import Figures


class Target(NamedTuple):
    """One of them."""

    asked: str
    reached: str
    met: bool | None
    """None: not measured."""


def targets(result: Figures) -> list[Target]:
    """Every target that was set for the bundled models, beside the reached figure."""
    named = {model["name"]: model for model in result["models"]}
    mini, matched = named.get("mini", {}), named.get("mini-ar-matched", {})
    return [
        *_solving(mini),
        _best(mini.get("samples", [])),
        *_groups("mini", mini),
        *_groups("mini-ar-matched", matched),
        _forks(mini.get("forks")),
        _cost(mini.get("cost")),
        _bytes(result["bytes"]),
    ]


def _solving(mini: Figures) -> list[Target]:
    half = at_pace(mini, ["quota", mini["canvas"] // 2, mini["pace"][2]]) if mini else None
    paced = usual(mini) if mini else None
    bands = [half["bands"].get(str(band)) for band in range(1, 6)] if half else [None] * 5
    return [
        _size(half),
        _one("pass@1 at L/2 steps 50-70 %", half and half["pass"], lambda p: 0.5 <= p <= 0.7),
        _one("valid Python at L/2 steps >= 95 %", half and half["valid"], lambda p: p >= 0.95),
        _one(
            "the same at the default pace: 50-70 %",
            paced and paced["pass"],
            lambda p: 0.5 <= p <= 0.7,
        ),
        _one("valid at the default pace >= 95 %", paced and paced["valid"], lambda p: p >= 0.95),
        _falling(bands),
        _one("pass@1 of the easiest band > 85 %", bands[0], lambda p: p > 0.85),
        _one("pass@1 of the hardest band 1-20 %", bands[4], lambda p: 0.01 <= p <= 0.2),
    ]


def _size(half: Figures | None) -> Target:
    text = ">= 1,000 problems over >= 700 signatures"
    if half is None:
        return Target(text, "-", None)
    met = half["scored"] >= 1000 and half["signatures"] >= 700
    return Target(text, f"{half['scored']} over {half['signatures']}", met)


def _falling(bands: Sequence[Figures | None]) -> Target:
    text = "pass@1 falls from band to band"
    values = [band["value"] for band in bands if band]
    if len(values) < len(bands):
        return Target(text, "-", None)
    shown = ", ".join(f"{100 * value:.0f}" for value in values)
    return Target(text, shown, all(a > b for a, b in pairwise(values)))


def _best(samples: Sequence[Figures]) -> Target:
    best = max(samples, key=lambda row: row["pass_k"]["value"], default=None)
    text = f"pass@{best['k'] if best else 64}, best single temperature, <= 90 %"
    return _one(text, best and best["pass_k"], lambda p: p <= 0.9)


def _groups(name: str, model: Figures) -> list[Target]:
    group = model.get("groups")
    mixed, distinct = (group["mixed"], group["distinct"]) if group else (None, None)
    return [
        _one(f"{name}: mixed groups >= 40 %", mixed, lambda p: p >= 0.4),
        _one(f"{name}: distinct programs a group >= 4", distinct, lambda d: d >= 4, plain),
    ]


def _forks(forks: Figures | None) -> Target:
    text = "entropy at forks >= 5 x the others' median"
    return _one(text, forks and forks["ratio"], lambda r: r >= 5, plain)


def _cost(cost: Figures | None) -> Target:
    text = "rollout in a group, one commit a step, <= 0.25 core-s"
    if cost is None:
        return Target(text, "-", None)
    return Target(text, f"{cost['seconds']:.3f}", cost["seconds"] <= 0.25)


def _bytes(total: int) -> Target:
    return Target(
        f"all bundled files < {BYTES / 1e6:.0f} MB", f"{total / 1e6:.1f} MB", total < BYTES
    )


def _one(
    text: str,
    estimate: Figures | None,
    meets: Callable[[float], bool],
    shown: Callable[[Figures | None], str] = percent,
) -> Target:
    if estimate is None:
        return Target(text, "-", None)
    return Target(text, shown(estimate), meets(estimate["value"]))
