"""The loop over all workers: hand out jobs, ask call after call, keep the time, bury what ended.

free seat ── begin: program ──> run ── answer ──> ask the next call
                                 │ last answer, or receive said stop ──> end, prepare the next child
                                 │ no answer in time, broken rule ─────> end, results say why
                                 │ channel closed ─────> end, ask the worker how it died
                                 └ worker gone ────────> another worker, once; else infrastructure
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diffucode.execution import runner, zygote
from diffucode.execution.attempt import Attempt, Job, Returned
from diffucode.execution.pool import Channel, Pool, Run, Seat
from diffucode.execution.worker import Cell

JOBS_A_WORKER = 1000
"""Then it is replaced: nothing is known to wear out, and nothing has to."""
GRACE_SECONDS = 10.0
"""A worker that takes longer to seal a child, or to bury one, is replaced."""
OVERTIME_SECONDS = 10.0
"""After ``job_seconds``, a worker kills a job by itself: the caller holds the loop up."""
WATCH_SECONDS = 0.05
"""Between two looks at the clock and at the number of threads."""
_READ_BYTES = 1 << 18

Receive = Callable[[int, Returned], bool | None]


@dataclass(frozen=True)
class Done:
    """A job has ended."""

    job: int
    """Its number among the jobs given to ``run``, from 0."""
    infrastructure: str | None
    """Why the sandbox could not run it, after two attempts on different workers: not the program's
    fault, as far as can be known, and so neither a pass nor a failure. Calls reported before stay
    true. None when all went well, whatever the program did."""
    stdout: bytes
    """The first ``stdout_bytes`` of what was printed by the end of its last call, or its death."""
    stderr: bytes
    seconds: float
    """Wall clock from handing the program over to its end."""


class Supervisor:
    """One call of ``Sandbox.run``."""

    def __init__(self, pool: Pool, receive: Receive) -> None:
        self._pool = pool
        self._receive = receive
        self._again: deque[Attempt] = deque()
        self._retried: set[int] = set()
        self._done: deque[Done] = deque()

    def run(self, jobs: Iterator[Job]) -> Iterator[Done]:
        numbered = enumerate(jobs)
        self._pool.fill()
        while self._assign(numbered) or not all(seat.quiet for seat in self._pool.seats):
            events = self._pool.selector.select(WATCH_SECONDS)
            now = time.monotonic()  # what arrives while the caller works on these is not late
            for key, _ in events:
                if self._pool.selector.get_map().get(key.fd) is key:  # not closed a moment ago
                    self._handle(key.data)
            for seat in list(self._pool.seats):
                self._watch(seat, now)
            while self._done:
                yield self._done.popleft()
            self._pool.fill()

    # --- handing out -------------------------------------------------------------------------

    def _assign(self, numbered: Iterator[tuple[int, Job]]) -> bool:
        """Give every free worker a job; whether any is under way."""
        for seat in self._pool.seats:
            if not seat.free:
                continue
            if self._again:
                self._begin(seat, self._again.popleft())
            elif (pair := next(numbered, None)) is not None:
                self._begin(seat, Attempt(*pair))
        return any(seat.run for seat in self._pool.seats) or bool(self._again)

    def _begin(self, seat: Seat, attempt: Attempt) -> None:
        caps = self._pool.caps(attempt.job.limits)
        cell = seat.worker.cell
        if cell is not None and cell.caps != caps:
            self._bury(seat, cell)
            cell = None
        try:
            if cell is None:
                cell = self._pool.prepare(seat, caps)
            seat.worker.begin(attempt.job.limits.job_seconds + OVERTIME_SECONDS)
        except OSError:
            self._again.append(attempt)
            self._lose(seat, "the worker is gone")
            return
        seat.run = Run(attempt, cell)
        self._pool.listen(seat, cell)
        self._send(seat, seat.run, attempt.begin(time.monotonic()))

    def _send(self, seat: Seat, run: Run, message: bytes) -> None:
        run.pending = bytes(run.pending) + message if run.pending else message
        self._write(seat, run)

    def _write(self, seat: Seat, run: Run) -> None:
        try:
            while run.pending:
                written = os.write(run.cell.source, run.pending)
                run.pending = memoryview(run.pending)[written:]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # its results channel closes as well
            run.pending = b""
        self._pool.await_room(seat, run.cell, bool(run.pending))

    # --- what arrives ------------------------------------------------------------------------

    def _handle(self, channel: Channel) -> None:
        seat, run = channel.seat, channel.seat.run
        if channel.name == "control":
            self._hear(seat)
        elif channel.name == "result":
            self._read_result(seat)
        elif run is None:
            raise AssertionError(f"{channel.name} of no run is watched")
        elif channel.name == "source":
            self._write(seat, run)
        else:
            self._read_print(run, channel.name)

    def _read_result(self, seat: Seat) -> None:
        cell, run = seat.worker.cell, seat.run
        assert cell is not None
        data = _read(cell.result)
        now = time.monotonic()
        if not cell.ready:
            head, data = data[: runner.HEAD.size], data[runner.HEAD.size :]
            if head != _READY_FRAME:
                reason = data.decode("utf-8", "replace") or "a child ended before it was sealed"
                return self._lose(seat, reason)
            cell.ready = True
            if run is not None:
                run.attempt.asked_at = now
            if not data:
                return None
        if run is None:
            return self._lose(seat, "a child ended before it had a program")
        if not data:
            run.lost = True
            return self._end(seat, run)
        return self._take(seat, run, run.attempt.feed(data, now), now)

    def _take(self, seat: Seat, run: Run, results: list[Returned], now: float) -> None:
        """Pass results on; then the next question, or the end."""
        attempt = run.attempt
        for returned in results:
            if self._receive(attempt.number, returned) is False:
                attempt.over = True
                break
        if not attempt.over and attempt.answered:
            message = attempt.ask(time.monotonic())
            if message is not None:
                self._send(seat, run, message)
        if attempt.over:
            self._end(seat, run)

    def _read_print(self, run: Run, name: str) -> None:
        handle = run.cell.output if name == "output" else run.cell.errors
        if not _collect(handle, run.printed[name], run.attempt.job.limits.stdout_bytes):
            self._pool.ignore(handle)

    def _hear(self, seat: Seat) -> None:
        """What the worker itself says."""
        try:
            message, handles, _, _ = socket.recv_fds(seat.worker.control, 256, 4)
        except BlockingIOError:
            return
        except OSError:
            message, handles = b"", []
        kind, rest = message[:1], message[1:]
        if kind == zygote.FORKED and len(handles) == 1:
            (pidfd,) = handles
            cell = seat.worker.cell
            if cell is not None and cell.pidfd < 0 and not seat.ending:
                cell.pidfd = pidfd
            else:
                os.close(pidfd)
        elif kind == zygote.ENDED and seat.ending:
            self._buried(seat, *zygote.EXIT.unpack(rest))
        else:
            for handle in handles:
                os.close(handle)
            self._lose(seat, "the worker ended")

    # --- ending ------------------------------------------------------------------------------

    def _watch(self, seat: Seat, now: float) -> None:
        """Time and threads."""
        run, cell = seat.run, seat.worker.cell
        if any(isinstance(one, Run) and _late(one.ended_at, now) for one in seat.ending):
            return self._lose(seat, f"a child was not buried in {GRACE_SECONDS:.0f} s")
        if run is None or cell is None:
            return None
        attempt, limits = run.attempt, run.attempt.job.limits
        if not cell.ready:
            if _late(attempt.began, now):
                return self._lose(seat, f"a child was not sealed in {GRACE_SECONDS:.0f} s")
            return None
        if now > attempt.deadline:
            self._take(seat, run, attempt.fail("timeout", None, now), now)
        elif now > (run.counted_at or attempt.began) + WATCH_SECONDS:
            run.counted_at = now
            if cell.threads() > limits.processes:
                self._take(seat, run, attempt.fail("died", "too many threads", now), now)
        return None

    def _end(self, seat: Seat, run: Run) -> None:
        """The run needs its process no more; meanwhile the next child gets ready."""
        run.ended_at = time.monotonic()
        seat.run = None
        caps = run.cell.caps
        if not self._bury(seat, run):
            self._lose(seat, "the worker is gone")
        elif not run.lost and seat.worker.jobs < JOBS_A_WORKER:
            with contextlib.suppress(OSError):
                self._pool.prepare(seat, caps)

    def _bury(self, seat: Seat, what: Run | Cell) -> bool:
        """Ask the worker to kill and reap its child."""
        self._pool.forget(what.cell if isinstance(what, Run) else what)
        seat.worker.cell = None
        seat.ending.append(what)
        try:
            seat.worker.end(dying=isinstance(what, Run) and what.lost)
        except OSError:
            return False
        return True

    def _buried(self, seat: Seat, status: int, cpu_seconds: float, cause: int) -> None:
        """The first of the ending is no more, and nothing of it can write to us."""
        what = seat.ending.pop(0)
        if isinstance(what, Cell):
            what.close()
            return
        if what.lost:
            self._explain(what, status, cpu_seconds, cause)
        else:
            self._finish(what, None)
        if seat.worker.jobs >= JOBS_A_WORKER and seat.run is None and not seat.ending:
            self._pool.discard(seat)

    def _explain(self, run: Run, status: int, cpu_seconds: float, cause: int) -> None:
        """A job stopped answering: say how it ended."""
        attempt, now = run.attempt, time.monotonic()
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if cause == zygote.TOLD:
            results = attempt.fail("died", "closed the channel of results", now)
        elif cause == zygote.OVERDUE or (
            number == signal.SIGKILL and cpu_seconds > run.cell.caps.cpu_seconds - 0.5
        ):
            results = attempt.fail("timeout", None, now)
        elif number == signal.SIGKILL:  # a job cannot do that to itself
            self._retry(run, "killed from outside; the machine may be out of memory")
            return
        elif number:
            results = attempt.fail("died", signal.Signals(number).name, now)
        else:
            results = attempt.fail("died", f"exit code {os.WEXITSTATUS(status)}", now)
        for returned in results:
            if self._receive(attempt.number, returned) is False:
                break
        self._finish(run, None)

    def _finish(self, run: Run, infrastructure: str | None) -> None:
        """Nobody writes to its pipes any more."""
        for handle, name in ((run.cell.output, "output"), (run.cell.errors, "errors")):
            while handle >= 0 and _collect(
                handle, run.printed[name], run.attempt.job.limits.stdout_bytes
            ):
                continue
        run.cell.close()
        seconds = (run.ended_at or time.monotonic()) - run.attempt.began
        printed = bytes(run.printed["output"]), bytes(run.printed["errors"])
        self._done.append(Done(run.attempt.number, infrastructure, *printed, seconds))

    def _retry(self, run: Run, reason: str) -> None:
        attempt = run.attempt
        if attempt.number in self._retried:
            self._finish(run, reason)
            return
        run.cell.close()
        self._retried.add(attempt.number)
        self._again.append(Attempt(attempt.number, attempt.job, attempt.next))

    def _lose(self, seat: Seat, reason: str) -> None:
        """Replace a worker that cannot be trusted to work; its job gets another chance."""
        runs = [one for one in seat.ending if isinstance(one, Run)]
        if seat.run is not None:
            runs.append(seat.run)
        seat.run = None
        cells = [one for one in seat.ending if isinstance(one, Cell)]
        seat.ending = list(cells)
        for run in runs:
            self._pool.forget(run.cell)
            if run.attempt.over:
                self._finish(run, None)
            else:
                self._retry(run, reason)
        self._pool.discard(seat)


_READY_FRAME = runner.HEAD.pack(runner.READY, runner.NO_CALL, 0)


def _late(since: float | None, now: float) -> bool:
    return since is not None and now > since + GRACE_SECONDS


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, _READ_BYTES)
    except BlockingIOError:
        raise AssertionError("a pipe that select found readable is empty") from None


def _collect(handle: int, into: bytearray, limit: int) -> bool:
    """Read once, keep up to the limit, drop the rest; False at the end of the pipe, or for now."""
    try:
        data = os.read(handle, _READ_BYTES)
    except BlockingIOError:
        return False
    into += data[: max(0, limit - len(into))]
    return bool(data)
