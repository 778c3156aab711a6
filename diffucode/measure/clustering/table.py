"""Figures of clusterers as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from diffucode.measure.clustering.calibrate import Figures
from diffucode.metrics.passk import Estimate

_HEAD = (
    "| clusterer | pairs | precision | recall | F1 | ARI | error in EA | error in DA@10 | no label |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def table(figures: Sequence[Figures]) -> str:
    """A row each; intervals in brackets, a dash for what is not defined."""
    return _HEAD + "".join(_row(one) for one in figures)


def _row(one: Figures) -> str:
    estimates = (one.precision, one.recall, one.f1, one.adjusted_rand, one.effective, one.distinct)
    cells = [one.clusterer, str(one.pairs), *map(_cell, estimates), f"{one.abstained:.1%}"]
    return f"| {' | '.join(cells)} |\n"


def _cell(one: Estimate) -> str:
    if one.value != one.value:
        return "–"
    if one.low != one.low:
        return f"{one.value:.2f}"
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
