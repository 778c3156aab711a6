"""A sweep as JSON: everything that its page shows, and what the terminal prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffucode import config as configs
from diffucode.errors import ResumeError
from diffucode.measure.sweep.figures import Values, aligned, common, figures
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.matched import Matched, at_equal_pass, at_equal_temperature
from diffucode.metrics.front import front
from diffucode.metrics.outcomes import Figures
from diffucode.runs import git_revision

FRONTS = (("pass_1", "eda_k"), ("pass_k", "ea"))
"""Quality and diversity."""


def report(grid: Grid) -> Figures:
    """The figures of the cells that have samples of every problem that the others have.

    Raises ResumeError where no cell has any.
    """
    sweep = grid.sweep
    drawn = grid.drawn()
    cells = aligned(drawn, grid.ids, sweep.samples, sweep.k)
    if not cells or not cells[0].samples:
        raise ResumeError(
            f"{grid.folder}: no problem has its samples in all {len(drawn)} cells that were begun; run the "
            "sweep to its end first"
        )
    shared = common(cells)
    return {
        "sweep": configs.dump(sweep),
        "revision": git_revision(Path(__file__).parent),
        "models": [model._asdict() for model in grid.models()],
        "problems": len(cells[0].samples),
        "signatures": len(set(cells[0].signatures)),
        "common": int(shared.sum()),
        "left": grid.left(),
        "cells": [
            {"name": one.drawn.cell.name} | figures(one, sweep.seed, shared) for one in cells
        ],
        "fronts": [_front(cells, quality, diversity) for quality, diversity in FRONTS],
        "equal_temperature": [_matched(one) for one in at_equal_temperature(cells, sweep.seed)],
        "equal_pass": [_matched(one) for one in at_equal_pass(cells, sweep.seed)],
    }


def _front(cells: Sequence[Values], quality: str, diversity: str) -> dict[str, Any]:
    points = [(one.mean(quality), one.mean(diversity)) for one in cells]
    names = [cells[n].drawn.cell.name for n in front(points)]
    return {"quality": quality, "diversity": diversity, "cells": names}


def _matched(one: Matched) -> dict[str, Any]:
    found = None if one.difference is None else one.difference.to_json()
    return {
        "cell": one.cell.name,
        "against": one.against,
        "measure": one.measure,
        "at": one.at,
        "difference": found,
    }
