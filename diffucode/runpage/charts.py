"""Curves and stacked bars as inline SVG. Every point says its numbers to a pointer that rests on it.

Long curves are thinned to what a picture can show: of each stretch the lowest and the highest value stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito's, told apart also by eyes that mix up red and green."""

WIDTH, HEIGHT = 440, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 8, 22
MOST_POINTS = 240
MOST_BARS = 80
MOST_DOTS = 40
"""Curves of more points than this hide them until the pointer finds one."""
NOISY = 4
"""A curve is noisy if it has more than ``MOST_DOTS`` points and its ups and downs add up to more than so
many times its range; it also gets its trailing mean over a twentieth of its points."""


class Point(NamedTuple):
    step: float
    value: float
    """Not finite where it was not measured: the curve has a gap there."""


@dataclass(frozen=True)
class Curve:
    name: str
    points: Sequence[Point]


class Frame(NamedTuple):
    """The values that the edges of a picture stand for."""

    left: float
    right: float
    low: float
    high: float

    def x(self, step: float) -> float:
        share = (step - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def number(value: float | None) -> str:
    """Four figures; ``-`` for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def lines(curves: Sequence[Curve], steps: tuple[float, float], share: bool = False) -> str:
    """Curves over the steps from the first to the last; ``share``: on an axis from 0 to 1."""
    values = [p.value for curve in curves for p in curve.points if math.isfinite(p.value)]
    frame = _frame(steps, (0.0, 1.0) if share else (min(values), max(values)))
    drawn = [_axes(frame)]
    for curve, colour in zip(curves, _colours(), strict=False):
        points = thinned(curve.points)
        rough = noisy(curve.points)
        drawn += _paths(frame, points, colour, "faint" if rough else "line")
        if rough:
            drawn += _paths(frame, thinned(trailing_mean(curve.points)), colour, "line")
        drawn += [
            f'<circle cx="{frame.x(p.step):.1f}" cy="{frame.y(p.value):.1f}" r="3" fill="{colour}"'
            f' class="{"dot" if len(points) <= MOST_DOTS else "hidden"}">'
            f"<title>{escape(curve.name)}, step {number(p.step)}: {number(p.value)}</title></circle>"
            for p in points
            if math.isfinite(p.value)
        ]
    return _svg(drawn)


def stacked(parts: Sequence[Curve], steps: tuple[float, float]) -> str:
    """A bar for each step, the parts' values on top of each other; steps near each other share one, of
    their means. What was not measured is 0."""
    by_step: dict[float, list[float]] = {}
    for n, part in enumerate(parts):
        for step, value in part.points:
            by_step.setdefault(step, [0.0] * len(parts))[n] = value if math.isfinite(value) else 0.0
    rows = sorted(by_step.items())
    size = math.ceil(len(rows) / MOST_BARS)
    bins = [rows[at : at + size] for at in range(0, len(rows), size)]
    means = [
        [sum(column) / len(bin) for column in zip(*(v for _, v in bin), strict=True)]
        for bin in bins
    ]
    frame = _frame((steps[0] - 0.5, steps[1] + 0.5), (0.0, max(map(sum, means))))
    drawn = [_axes(frame)]
    for bin, values in zip(bins, means, strict=True):
        first, last = bin[0][0], bin[-1][0]
        span = (
            f"step {number(first)}" if first == last else f"steps {number(first)} to {number(last)}"
        )
        words = ", ".join(f"{p.name} {number(v)}" for p, v in zip(parts, values, strict=True))
        title = escape(f"{span}: {words}")
        left, right = frame.x(first - 0.45), frame.x(last + 0.45)
        below = 0.0
        for value, colour in zip(values, _colours(), strict=False):
            top, bottom = frame.y(below + value), frame.y(below)
            drawn.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                f'height="{bottom - top:.1f}" fill="{colour}"><title>{title}</title></rect>'
            )
            below += value
    return _svg(drawn)


def legend(curves: Sequence[Curve]) -> str:
    """The names of curves in their colours, each with its last value."""
    cells = []
    for curve, colour in zip(curves, _colours(), strict=False):
        known = [p.value for p in curve.points if math.isfinite(p.value)]
        cells.append(
            f'<span class="key"><i style="background:{colour}"></i>{escape(curve.name)} '
            f"<b>{number(known[-1] if known else None)}</b></span>"
        )
    return f'<div class="legend">{"".join(cells)}</div>'


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many of them: the lowest and the highest of each stretch, in their order."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / (most // 2))
    kept = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        known = [p for p in part if math.isfinite(p.value)]
        ends = (
            {min(known, key=lambda p: p.value), max(known, key=lambda p: p.value)}
            if known
            else {part[0]}
        )
        kept += sorted(ends)
    return kept


def noisy(points: Sequence[Point]) -> bool:
    values = [p.value for p in points if math.isfinite(p.value)]
    if len(values) <= MOST_DOTS:
        return False
    moved = sum(abs(two - one) for one, two in pairwise(values))
    return moved > NOISY * (max(values) - min(values))


def trailing_mean(points: Sequence[Point]) -> list[Point]:
    """The mean of the last twentieth of all points that are known, at each of them."""
    known = [p for p in points if math.isfinite(p.value)]
    size = max(1, len(known) // 20)
    found = []
    for n, point in enumerate(known):
        window = known[max(0, n + 1 - size) : n + 1]
        found.append(Point(point.step, sum(p.value for p in window) / len(window)))
    return found


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    exponent = math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10):
        width = factor * 10.0**exponent
        if (high - low) / width <= most:
            break
    first, last = math.ceil(low / width - 1e-9), math.floor(high / width + 1e-9)
    return [round(n * width, 12 - exponent) for n in range(first, last + 1)]


def _colours() -> Iterable[str]:
    while True:
        yield from COLOURS


def _frame(steps: tuple[float, float], values: tuple[float, float]) -> Frame:
    (left, right), (low, high) = steps, values
    if left == right:
        left, right = left - 1, right + 1
    if high - low <= 1e-9 * max(
        abs(low), abs(high)
    ):  # a constant stands between 0 and twice itself
        low, high = min(0.0, 2 * low), max(0.0, 2 * high) or float(low == 0)
    return Frame(left, right, low, high + 0.05 * (high - low))


def _paths(frame: Frame, points: Sequence[Point], colour: str, kind: str) -> list[str]:
    """A line for each stretch without gaps."""
    stretches: list[list[Point]] = [[]]
    for p in points:
        if math.isfinite(p.value):
            stretches[-1].append(p)
        else:
            stretches.append([])
    return [
        f'<polyline class="{kind}" stroke="{colour}" points="'
        + " ".join(f"{frame.x(p.step):.1f},{frame.y(p.value):.1f}" for p in stretch)
        + '"/>'
        for stretch in stretches
        if stretch
    ]


def _axes(frame: Frame) -> str:
    drawn = []
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        drawn.append(f'<text class="y" x="{LEFT - 6}" y="{y + 3.5:.1f}">{value:g}</text>')
    for step in ticks(frame.left, frame.right):
        if step == int(step):
            x = frame.x(step)
            drawn.append(f'<text class="x" x="{x:.1f}" y="{HEIGHT - 6}">{step:g}</text>')
    return "".join(drawn)


def _svg(drawn: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}</svg>'
