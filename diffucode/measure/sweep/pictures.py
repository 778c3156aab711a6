"""Heat maps and scatter plots as inline SVG; every value is also there as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from diffucode.runpage.charts import COLOURS, Frame, number, ticks

SIDE, HIGH, MARGIN = 76, 34, 54
LOW_COLOUR, HIGH_COLOUR = (245, 248, 252), (0, 84, 147)
WIDTH, HEIGHT = 440, 220
"""Of ``Frame``'s picture."""


class Dot(NamedTuple):
    x: float
    y: float
    name: str


def heat_map(
    rows: Sequence[str], columns: Sequence[str], value: Sequence[Sequence[float | None]]
) -> str:
    """Rows x columns, the lowest value pale and the highest dark; empty where there is none."""
    known = [one for line in value for one in line if one is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    drawn = []
    for at, name in enumerate(columns):
        x = MARGIN + (at + 0.5) * SIDE
        drawn.append(f'<text class="x" x="{x:.0f}" y="14">{escape(name)}</text>')
    for line, name in enumerate(rows):
        y = 22 + line * HIGH
        drawn.append(
            f'<text class="y" x="{MARGIN - 8}" y="{y + HIGH / 2 + 4:.0f}">{escape(name)}</text>'
        )
        for at, one in enumerate(value[line]):
            if one is None:
                continue
            share = (one - low) / (high - low) if high > low else 0.0
            x = MARGIN + at * SIDE
            drawn.append(
                f'<rect x="{x}" y="{y}" width="{SIDE - 2}" height="{HIGH - 2}" fill="{_shade(share)}"/>'
                f'<text class="x" style="fill:{"#fff" if share > 0.55 else "#1a1a1a"}" '
                f'x="{x + SIDE / 2:.0f}" y="{y + HIGH / 2 + 4:.0f}">{number(one)}</text>'
            )
    width, height = MARGIN + len(columns) * SIDE, 24 + len(rows) * HIGH
    size = f'viewBox="0 0 {width} {height}" style="max-width:{width}px"'
    return f'<svg {size} role="img">{"".join(drawn)}</svg>'


def scatter(groups: dict[str, Sequence[Dot]], edge: Sequence[Dot], across: str, up: str) -> str:
    """Dots of several groups, joined in their order; ``edge``: the dots of the Pareto front."""
    dots = [dot for group in groups.values() for dot in group]
    frame = _frame(dots)
    drawn = [_axes(frame, across, up)]
    if edge:
        path = " ".join(f"{frame.x(dot.x):.1f},{frame.y(dot.y):.1f}" for dot in edge)
        drawn.append(
            f'<polyline class="grid" style="stroke:#888;stroke-dasharray:4 3" points="{path}"/>'
        )
    for n, group in enumerate(groups.values()):
        colour = COLOURS[n % len(COLOURS)]
        for dot in group:
            ring = ' stroke="#1a1a1a" stroke-width="1.6"' if dot in edge else ""
            drawn.append(
                f'<circle cx="{frame.x(dot.x):.1f}" cy="{frame.y(dot.y):.1f}" r="4.5" fill="{colour}"{ring}>'
                f"<title>{escape(dot.name)}: {number(dot.x)}, {number(dot.y)}</title></circle>"
            )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" role="img">{"".join(drawn)}</svg>'


def key(names: Sequence[str]) -> str:
    """The groups of a scatter plot in their colours."""
    cells = [
        f'<span class="key"><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(name)}</span>'
        for n, name in enumerate(names)
    ]
    return f'<div class="legend">{"".join(cells)}</div>'


def _shade(share: float) -> str:
    parts = (a + share * (b - a) for a, b in zip(LOW_COLOUR, HIGH_COLOUR, strict=True))
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def _frame(dots: Sequence[Dot]) -> Frame:
    edges = []
    for values in ([dot.x for dot in dots], [dot.y for dot in dots]):
        low, high = min(values), max(values)
        room = 0.08 * (high - low) or 0.05 * max(1.0, abs(high))
        edges += [low - room, high + room]
    return Frame(*edges)


def _axes(frame: Frame, across: str, up: str) -> str:
    drawn = []
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        drawn.append(
            f'<path class="grid" d="M{frame.x(frame.left):.1f} {y:.1f}H{frame.x(frame.right):.1f}"/>'
            f'<text class="y" x="{frame.x(frame.left) - 6:.1f}" y="{y + 3.5:.1f}">{value:g}</text>'
        )
    bottom = frame.y(frame.low)
    for value in ticks(frame.left, frame.right):
        drawn.append(
            f'<text class="x" x="{frame.x(value):.1f}" y="{bottom + 15:.1f}">{value:g}</text>'
        )
    middle = (frame.x(frame.left) + frame.x(frame.right)) / 2
    drawn.append(f'<text class="x" x="{middle:.1f}" y="{bottom + 31:.1f}">{escape(across)}</text>')
    drawn.append(f'<text x="2" y="{frame.y(frame.high) + 10:.1f}">{escape(up)}</text>')
    return "".join(drawn)
