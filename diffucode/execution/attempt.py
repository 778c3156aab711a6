"""One run of a job as the supervisor follows it: bytes in, results of calls out. No input or output.

    program -> (answer) -> call 0 -> (answer) -> call 1 -> ...        one question open at a time

A frame counts only if it bears the name of the question that is open, and nothing may follow it before
the next question. Anything else came from the program and ends the job.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffucode.execution import runner
from diffucode.execution.seal import Caps

Status = Literal["returned", "raised", "timeout", "output_limit", "died", "unencodable"]


@dataclass(frozen=True)
class Limits:
    """What a job may use. All of them are kept from outside the program."""

    seconds: float = 3.0
    """Wall clock of one call, and of running the program's own statements before the first."""
    job_seconds: float = 30.0
    """Wall clock of the whole job."""
    memory_bytes: int = 1 << 30
    """Address space (RLIMIT_AS). A bare interpreter takes about 40 MB."""
    frame_bytes: int = 32 << 20
    """The encoded value of one call."""
    job_bytes: int = 256 << 20
    """All encoded values together."""
    stdout_bytes: int = 1 << 20
    """Kept of standard output, and as much of standard error; the rest is read and dropped."""
    processes: int = 32
    """Threads, counted twenty times a second. Processes cannot be made at all."""
    files: int = 64
    """Open at a time."""
    file_bytes: int = 16 << 20
    """Size of one file. All files of a job together have 64 MB, where it has its own mount."""

    def caps(self, count_threads: bool) -> Caps:
        """Those the kernel keeps. ``count_threads``: whether it counts this job's threads alone."""
        threads = self.processes + 64 if count_threads else 0  # a bound on bombs
        cpu_seconds = int(self.job_seconds) + 2
        return Caps(cpu_seconds, self.memory_bytes, self.file_bytes, self.files, threads)


@dataclass(frozen=True)
class Job:
    """A program and the calls to make of one of its functions. Never what they should return."""

    program: str
    entry_point: str
    calls: Sequence[bytes]
    """Each an encoded tuple of arguments, ``values.encode(arguments)``."""
    limits: Limits = Limits()


@dataclass(frozen=True)
class Returned:
    """What came of one call. ``value`` and ``error`` are the program's word: data, not to be trusted.

    ======================  ==========================================================================
    status
    ======================  ==========================================================================
    ``returned``            ``value`` is what ``values.decode`` reads (it may still refuse to)
    ``raised``              ``error`` is the class of the exception; SystemExit is one. The job goes on
                            with the next call, unless the program itself raised: then all calls have
                            this status
    ``unencodable``         it returned something that is not plain data
    ``output_limit``        the encoded value is over a limit
    ``timeout``             over ``seconds``, or the job over ``job_seconds``; the job was killed
    ``died``                the process ended (exit, crash, memory), or was killed at an earlier call
                            (``error`` says which way, for people)
    ======================  ==========================================================================
    """

    index: int
    status: Status
    value: bytes | None
    error: str | None
    seconds: float
    """Wall clock from sending the arguments to reading the value."""


_STATUS: dict[int, Status] = {
    runner.RETURNED: "returned",
    runner.RAISED: "raised",
    runner.UNENCODABLE: "unencodable",
    runner.OUTPUT_LIMIT: "output_limit",
}


class Attempt:
    """A job under way, from the call ``first`` on."""

    def __init__(self, number: int, job: Job, first: int = 0) -> None:
        self.number = number
        self.job = job
        self.next = first
        """The call that is open, or the first one while the program itself is."""
        self.over = False
        """No question is open any more: every call has its result, or was not wanted."""
        self.answered = False
        """The open question has its answer; ``ask`` the next one."""
        self.began = self.asked_at = 0.0
        self._loading = True
        self._name = runner.NO_CALL
        self._buffer = bytearray()
        self._bytes = 0

    def begin(self, now: float) -> bytes:
        """The first message: the program."""
        self.began = now
        text = runner.program_message(
            self.job.entry_point, self.job.program, self.job.limits.frame_bytes
        )
        return self._ask(runner.PROGRAM, text, now)

    @property
    def deadline(self) -> float:
        limits = self.job.limits
        return min(self.asked_at + limits.seconds, self.began + limits.job_seconds)

    def feed(self, data: bytes, now: float) -> list[Returned]:
        """Results that these bytes complete: none or one; all that are left, if they end the job."""
        self._buffer += data
        if len(self._buffer) < runner.HEAD.size:
            return []
        kind, name, size = runner.HEAD.unpack_from(self._buffer)
        if name != self._name or kind not in _STATUS:
            return self.fail("died", "wrote to the channel of results", now)
        allowed = min(self.job.limits.frame_bytes, self.job.limits.job_bytes - self._bytes)
        if size > allowed:
            return self.fail("output_limit", None, now)
        missing = runner.HEAD.size + size - len(self._buffer)
        if missing > 0:
            return []
        if missing < 0:
            return self.fail("died", "wrote to the channel of results", now)
        payload = bytes(memoryview(self._buffer)[runner.HEAD.size :])
        self._buffer = bytearray()
        self._bytes += size
        return self._answered(_STATUS[kind], payload, now)

    def ask(self, now: float) -> bytes | None:
        """The next call to send, once the last question was answered; None when there is none."""
        if self.next >= len(self.job.calls):
            self.over = True
            return None
        return self._ask(runner.CALL, self.job.calls[self.next], now)

    def fail(self, status: Status, error: str | None, now: float) -> list[Returned]:
        """The job ends here: ``status`` for the open call (all calls, if the program itself was
        running), ``died`` for those after it."""
        if self.over:
            return []
        self.over = True
        first = self.next
        after = f"after {error or status}"
        return [
            Returned(i, status, None, error, now - self.asked_at)
            if i == first or self._loading
            else Returned(i, "died", None, after, 0.0)
            for i in range(first, len(self.job.calls))
        ]

    def _ask(self, kind: int, data: bytes, now: float) -> bytes:
        self._name = os.urandom(8)
        self.answered = False
        self.asked_at = now
        return runner.HEAD.pack(kind, self._name, len(data)) + data

    def _answered(self, status: Status, payload: bytes, now: float) -> list[Returned]:
        error = payload[:100].decode("utf-8", "replace") if status == "raised" else None
        if self._loading:
            if status != "returned":
                return self.fail(status, error, now)
            self._loading = False
            self.answered = True
            return []
        value = payload if status == "returned" else None
        index, self.next = self.next, self.next + 1
        self.answered = True
        return [Returned(index, status, value, error, now - self.asked_at)]
