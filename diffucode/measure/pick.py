"""Which checkpoints are shipped beside the finished models: chosen on the dev split, by rules set before.

    mini-ar-matched     the earliest kept checkpoint of mini-ar within 2 points of mini's dev pass@1
    mini-45, mini-25    the kept checkpoints of mini's first leg nearest to 45 % and to 25 %

Training has scored every kept checkpoint on a few problems; those that come near by that are scored again
on more, at temperature 0 and the usual pace, and the rule looks at these scores alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from diffucode.errors import ResumeError
from diffucode.files import read_jsonl

WITHIN = 0.02
WEAKER = {"mini-45": 0.45, "mini-25": 0.25}
FIRST = "mini-first"
"""The run of mini's first leg."""
CLOSE = 6
"""Checkpoints that are scored again for each rule."""

Score = Callable[[Path], float]
"""The dev pass@1 of a model's folder."""


class Pick(NamedTuple):
    """A checkpoint and why it is the one."""

    folder: Path
    passed: float
    """Share of the dev problems it solves."""
    aim: float


def pick(folder: Path, score: Score) -> dict[str, Pick]:
    """The picks among the runs in ``folder``, by the names that they are shipped under.

    Raises ResumeError when the runs are not there or kept no checkpoints.
    """
    logs = {name: logged(folder / name) for name in (FIRST, "mini-ar")}
    aim = score(folder / "mini" / "model")
    picks = {
        "mini-ar-matched": matched(scored(folder / "mini-ar", logs["mini-ar"], aim, score), aim)
    }
    for name, goal in WEAKER.items():
        picks[name] = nearest(scored(folder / FIRST, logs[FIRST], goal, score), goal)
    return picks


def matched(found: Mapping[Path, float], aim: float) -> Pick:
    """The first, in order, that comes within two points; where none does, the nearest."""
    for path, passed in found.items():
        if abs(passed - aim) <= WITHIN + 1e-9:
            return Pick(path, passed, aim)
    return nearest(found, aim)


def nearest(found: Mapping[Path, float], aim: float) -> Pick:
    """The one with the score nearest to ``aim``; of two, the earlier."""
    path = min(found, key=lambda path: abs(found[path] - aim))
    return Pick(path, found[path], aim)


def scored(run: Path, steps: Mapping[int, float], aim: float, score: Score) -> dict[Path, float]:
    """The checkpoints whose logged score is near ``aim``, scored again, in the order of training."""
    close = sorted(steps, key=lambda step: abs(steps[step] - aim))[:CLOSE]
    folders = [run / "kept" / f"step-{step}" for step in sorted(close)]
    return {folder: score(folder) for folder in folders}


def logged(run: Path) -> dict[int, float]:
    """The dev scores of the kept checkpoints, by step, as training logged them."""
    found = {
        row["step"]: row["dev_passed"]
        for row in read_jsonl(run / "metrics.jsonl")
        if "dev_passed" in row and (run / "kept" / f"step-{row['step']}").is_dir()
    }
    if not found:
        raise ResumeError(
            f"{run}: no kept checkpoints with a dev score; train it first (evaluate_every, keep_evaluated)"
        )
    return found
