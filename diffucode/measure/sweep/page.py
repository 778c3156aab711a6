"""The page of a sweep: one HTML file that loads nothing else, from the JSON of ``report``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from yaml import safe_dump

from diffucode.measure.figures import percent, plain
from diffucode.measure.sweep.figures import MEASURES, SHARES
from diffucode.measure.sweep.pictures import Dot, heat_map, key, scatter
from diffucode.metrics.outcomes import Figures
from diffucode.runpage.page import STYLE

MAPPED = (
    "pass_1", "pass_k", "eda_k", "ea", "distinct", "valid", "local", "leftmost", "positions",
)  # fmt: skip
NOTES = """
Values are means over the same problems in every cell, with 95 % intervals from resampled signatures.
eDA@k: expected different algorithms among the right ones of k samples, wrong ones in the pool. EA: effective
number of algorithms of the right samples, of problems that have one; undefined where none is right. Programs
count as one algorithm where their canonical syntax trees are equal, which overstates algorithms. AR-ness is
up to the terminator. Positions are those that went through the model for a sample: passes x row of a
diffusion model, each once of an AR model with its cache. Tokens are those before the first terminator;
core-seconds are of the decoding process alone.
"""
WRAPPING = "td { white-space: nowrap; } th { vertical-align: bottom; }"
EQUAL_T = (
    "Diffusion minus AR at the same token T. The better model has more right programs to differ."
)
EQUAL_PASS = (
    "Diffusion minus the AR model's curve over T at the diffusion cell's pass@1, on the straight line "
    "between the two neighbouring temperatures that enclose it; - where the AR model does not reach that "
    "pass@1. The interval draws cell and curve anew in each resample."
)


def render(found: Figures) -> str:
    """The page, as text."""
    sweep = found["sweep"]
    title = f"Sweep over {', '.join(sweep['models'])}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(found),
        f"<h2>Cells</h2>{cells_table(found)}<p><small>{NOTES}</small></p>",
        *(_maps(found, model) for model in found["models"] if model["decoder"] == "diffusion"),
        _fronts(found),
        _pairs("At equal temperature", EQUAL_T, "T", found["equal_temperature"], found),
        _pairs("At equal pass@1", EQUAL_PASS, "pass@1", found["equal_pass"], found),
        f"<details><summary>Plan</summary><pre>{escape(safe_dump(sweep, sort_keys=False))}</pre></details>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}{WRAPPING}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def named(measure: str, k: int) -> str:
    return MEASURES[measure].format(k=k)


def shown(measure: str, estimate: Figures | None) -> str:
    """An estimate of a measure, shares in percent."""
    return (percent if measure in SHARES else plain)(estimate)


def row(cell: Figures) -> list[str]:
    """A cell as a line of the table."""
    order = cell["order_temperature"]
    values = {measure: shown(measure, cell[measure]) for measure in MEASURES}
    if cell["ea"]:  # it matters how many problems have one
        values["ea"] += f" n = {cell['ea']['n']}"
    return [
        cell["model"],
        f"{cell['temperature']:g}",
        "-" if order is None else f"{order:g}",
        str(cell["samples"]),
        *values.values(),
        plain(cell["ea_common"]),
        _number(cell["tokens_per_second"], 0),
        _number(cell["tokens_per_core_second"], 0),
        _number(cell["core_seconds"], 3),
    ]


def titles(k: int, common: int) -> list[str]:
    """Of the columns of ``row``."""
    units = [named(name, k) + (", %" if name in SHARES else "") for name in MEASURES]
    first, last = (
        ["model", "T", "order T", "samples"],
        ["tokens/s", "tokens/core-s", "core-s a sample"],
    )
    return [*first, *units, f"EA, {common} common problems", *last]


def cells_table(found: Figures) -> str:
    return _scrolling(
        _table(titles(found["sweep"]["k"], found["common"]), (row(cell) for cell in found["cells"]))
    )


def _facts(found: Figures) -> str:
    sweep = found["sweep"]
    facts = {
        "problems": f"{found['problems']} of {sweep['split']}, seed {sweep['problem_seed']}",
        "signatures": str(found["signatures"]),
        "samples": f"{sweep['samples']} a problem and cell, seed {sweep['seed']}",
        "missing": f"{found['left']} samples" if found["left"] else None,
        "revision": found["revision"] or "not known",
    }
    words = [f"{name} <b>{escape(value)}</b>" for name, value in facts.items() if value]
    return f'<p class="facts">{" &middot; ".join(words)}</p>'


def _maps(found: Figures, model: Figures) -> str:
    sweep = found["sweep"]
    of = {
        (cell["temperature"], cell["order_temperature"]): cell
        for cell in found["cells"]
        if cell["model"] == model["name"]
    }
    drawn = []
    for measure in MAPPED:
        value = [
            [_mapped(of.get((tau, order)), measure) for order in sweep["order_temperatures"]]
            for tau in sweep["temperatures"]
        ]
        picture = heat_map(
            [f"T {tau:g}" for tau in sweep["temperatures"]],
            [f"order T {order:g}" for order in sweep["order_temperatures"]],
            value,
        )
        title = escape(named(measure, sweep["k"]) + (", %" if measure in SHARES else ""))
        drawn.append(f"<figure><figcaption>{title}</figcaption>{picture}</figure>")
    title = f"<h2>{escape(model['name'])}: token x order temperature</h2>"
    return f'{title}<div class="panels">{"".join(drawn)}</div>'


def _fronts(found: Figures) -> str:
    k = found["sweep"]["k"]
    drawn = []
    for one in found["fronts"]:
        quality, diversity = one["quality"], one["diversity"]
        dots: dict[str, list[Dot]] = {}
        for cell in found["cells"]:
            x, y = _mapped(cell, quality), _mapped(cell, diversity)
            if x is not None and y is not None:
                dots.setdefault(cell["model"], []).append(Dot(x, y, cell["name"]))
        if not dots:
            continue
        by_name = {dot.name: dot for group in dots.values() for dot in group}
        edge = [by_name[name] for name in one["cells"]]
        names = f"{named(quality, k)}, %", named(diversity, k)
        caption = (
            f"<figcaption>{names[0]} and {names[1]} <small>ringed: the front</small></figcaption>"
        )
        drawn.append(
            f"<figure>{caption}{key(list(dots))}{scatter(dict(dots), edge, *names)}"
            f"<p><small>{escape(', '.join(one['cells']))}</small></p></figure>"
        )
    return (
        f'<h2>Quality and diversity: Pareto fronts</h2><div class="panels">{"".join(drawn)}</div>'
    )


def _pairs(title: str, note: str, at: str, rows: Sequence[Figures], found: Figures) -> str:
    """A line for each cell and AR model, a column for each measure."""
    if not rows:
        return ""
    measures = list(dict.fromkeys(one["measure"] for one in rows))
    lines: dict[tuple[str, str, float], dict[str, Figures | None]] = {}
    for one in rows:
        place = lines.setdefault((one["cell"], one["against"], one["at"]), {})
        place[one["measure"]] = one["difference"]
    body = [
        [cell, against, f"{value:.3g}", *(shown(name, line[name]) for name in measures)]
        for (cell, against, value), line in lines.items()
    ]
    k = found["sweep"]["k"]
    units = [named(name, k) + (", points" if name in SHARES else "") for name in measures]
    head = ["cell", "against", at, *units]
    return f"<h2>{title}</h2><p><small>{note}</small></p>{_scrolling(_table(head, body))}"


def _value(cell: Figures | None, measure: str) -> float | None:
    estimate = None if cell is None else cell[measure]
    value: float | None = None if estimate is None else estimate["value"]
    return value


def _mapped(cell: Figures | None, measure: str) -> float | None:
    """As it is shown: shares in percent."""
    value = _value(cell, measure)
    return 100 * value if value is not None and measure in SHARES else value


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _scrolling(content: str) -> str:
    return f'<div style="overflow-x:auto">{content}</div>'


def _table(head: Iterable[str], body: Iterable[Iterable[Any]]) -> str:
    first = "".join(f"<th>{escape(title)}</th>" for title in head)
    rows = ("".join(f"<td>{_cell(str(cell))}</td>" for cell in line) for line in body)
    return f"<table><tr>{first}</tr>{''.join(f'<tr>{line}</tr>' for line in rows)}</table>"


def _cell(text: str) -> str:
    """A value over its interval."""
    value, bracket, rest = text.partition(" [")
    return (
        f"{escape(value)}<br><small>{escape(bracket[1:] + rest)}</small>"
        if bracket
        else escape(value)
    )
