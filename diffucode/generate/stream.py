"""From jobs to completions: a fold over the decoder's steps that also says what each step did.

    jobs ──> Engine ──> Step ──> Frame(step, completions that ended in it)
                 ^        │
                 └────────┘  a row whose committed beginning holds a stop string is cancelled

The text is cut at stop strings after decoding; ending the row early only saves work. The check sees
what is committed from the answer's start without a gap, so it never stops on a guess.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from diffucode.decoding.engine import Decoder, Engine, Finished, RowStep, Step, run
from diffucode.decoding.plan import Request
from diffucode.decoding.trace import Trace
from diffucode.generate.job import Job, before_any

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

Finish = Literal["stop", "terminator", "length", "cancelled"]


@dataclass(frozen=True)
class Completion:
    """One answer. Text, program and raw tokens are kept apart."""

    id: str
    sample: int
    text: str
    """What was written, without special tokens, cut at the first stop string."""
    program: str
    """The program in it, with what the prompt began; see ``tasks.extract``."""
    tokens: tuple[int, ...]
    """Raw ids from the answer's start to the first position that was never opened."""
    steps: int
    nfe: int
    """Model calls that this row took part in."""
    seconds: float
    """From the row's first step to its last, whatever else shared those steps."""
    tokens_per_second: float
    """Effective tokens over seconds."""
    effective_tokens: int
    """Tokens before the first terminator (and before a stop string)."""
    finish: Finish
    seed: int
    trace: Trace

    def to_json(self) -> dict[str, Any]:
        """Everything but the trace."""
        return {key: value for key, value in self.__dict__.items() if key != "trace"}


class Frame(NamedTuple):
    """One step of the decoder and the completions that ended in it."""

    step: Step
    completions: tuple[Completion, ...]


@dataclass(eq=False)
class _Row:
    """What the host knows of a row while it is decoded."""

    job: Job
    since: float
    open: np.ndarray
    token: np.ndarray
    """The row as it stands; meaningless where it is open."""
    searched: int = 0
    """Columns that were searched for stop strings already."""
    stopped: bool = False

    @classmethod
    def of(cls, job: Job, since: float) -> _Row:
        return cls(job, since, np.array(job.request.open), np.array(job.request.tokens))

    def commit(self, record: RowStep, loaded: Loaded) -> None:
        """Write what a step committed; search the answer's gapless beginning for stop strings."""
        self.open[record.positions] = False
        self.token[record.positions] = record.tokens
        end = int(np.append(self.open, True).argmax())
        if end > self.searched and not self.stopped:
            self.searched = end
            start = self.job.request.open.index(True)
            beginning = before_any(self.token[start:end], loaded.denoiser.terminator_ids)
            self.stopped = self.job.stopped(loaded.tokenizer, beginning)


def stream(
    loaded: Loaded, jobs: Iterable[Job], *, decoder: Decoder, capacity: int, rl_step: int = 0
) -> Iterator[Frame]:
    """Decode the jobs, at most ``capacity`` at a time, and yield every step.

    Completions come in the order in which they finish. Jobs are drawn as rows become free. ``rl_step`` is
    the training step of the model, for temperature policies that follow it.
    """
    engine = Engine(loaded.denoiser, decoder=decoder, capacity=capacity, rl_step=rl_step)
    waiting: dict[tuple[str, int], Job] = {}
    rows: dict[tuple[str, int], _Row] = {}

    def requests() -> Iterator[Request]:
        for job in jobs:
            waiting[job.request.id, job.request.sample] = job
            yield job.request

    began = time.perf_counter()
    for step in run(engine, requests()):
        for record in step.rows:
            key = (record.id, record.sample)
            if key in waiting:
                rows[key] = _Row.of(waiting.pop(key), began)
            rows[key].commit(record, loaded)
        now = time.perf_counter()
        ended = [(rows.pop((f.request.id, f.request.sample)), f) for f in step.finished]
        yield Frame(step, tuple(_completion(loaded, row, f, now) for row, f in ended))
        engine.cancel(key for key, row in rows.items() if row.stopped)
        began = time.perf_counter()


def _completion(loaded: Loaded, row: _Row, finished: Finished, now: float) -> Completion:
    request, seconds = finished.request, now - row.since
    answer = row.job.read(loaded.tokenizer, finished, loaded.denoiser.terminator_ids)
    return Completion(
        id=request.id,
        sample=request.sample,
        text=answer.text,
        program=answer.program,
        tokens=answer.tokens,
        steps=finished.steps,
        nfe=finished.nfe,
        seconds=seconds,
        tokens_per_second=answer.effective / seconds,
        effective_tokens=answer.effective,
        finish="stop" if answer.stopped else finished.reason,
        seed=request.seed,
        trace=finished.trace,
    )
