"""The sandbox against EvalPlus' own checker, on the same trivial programs.

::

    jobs_per_second      all workers busy, one job a program, one call a job
    median_ms            one job at a time, from handing it over to its end
    evalplus_median_ms   evalplus.eval.untrusted_check on the same programs, in turns with the above
    cold_ms              from nothing to workers that have run a job
    calls_per_second     more calls of one job: what a test costs beside its process

Times are wall clock: on a machine that does other work only ratios mean something. EvalPlus forks this
process for each check; it holds no model here, and a training process would make that fork dearer.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import typer
from evalplus.eval import untrusted_check

from diffucode.execution.sandbox import Job, Returned, Sandbox, Tier
from diffucode.execution.values import encode


@dataclass(frozen=True)
class Sizes:
    """What a run of this script measures."""

    jobs: int
    singles: int
    calls: int


FULL = Sizes(jobs=2000, singles=101, calls=5000)
QUICK = Sizes(jobs=400, singles=31, calls=1000)


@dataclass(frozen=True)
class Report:
    """The figures, in the order of the table above; the rest says on what."""

    jobs_per_second: float
    median_ms: float
    evalplus_median_ms: float
    cold_ms: float
    calls_per_second: float
    workers: int
    tier: str
    machine: str

    @property
    def ratio(self) -> float:
        return self.evalplus_median_ms / self.median_ms


def program(number: int) -> str:
    return f"def f(x):\n    return x + {number}\n"


def job(number: int, calls: int = 1) -> Job:
    return Job(program(number), "f", [encode((1,))] * calls)


def run(sandbox: Sandbox, jobs: list[Job]) -> None:
    """All of them, and every call of theirs returns."""
    failed: list[Returned] = []

    def receive(number: int, one: Returned) -> None:
        if one.status != "returned":
            failed.append(one)

    ends = sum(1 for done in sandbox.run(jobs, receive) if done.infrastructure is None)
    assert ends == len(jobs) and not failed, (ends, failed[:3])


def evalplus(number: int) -> None:
    status, _ = untrusted_check(
        *("humaneval", program(number), [[1]], "f", [1 + number], 0, [0.01]),
        fast_check=True,
        min_time_limit=4.0,
    )
    assert status == "pass", status


def seconds(action: Callable[[], None]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(sizes: Sizes, workers: int | None, tier: Tier) -> Report:
    begin = time.perf_counter()
    with Sandbox(workers, tier) as sandbox:
        cold = time.perf_counter() - begin
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(sizes.singles):
            turns = [
                (ours, lambda n=number: run(sandbox, [job(n)])),
                (theirs, lambda n=number: evalplus(n)),
            ]
            for times, action in turns if number % 2 else reversed(turns):
                times.append(seconds(action))
        many = [job(number) for number in range(sizes.jobs)]
        busy = seconds(lambda: run(sandbox, many))
        calling = seconds(lambda: run(sandbox, [job(0, sizes.calls)]))
    return Report(
        jobs_per_second=round(sizes.jobs / busy, 1),
        median_ms=round(1000 * median(ours), 2),
        evalplus_median_ms=round(1000 * median(theirs), 2),
        cold_ms=round(1000 * cold, 1),
        calls_per_second=round(sizes.calls / calling, 1),
        workers=sandbox.workers,
        tier=sandbox.tier,
        machine=platform.machine(),
    )


def main(
    quick: Annotated[bool, typer.Option(help="Fewer jobs.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, nothing else.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="One a core by default.")] = None,
    tier: Annotated[str, typer.Option(help="bubblewrap or namespaces.")] = "bubblewrap",
    shrink: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Time the sandbox, and EvalPlus' checker beside it."""
    sizes = Sizes(jobs=4, singles=2, calls=4) if shrink else QUICK if quick else FULL
    report = measure(sizes, workers, tier)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(report.__dict__))
        return
    print(f"{report.jobs_per_second:8.0f} jobs/s with {report.workers} workers ({report.tier})")
    print(f"{report.median_ms:8.2f} ms a job, median")
    print(f"{report.evalplus_median_ms:8.2f} ms in EvalPlus, median: {report.ratio:.1f} times that")
    print(f"{report.calls_per_second:8.0f} calls/s of one job")
    print(f"{report.cold_ms:8.0f} ms from nothing to the first job")


if __name__ == "__main__":
    typer.run(main)
