"""Tables on stdout: drawn for a terminal, markdown that no width cuts where it is none."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from diffucode.metrics.passk import Estimate


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column is text, the others are figures."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 400, highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD if terminal else box.MARKDOWN)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    with console.capture() as drawn:
        console.print(table)
    typer.echo(drawn.get() if terminal else drawn.get().strip(" \n"))


def percent(estimate: Estimate | None) -> str:
    """A share with its interval, in percent; ``-`` for none."""
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    value, low, high = (100 * x for x in estimate[:3])
    return _shown(value, low, high, digits=1)


def figure(estimate: Estimate | None) -> str:
    """A figure with its interval; ``-`` for none."""
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    value, low, high = estimate[:3]
    return _shown(value, low, high, digits=3)


def _shown(value: float, low: float, high: float, digits: int) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
