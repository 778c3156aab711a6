"""What a decoding command shows: results on stdout, notes and the live view on stderr, a trace file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from diffucode.cli.view import LiveView
from diffucode.decoding.trace import Trace
from diffucode.errors import TraceError
from diffucode.files import write_atomic
from diffucode.generate.job import Job
from diffucode.generate.stream import Completion, Frame
from diffucode.generate.traces import TraceFile

if TYPE_CHECKING:
    from diffucode.models.load import Loaded


class Report:
    """Collects frames; a context, because the live view and the trace file have an end.

    The trace file is tried before any work, and written at the end with what finished until then,
    also when the work was interrupted.
    """

    def __init__(self, *, as_json: bool, trace: Path | None, watch: bool) -> None:
        self.as_json = as_json
        self.trace = trace
        self.watch = watch
        self._traces: list[Trace] = []
        self._held: list[Completion] = []
        self._view: LiveView | None = None
        self._loaded: Loaded | None = None
        self._several = False
        if trace is not None:
            check_writable(trace)

    def begin(self, loaded: Loaded, *, several: bool) -> None:
        """The model is there; ``several`` results are told apart by a line before each."""
        self._loaded, self._several = loaded, several
        if self.watch:
            self._view = LiveView(loaded.tokenizer)
            self._view.start()

    def watched(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The same jobs; each is announced to the live view as it is drawn."""
        for job in jobs:
            if self._view is not None:
                self._view.open(job.request)
            yield job

    def add(self, frame: Frame) -> None:
        """Show a step; print and flush what finished in it."""
        if self._view is not None:
            self._view.show(frame.step)
        for completion in frame.completions:
            if self.trace is not None:
                self._traces.append(completion.trace)
            if self.watch and not self.as_json:
                self._held.append(completion)  # results and a live view would overwrite each other
            else:
                self._print(completion)

    def note(self, message: str) -> None:
        typer.echo(f"diffucode: {message}", err=True)

    def _print(self, completion: Completion) -> None:
        if self.as_json:
            typer.echo(json.dumps(completion.to_json()))
            return
        if self._several:
            typer.echo(f"# {completion.id} {completion.sample}")
        shown = completion.program or completion.text
        typer.echo(shown, nl=not shown.endswith("\n"))
        self.note(
            f"{completion.effective_tokens} tokens in {completion.steps} steps, "
            f"{completion.seconds:.2f} s, ended by {completion.finish}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._view is not None:
            self._view.stop()
        for completion in self._held:
            self._print(completion)
        if self.trace is not None and self._loaded is not None and self._traces:
            loaded = self._loaded
            ends = loaded.denoiser.terminator_ids
            file = TraceFile.of(loaded.name, loaded.tokenizer, self._traces, ends)
            write_atomic(self.trace, file.dumps())


def check_writable(path: Path) -> None:
    """Raise TraceError unless a file can be written there."""
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise TraceError(f"{path}: cannot write the trace there ({error.strerror})") from None
