"""``diffucode tracepage``: recorded traces as one page to play."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffucode.cli.inputs import read_text
from diffucode.errors import TraceError

if TYPE_CHECKING:
    from diffucode.generate.traces import TraceFile
    from diffucode.tracepage.page import Panel

MOST = 4

File = Annotated[Path, typer.Argument(metavar="TRACES", help="A file that --trace wrote.")]
Id = Annotated[str | None, typer.Option("--id", help="The prompt. (the file's first)")]
Samples = Annotated[
    list[int] | None,
    typer.Option("--sample", help=f"A sample, repeatable up to {MOST} times. (its first)"),
]
Beside = Annotated[
    Path | None,
    typer.Option(metavar="TRACES", help="Another file; the same prompt and samples stand beside."),
]
Out = Annotated[Path | None, typer.Option(help="Write the page into this file. (TRACES.html)")]


def tracepage(
    file: File, id: Id = None, sample: Samples = None, beside: Beside = None, out: Out = None
) -> None:
    """Draw a page that plays how canvases were filled, up to four side by side; print where it is.

    One HTML file that loads nothing else: a slider over the steps, colours by step, probability or
    entropy, and each token's figures under the pointer.
    """
    from diffucode.files import write_atomic
    from diffucode.tracepage.page import render

    panels = _chosen(file, id, sample or [])
    if beside is not None:
        panels += _chosen(beside, panels[0].trace.id, [panel.trace.sample for panel in panels])
    if len(panels) > MOST:
        raise TraceError(
            f"{len(panels)} traces: a page shows {MOST} at most; ask for fewer --sample"
        )
    path = file.with_suffix(".html") if out is None else out
    try:
        write_atomic(path, render(panels))
    except OSError as error:
        raise TraceError(f"{path}: cannot write the page there ({error.strerror})") from None
    typer.echo(path)


def _chosen(file: Path, id: str | None, samples: list[int]) -> list[Panel]:
    from diffucode.generate.traces import TraceFile
    from diffucode.tracepage.page import Panel

    recorded = TraceFile.loads(read_text(str(file)), str(file))
    there = {(one.id, one.sample): one for one in recorded.traces}
    if not there:
        raise TraceError(f"{file}: no traces in it")
    first = next(iter(there)) if id is None else next((key for key in there if key[0] == id), None)
    if first is None:
        raise _missing(file, recorded, f"prompt {id!r}")
    found = []
    for sample in samples or [first[1]]:
        if (trace := there.get((first[0], sample))) is None:
            raise _missing(file, recorded, f"sample {sample} of prompt {first[0]!r}")
        if not (trace.step >= 0).any():
            raise TraceError(
                f"{file}: sample {sample} of {first[0]!r} has no step: nothing was written"
            )
        found.append(Panel(file.name, recorded, trace))
    return found


def _missing(file: Path, recorded: TraceFile, what: str) -> TraceError:
    there = ", ".join(f"{one.id} {one.sample}" for one in recorded.traces[:5])
    more = ", ..." if len(recorded.traces) > 5 else ""
    return TraceError(f"{file}: no {what}; it holds {there}{more}")
