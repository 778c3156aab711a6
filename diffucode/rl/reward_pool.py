"""Rewards of the groups that are done, made while the next ones are decoded.

    caller   decode A   submit A   decode B   submit B   decode C   ...   collect A   collect B
    thread                         run A ───────────┐    run B ──┐
                                                    └────────────┴── in the order of submission

Programs run in the sandbox's own processes; the thread only waits for them and compares, so it takes
little from a decoder that is busy in torch. All groups that wait are run together, and no worker idles
while the last program of a group hangs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

from diffucode.errors import SandboxError, TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.rl.graded import GradedProblem
from diffucode.rl.rewards import Reward, Sample, Scored, check_group


class _Task(NamedTuple):
    group: Sequence[Sample]
    result: Future[list[Scored]]


class _Closed(Exception):
    """The pool was closed while programs ran."""


class RewardPool:
    """A queue of groups and the thread that works on it; a context manager.

    While it is open the sandbox is its own: nobody else may run jobs in it.
    """

    def __init__(
        self, reward: Reward, sandbox: Sandbox, problems: Mapping[str, GradedProblem]
    ) -> None:
        self.waited = 0.0
        """Seconds that ``collect`` waited: what rewards cost beyond the decoding beside them."""
        self._reward, self._sandbox, self._problems = reward, sandbox, problems
        self._waiting: deque[_Task] = deque()
        self._uncollected: deque[Future[list[Scored]]] = deque()
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(1, "rewards")

    def __enter__(self) -> RewardPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Groups that were submitted and not collected."""
        return len(self._uncollected)

    def submit(self, group: Sequence[Sample]) -> None:
        """Hand over the samples of one problem; returns at once.

        Raises TaskError on a group that ``Reward.score`` would refuse, SandboxError after ``close``.
        """
        if self._closed.is_set():
            raise SandboxError("this pool of rewards is closed; submit before leaving it")
        check_group(group, self._problems)
        task = _Task(group, Future())
        self._waiting.append(task)
        self._uncollected.append(task.result)
        self._thread.submit(self._work)

    def collect(self) -> list[Scored]:
        """The rewards of the oldest group that was not collected, in the order of its samples; waits.

        What the work on it raised is raised here, for each group that it concerns. Raises TaskError
        when no group is left, SandboxError after ``close``.
        """
        if self._closed.is_set():
            raise SandboxError("this pool of rewards is closed; collect before leaving it")
        if not self._uncollected:
            raise TaskError("no group to collect; submit one first")
        began = time.perf_counter()
        try:
            return self._uncollected.popleft().result()
        finally:
            self.waited += time.perf_counter() - began

    def close(self) -> None:
        """End what runs, forget what was not collected, wait for the thread. Nothing the second time."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)
        self._waiting.clear()
        self._uncollected.clear()

    def _work(self) -> None:
        """Everything that waits, at once; later calls for the same groups find nothing."""
        tasks = []
        while self._waiting:
            tasks.append(self._waiting.popleft())
        if not tasks:
            return
        groups = [task.group for task in tasks]
        try:
            found = self._reward.score(self._sandbox, self._problems, groups, self._go_on)
        except BaseException as error:
            for task in tasks:
                task.result.set_exception(error)
        else:
            for task, scored in zip(tasks, found, strict=True):
                task.result.set_result(scored)

    def _go_on(self) -> None:
        if self._closed.is_set():
            raise _Closed
