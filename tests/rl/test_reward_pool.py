"""Rewards beside decoding: in order, without waiting, with every error, and gone when it is closed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from diffucode.errors import SandboxError, TaskError
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.rl.graded import GradedProblem
from diffucode.rl.reward_pool import RewardPool
from diffucode.rl.rewards import Diversity, PassRate, Reward, Sample
from diffucode.tasks.problem import Case

PROBLEM = GradedProblem("twice", "Double it.", "f", tuple(Case((x,), 2 * x) for x in range(3)))
PROBLEMS = {"twice": PROBLEM}
REWARD = Reward((PassRate(),), limits=Limits(seconds=1.0, job_seconds=10.0))
HANGS = "def f(x):\n    while True: pass\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, tier="strongest") as sandbox:
        yield sandbox


def group(*programs: str) -> list[Sample]:
    return [Sample("twice", p, p, "length", "continuation") for p in programs]


def times(n: int) -> str:
    return f"def f(x):\n    return {n} * x\n"


def totals(pool: RewardPool) -> list[float | None]:
    return [one.total for one in pool.collect()]


def test_groups_come_back_in_the_order_of_submission(sandbox: Sandbox) -> None:
    with RewardPool(REWARD, sandbox, PROBLEMS) as pool:
        slow = "def f(x):\n    while x == 1: pass\n    return 2 * x\n"
        for programs in ((slow, times(2)), (times(3),), (times(2), times(2)), ()):
            pool.submit(group(*programs))
        assert len(pool) == 4
        assert totals(pool) == [pytest.approx(2 / 3), 1.0]
        assert pool.waited > 0.5  # for the test that hangs: submitting did not wait
        assert totals(pool) == [pytest.approx(1 / 3)]
        assert totals(pool) == [1.0, 1.0]
        assert totals(pool) == [] and len(pool) == 0


def test_groups_that_run_together_are_still_apart(sandbox: Sandbox) -> None:
    with RewardPool(replace(REWARD, parts=(Diversity(),)), sandbox, PROBLEMS) as pool:
        pool.submit(group(HANGS.replace("True", "x == 1")))  # the next two wait behind it
        for _ in range(2):
            pool.submit(group(times(2)))
        pool.collect()
        assert totals(pool) == totals(pool) == [1.0]


class Scripted(Reward):
    """A reward that waits to be let go, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "gate", threading.Event())
        object.__setattr__(self, "sizes", [])

    def score(self, sandbox: Any, problems: Any, groups: Any, between: Any = None) -> Any:
        self.sizes.append(len(groups))
        self.gate.wait(10)
        if any(sample.program == "bad" for group in groups for sample in group):
            raise RuntimeError("a bug in a reward")
        return [[] for _ in groups]


def test_what_waits_is_run_together(sandbox: Sandbox) -> None:
    reward = Scripted()
    with RewardPool(reward, sandbox, PROBLEMS) as pool:
        pool.submit(group("x"))
        while not reward.sizes:
            time.sleep(0.001)
        for _ in range(3):
            pool.submit(group("x"))
        reward.gate.set()
        for _ in range(4):
            pool.collect()
        assert reward.sizes == [1, 3]


def test_an_error_comes_out_where_its_group_is_collected(sandbox: Sandbox) -> None:
    reward = Scripted()
    reward.gate.set()
    with RewardPool(reward, sandbox, PROBLEMS) as pool:
        pool.submit(group("fine"))
        assert pool.collect() == []
        pool.submit(group("bad"))
        with pytest.raises(RuntimeError, match="a bug in a reward"):
            pool.collect()
        pool.submit(group("fine"))
        assert pool.collect() == []


def test_a_sandbox_that_is_closed_is_an_error_and_no_zero() -> None:
    with Sandbox(workers=1, tier="strongest") as closed:
        pass
    with RewardPool(REWARD, closed, PROBLEMS) as pool:
        pool.submit(group(times(2)))
        with pytest.raises(SandboxError, match="closed"):
            pool.collect()


def test_what_cannot_be_scored_is_refused_at_the_door(sandbox: Sandbox) -> None:
    with RewardPool(REWARD, sandbox, PROBLEMS) as pool:
        with pytest.raises(TaskError, match="'nobody'"):
            pool.submit([group(times(2))[0]._replace(problem="nobody")])
        with pytest.raises(TaskError, match="no group to collect"):
            pool.collect()


def test_leaving_ends_what_runs_and_frees_the_sandbox(sandbox: Sandbox) -> None:
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), RewardPool(REWARD, sandbox, PROBLEMS) as pool:
        pool.submit(group(*(f"{HANGS}# {n}\n" for n in range(8))))  # three tests each: 24 s
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert time.perf_counter() - began < 8.0
    assert not [t for t in threading.enumerate() if t.name.startswith("rewards")]
    (one,) = REWARD.score(sandbox, PROBLEMS, [group(times(2))])[0]
    assert one.total == 1.0
    pool.close()
    with pytest.raises(SandboxError, match="closed"):
        pool.submit(group(times(2)))
    with pytest.raises(SandboxError, match="closed"):
        pool.collect()
