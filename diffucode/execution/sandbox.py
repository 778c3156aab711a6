"""Run programs nobody has read, and hear what their functions returned.

    jobs ──> Sandbox ──┬── worker ── fork, seal ── program, call 0, call 1, ...
                       └── worker ── fork, seal ── ...
    receive(job, Returned)  <── one frame a call, as it arrives          Done  <── as jobs end

The expected answers are never here: whoever compares sits behind ``receive``. A program can therefore
say anything about its own results and gains nothing by it; what the walls must ensure is that it can do
nothing else: reach the machine, another call, another job, or more time.

The supervisor is one loop in the thread that iterates ``run``. It holds one frame a worker in memory.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Literal

from diffucode.errors import SandboxError
from diffucode.execution.attempt import Job, Limits, Returned, Status
from diffucode.execution.pool import Pool
from diffucode.execution.supervisor import Done, Receive, Supervisor
from diffucode.execution.tiers import ISOLATING, TIERS, Tier

__all__ = ["Done", "Job", "Limits", "Receive", "Returned", "Sandbox", "Status", "Tier"]


class Sandbox:
    """Workers, ready to run jobs; a context manager. Use it from one thread at a time, any thread.

    ``tier`` is the isolation that is required (``tiers.py``); ``"strongest"`` takes the strongest that
    holds on this machine. One without isolation is used only with ``allow_unsafe``. Raises SandboxError
    when the tier does not hold here; the message says which would.
    """

    def __init__(
        self,
        workers: int | None = None,
        tier: Tier | Literal["strongest"] = "bubblewrap",
        *,
        allow_unsafe: bool = False,
    ) -> None:
        if sys.platform != "linux":
            raise SandboxError(f"the sandbox needs Linux, this is {sys.platform}")
        count = len(os.sched_getaffinity(0)) if workers is None else workers
        if count < 1:
            raise SandboxError(f"workers: expected at least 1, got {workers}")
        if tier not in (*TIERS, "strongest"):
            raise SandboxError(
                f"tier: expected one of {', '.join(TIERS)} or strongest, got {tier!r}"
            )
        if tier == "rlimits" and not allow_unsafe:
            raise SandboxError(
                "the tier rlimits does not isolate: programs could read your files and use your "
                "network; to run them all the same, say allow_unsafe=True"
            )
        self._busy = threading.Lock()
        self._pool = (
            _strongest(count, allow_unsafe) if tier == "strongest" else _exactly(tier, count)
        )
        self.tier: Tier = self._pool.tier

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """How many jobs run at once."""
        return self._pool.count

    def close(self) -> None:
        """End all workers and what runs in them. Nothing happens the second time."""
        self._pool.close()

    def run(self, jobs: Iterable[Job], receive: Receive) -> Iterator[Done]:
        """Run jobs, as many at a time as there are workers; yields each job's end, in any order.

        ``receive(number of the job, result)`` is called for each call in order, in the thread that
        iterates, as the result arrives; when it returns False the job ends there. ``jobs`` is read
        lazily. Time that the caller takes between two jobs is not charged to a program whose result
        is waiting; only ``job_seconds`` runs on. A worker that fails is replaced and its job tried once
        more, from the call that was open. Closing the iterator kills the jobs under way.

        Raises SandboxError when the sandbox is closed or runs elsewhere, or no worker can be started.
        """
        if not self._busy.acquire(blocking=False):
            raise SandboxError("this sandbox is running other jobs; give each thread its own")
        try:
            if self._pool.closed:
                raise SandboxError("this sandbox is closed")
            yield from Supervisor(self._pool, receive).run(iter(jobs))
        finally:
            for seat in [seat for seat in self._pool.seats if not seat.quiet]:
                self._pool.discard(seat)
            self._busy.release()


def _strongest(count: int, allow_unsafe: bool) -> Pool:
    reasons = []
    for tier in TIERS if allow_unsafe else ISOLATING:
        try:
            return _proven(tier, count)
        except SandboxError as error:
            reasons.append(f"{tier}: {error}")
    raise SandboxError(f"no tier holds here ({'; '.join(reasons)}); {_LAST_RESORT}")


def _exactly(tier: Tier, count: int) -> Pool:
    try:
        return _proven(tier, count)
    except SandboxError as error:
        refused = f"the tier {tier} does not hold here: {error}"
    for weaker in ISOLATING[ISOLATING.index(tier) + 1 :] if tier in ISOLATING else ():
        try:
            _proven(weaker, 1).close()
        except SandboxError as error:
            refused += f"; nor does {weaker}: {error}"
        else:
            raise SandboxError(f"{refused}; a weaker one does, if you ask for it: tier={weaker!r}")
    raise SandboxError(f"{refused}; {_LAST_RESORT}")


_LAST_RESORT = (
    "programs that you would run by hand can be run without isolation: "
    "tier='rlimits', allow_unsafe=True"
)


def _proven(tier: Tier, count: int) -> Pool:
    """Workers that have run a job. Raises SandboxError with the reason why this tier does not hold."""
    pool = Pool(tier, count)
    try:
        pool.fill()
        nothing = Job("def nothing(): pass", "nothing", [])
        for done in Supervisor(pool, lambda job, returned: None).run(iter([nothing] * count)):
            if done.infrastructure is not None:
                raise SandboxError(done.infrastructure)
    except BaseException:
        pool.close()
        raise
    return pool
