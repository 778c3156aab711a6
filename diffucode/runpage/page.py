"""A run folder to ``run.html``: facts, evaluations, curves, every figure, the configuration.

It reads ``run.json`` and ``metrics.jsonl`` and nothing else, so it can be made at any moment of a run, and
again of an old one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from yaml import safe_dump

from diffucode.errors import ResumeError
from diffucode.files import write_atomic
from diffucode.runpage.charts import Point, legend, lines, number, stacked
from diffucode.runpage.panels import Drawn, columns, drawn, is_number
from diffucode.runs import Run

MARK = ("dev_pass", "dev_passed")
"""Figures by which the best evaluation is chosen: the first of them that a run has."""

READING = (
    "Over steps, with the last value in the legend; the pointer finds the others. Of noisy curves the thick "
    "line is the mean of the last twentieth of their points."
)
STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1440px; padding: 0 1.5rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
.facts { color: #555; margin: .3rem 0 0; } .facts b { color: #1a1a1a; font-weight: 600; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1.4rem 1.6rem; }
figure { margin: 0; display: flex; flex-direction: column; } figcaption { font-weight: 600; } figcaption small { font-weight: 400; color: #666; }
svg { width: 100%; margin-top: auto; } svg text { font-size: 11px; fill: #555; }
text.y { text-anchor: end; } text.x { text-anchor: middle; }
.grid { stroke: #e4e4e4; fill: none; }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .faint { stroke-width: 1; opacity: .35; }
.hidden { opacity: 0; } circle:hover { opacity: 1; stroke: #000; }
.legend { min-height: 1.45em; } .key { margin-right: 1rem; white-space: nowrap; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; } td small { color: #777; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; } summary { cursor: pointer; font-weight: 600; margin-top: 1.5rem; }
"""  # noqa: E501


@dataclass(frozen=True)
class Record:
    """What a run folder says about its run."""

    name: str
    config: Mapping[str, Any]
    seeds: Mapping[str, Any]
    revision: str | None
    rows: Sequence[Mapping[str, Any]]
    finished: bool
    """Whether it left a model."""

    @classmethod
    def of(cls, folder: Path) -> Record:
        """Raises ResumeError for a folder that holds no run, or one whose lines are no JSON objects."""
        file = folder / "run.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            config, seeds, revision = dict(found["config"]), dict(found["seeds"]), found["revision"]
        except OSError as error:
            raise ResumeError(
                f"{file}: cannot read it ({error.strerror}); expected the folder of a training run"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ResumeError(f"{file}: not the record of a run") from None
        finished = (folder / "model").is_dir()
        return cls(folder.resolve().name, config, seeds, revision, Run(folder).metrics(), finished)


def write_page(folder: Path, file: Path | None = None) -> Path:
    """Draw the page of a run into ``run.html`` of its folder, or another file; returns where it is.

    Raises ResumeError as ``Record.of`` does, or where the file cannot be written.
    """
    page = render(Record.of(folder))
    file = folder / "run.html" if file is None else file
    try:
        write_atomic(file, page)
    except OSError as error:
        raise ResumeError(f"{file}: cannot write the page there ({error.strerror})") from None
    return file


def render(record: Record) -> str:
    """The page, as text."""
    found = columns(record.rows)
    parts = [
        f"<h1>{escape(record.name)}</h1>",
        _facts(record, found),
        _evaluations(record.rows),
        _curves(drawn(record.rows)),
        _figures(found),
        _details(
            "Configuration", f"<pre>{escape(safe_dump(record.config, sort_keys=False))}</pre>"
        ),
    ]
    head = f'<meta charset="utf-8"><title>{escape(record.name)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _facts(record: Record, found: Mapping[str, Sequence[Point]]) -> str:
    config = record.config
    planned = next(
        (config[key] for key in ("updates", "steps") if is_number(config.get(key))), None
    )
    done = max((points[-1].step for points in found.values()), default=0)
    seconds = sum(
        point.value
        for key, points in found.items()
        if key.startswith("seconds_")
        for point in points
        if math.isfinite(point.value)
    )
    facts = {
        "model": config.get("model") if isinstance(config.get("model"), str) else None,
        "step": number(done) + ("" if planned is None else f" of {number(planned)}"),
        "state": "finished" if record.finished else "not finished",
        "time logged": f"{seconds / 3600:.2f} hours" if seconds else None,
        "seed": ", ".join(f"{value}" for value in record.seeds.values()),
        "revision": record.revision or "not known",
    }
    shown = [f"{name} <b>{escape(value)}</b>" for name, value in facts.items() if value]
    return f'<p class="facts">{" &middot; ".join(shown)}</p>'


def _evaluations(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first, the best and the last of them, as columns."""
    by_step: dict[float, dict[str, float]] = {}
    for row in rows:
        if is_number(row.get("step")):
            known = {k: v for k, v in row.items() if k.startswith("dev_") and is_number(v)}
            by_step.setdefault(row["step"], {}).update(known)
    asked = {step: found for step, found in sorted(by_step.items()) if found}
    if not asked:
        return ""
    names = list(dict.fromkeys(name for found in asked.values() for name in found))
    mark = next((name for name in MARK if name in names), names[0])
    best = max(asked, key=lambda step: asked[step].get(mark, -math.inf))
    first, last = min(asked), max(asked)
    titles = ["evaluation", *(f"{w} (step {number(s)})" for w, s in
              (("first", first), ("best", best), ("last", last))), "last - first"]  # fmt: skip
    body = []
    for name in names:
        values = [asked[step].get(name) for step in (first, best, last)]
        gain = None if values[0] is None or values[2] is None else values[2] - values[0]
        body.append([name, *map(number, values), "-" if gain is None else f"{gain:+.4g}"])
    note = f"<p><small>best: the first of those with the highest {escape(mark)}</small></p>"
    return f"<h2>Evaluations</h2>{_table(titles, body)}{note}"


def _curves(panels: Sequence[Drawn]) -> str:
    points = [p for panel in panels for curve in panel.curves for p in curve.points]
    if not points:
        return "<p>Nothing was logged yet.</p>"
    steps = (min(p.step for p in points), max(p.step for p in points))
    shown = []
    for panel in panels:
        if panel.kind == "stacked":
            picture = stacked(panel.curves, steps)
        else:
            picture = lines(panel.curves, steps, panel.kind == "share")
        note = f" <small>{escape(panel.note)}</small>" if panel.note else ""
        caption = f"<figcaption>{escape(panel.title)}{note}</figcaption>"
        shown.append(f"<figure>{caption}{legend(panel.curves)}{picture}</figure>")
    return (
        f'<h2>Curves</h2><p><small>{READING}</small></p><div class="panels">{"".join(shown)}</div>'
    )


def _figures(found: Mapping[str, Sequence[Point]]) -> str:
    body = []
    for name, points in found.items():
        known = [p for p in points if math.isfinite(p.value)]
        if name != "step":
            low, high = min(known, key=lambda p: p.value), max(known, key=lambda p: p.value)
            body.append([name, *map(_at, (known[0], low, high, known[-1]))])
    if not body:
        return ""
    return _details("Every figure", _table(["figure", "first", "lowest", "highest", "last"], body))


def _at(point: Point) -> str:
    return f"{number(point.value)} @ {number(point.step)}"


def _table(titles: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
