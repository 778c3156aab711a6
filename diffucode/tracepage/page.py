"""Traces to a page: the data of every token as JSON, a style and a script, in one file.

    panel    {"title", "facts", "last", "columns": {"text", "given", "special", "step", ...}}

Columns are as long as the row and hold null where nothing was written. The page can be opened at a state:
``trace.html#step=12&colour=probability&theme=dark``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from diffucode.decoding.trace import Trace
from diffucode.generate.traces import TraceFile
from diffucode.metrics.arness import global_arness, local_arness, order_of

FLOATS = {
    "raw": "raw_logprob",
    "behaviour": "behaviour_logprob",
    "tau": "tau",
    "entropy": "entropy",
    "tempered": "tempered_entropy",
}
DIGITS = 6

HELP = (
    "<kbd>&larr;</kbd> <kbd>&rarr;</kbd> a step &middot; <kbd>Home</kbd> <kbd>End</kbd> first and last "
    "&middot; <kbd>space</kbd> play &middot; <kbd>c</kbd> colour &middot; <kbd>t</kbd> dark or light "
    '&middot; <span class="scale"></span> early to late, sure to unsure'
)
COLOURS = {"step": "step", "probability": "probability", "entropy": "entropy"}


class Panel(NamedTuple):
    """A trace and the file it stands in."""

    name: str
    recorded: TraceFile
    trace: Trace


def render(panels: Sequence[Panel]) -> str:
    """The page, as text."""
    data = json.dumps({"panels": [panel_data(panel) for panel in panels]}, ensure_ascii=False)
    data = data.replace("<", "\\u003c")  # a token may close the element
    title = escape(" | ".join(dict.fromkeys(_title(panel.trace) for panel in panels)))
    source = files("diffucode.tracepage")
    style = source.joinpath("page.css").read_text(encoding="utf-8")
    script = source.joinpath("page.js").read_text(encoding="utf-8")
    choices = "".join(f'<option value="{key}">{word}</option>' for key, word in COLOURS.items())
    controls = (
        '<button id="play" type="button">play</button>'
        '<input id="step" type="range" min="0" value="0" aria-label="step">'
        '<output id="now" for="step"></output>'
        f'<label>colour by <select id="colour">{choices}</select></label>'
        '<button id="theme" type="button">dark / light</button>'
    )
    body = (
        f'<header><h1>{title}</h1><div class="controls">{controls}</div>'
        f'<p class="help">{HELP}</p></header><main id="panels"></main>'
        '<div id="tip" role="status" hidden></div>'
        f"<noscript>{''.join(map(_plain, panels))}</noscript>"
        f'<script type="application/json" id="data">{data}</script><script>{script}</script>'
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def panel_data(panel: Panel) -> dict[str, Any]:
    """What the script is given about a trace."""
    trace, recorded = panel.trace, panel.recorded
    pieces = [recorded.pieces[int(token)] for token in trace.token]
    written = trace.step >= 0
    return {
        "title": _title(trace),
        "facts": _facts(panel),
        "last": int(trace.step.max()),
        "columns": {
            "text": pieces,
            "token": trace.token.tolist(),
            "given": trace.given.tolist(),
            "special": [_special(piece) for piece in pieces],
            "step": trace.step.tolist(),
            "rank": trace.rank.tolist(),
            **{
                name: [
                    round(float(value), DIGITS) if known and math.isfinite(value) else None
                    for value, known in zip(getattr(trace, column), written, strict=True)
                ]
                for name, column in FLOATS.items()
            },
        },
    }


def _title(trace: Trace) -> str:
    return f"{trace.id}, sample {trace.sample}"


def _facts(panel: Panel) -> str:
    order = order_of(panel.trace, panel.recorded.terminators)
    facts = [panel.name, panel.recorded.model, f"seed {panel.trace.seed}"]
    if len(order):
        steps = len(np.unique(panel.trace.step[panel.trace.step >= 0]))
        facts += [
            f"{int((panel.trace.step >= 0).sum())} tokens in {steps} steps",
            f"local AR-ness@1 {local_arness(order):.2f}, global {global_arness(order):.2f}",
        ]
    return " \N{MIDDLE DOT} ".join(facts)


def _special(piece: str) -> bool:
    return piece.startswith("<|") and piece.endswith("|>")


def _plain(panel: Panel) -> str:
    pieces = (panel.recorded.pieces[int(token)] for token in panel.trace.token)
    return f"<pre>{escape(''.join(piece for piece in pieces if not _special(piece)))}</pre>"
