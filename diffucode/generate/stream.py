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
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from diffucode.decoding.engine import Decoder, Engine, Finished, RowStep, Step
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
    answer: slice
    """Columns of the answer, in a file with holes of the first one."""
    open: np.ndarray
    token: np.ndarray
    """The row as it stands; meaningless where it is open."""
    searched: int = 0
    """Columns of the answer that were searched for stop strings already."""
    stopped: bool = False

    @classmethod
    def of(cls, job: Job, since: float) -> _Row:
        opened = np.array(job.request.open)
        start = int(opened.argmax())
        answer = slice(start, start + int(np.append(opened[start:], False).argmin()))
        return cls(job, since, answer, opened, np.array(job.request.tokens))

    def commit(self, record: RowStep, loaded: Loaded) -> None:
        """Write what a step committed; search the answer's gapless beginning for stop strings."""
        self.open[record.positions] = False
        self.token[record.positions] = record.tokens
        written = self._written()
        if written > self.searched and not self.stopped:
            self.searched = written
            self.stopped = self.job.stopped(loaded.tokenizer, self.beginning(loaded))

    def beginning(self, loaded: Loaded) -> list[int]:
        """The answer's tokens up to the first that is open, or a terminator."""
        answer = self.token[self.answer][: self._written()]
        return before_any(answer, loaded.denoiser.terminator_ids)

    def _written(self) -> int:
        return int(np.append(self.open[self.answer], True).argmax())


class Batch:
    """Jobs that decode together. They may join, and be cancelled, between any two steps."""

    def __init__(
        self, loaded: Loaded, *, decoder: Decoder, capacity: int, rl_step: int = 0
    ) -> None:
        self._loaded = loaded
        self._engine = Engine(loaded.denoiser, decoder=decoder, capacity=capacity, rl_step=rl_step)
        self._rows: dict[tuple[str, int], _Row] = {}

    def __len__(self) -> int:
        """Jobs that have not ended."""
        return len(self._rows)

    @property
    def room(self) -> int:
        """Jobs that the next step could start at once."""
        return self._engine.room

    def admit(self, jobs: Iterable[Job]) -> None:
        """Let jobs in, of another (id, sample) than those that decode. Raises PlanError."""
        for job in jobs:
            self._engine.admit([job.request])
            key = (job.request.id, job.request.sample)
            self._rows[key] = _Row.of(job, time.perf_counter())

    def cancel(self, keys: Iterable[tuple[str, int]]) -> None:
        """The next step ends these jobs, by (id, sample), and gives their places away."""
        self._engine.cancel(keys)

    def beginning(self, id: str, sample: int) -> list[int]:
        """What a job has written from its answer's start without a gap, up to a terminator: final."""
        return self._rows[id, sample].beginning(self._loaded)

    def step(self) -> Frame:
        """One step of all jobs."""
        step = self._engine.step()
        for record in step.rows:
            self._rows[record.id, record.sample].commit(record, self._loaded)
        now = time.perf_counter()
        ended = [(self._rows.pop((f.request.id, f.request.sample)), f) for f in step.finished]
        self._engine.cancel(key for key, row in self._rows.items() if row.stopped)
        return Frame(step, tuple(_completion(self._loaded, row, f, now) for row, f in ended))


def stream(
    loaded: Loaded, jobs: Iterable[Job], *, decoder: Decoder, capacity: int, rl_step: int = 0
) -> Iterator[Frame]:
    """Decode the jobs, at most ``capacity`` at a time, and yield every step.

    Completions come in the order in which they finish. Jobs are drawn as rows become free. ``rl_step`` is
    the training step of the model, for temperature policies that follow it.
    """
    batch = Batch(loaded, decoder=decoder, capacity=capacity, rl_step=rl_step)
    source = iter(jobs)
    while True:
        batch.admit(islice(source, batch.room))
        if not len(batch):
            return
        yield batch.step()


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
