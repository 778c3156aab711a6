"""``diffucode replay``: watch a recorded canvas fill again. Needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffucode.cli.inputs import read_text
from diffucode.errors import TraceError

if TYPE_CHECKING:
    from rich.console import Console

    from diffucode.decoding.trace import Trace

File = Annotated[Path, typer.Argument(metavar="TRACE", help="A file that --trace wrote.")]
Id = Annotated[str | None, typer.Option("--id", help="Only this prompt.")]
Sample = Annotated[int | None, typer.Option("--sample", help="Only this sample.")]
Delay = Annotated[float, typer.Option("--delay", min=0, help="Seconds between steps.")]


def replay(file: File, id: Id = None, sample: Sample = None, delay: Delay = 0.05) -> None:
    """Watch a recorded canvas fill again; off a terminal, one line a step and the end."""
    from rich.console import Console

    from diffucode.generate.traces import TraceFile

    recorded = TraceFile.loads(read_text(str(file)), str(file))
    chosen = [
        trace
        for trace in recorded.traces
        if id in (None, trace.id) and sample in (None, trace.sample)
    ]
    if not chosen:
        there = ", ".join(f"{t.id} {t.sample}" for t in recorded.traces[:5])
        raise TraceError(f"{file}: no such trace; it holds {there or 'none'}")
    console = Console(highlight=False, soft_wrap=True)
    for trace in chosen:
        play = _animate if console.is_terminal else _list
        play(trace, recorded.pieces, console, delay)


def _animate(trace: Trace, pieces: dict[int, str], console: Console, delay: float) -> None:
    import time

    from rich.live import Live

    from diffucode.cli.view import canvas_panel

    with Live(console=console, auto_refresh=False) as live:
        for now in range(int(trace.step.max()) + 1):
            name = f"{trace.id} {trace.sample}"
            columns = (trace.token, trace.given, trace.step)
            live.update(canvas_panel(name, *columns, now, pieces.__getitem__), refresh=True)
            time.sleep(delay)


def _list(trace: Trace, pieces: dict[int, str], console: Console, delay: float) -> None:
    from diffucode.cli.view import canvas_text

    last = int(trace.step.max())
    console.print(f"{trace.id} {trace.sample}: {len(trace.committed)} tokens, seed {trace.seed}")
    for now in range(last + 1):
        at = [int(i) for i in trace.committed if trace.step[i] == now]
        words = "  ".join(f"{i}:{pieces[int(trace.token[i])]!r}" for i in at)
        console.print(f"step {now}  {words}", markup=False)
    text = canvas_text(trace.token, trace.given, trace.step, last, pieces.__getitem__)
    console.print(text.plain, markup=False)
