"""What the graded tests say of programs, each test for itself.

    round 1   test 0 passed   test 1 timeout   (2 and 3 died with the process)
    round 2                                    test 2 passed   test 3 passed

A process that hangs or ends takes the tests behind it along; they run again in a new one, so that a test
costs nothing but itself. (The published script is ended by the first test that hangs, and the completion
gets nothing: apple/ml-diffucoder, rewards.py.) ``limits.job_seconds`` is for all rounds of a program
together; tests that it does not reach are ``timeout``.

The other verdicts are those of ``execution.checks``, with ``unparsed`` for every test of a program that is
not valid Python: it is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from diffucode.execution.checks import Report, Submission, stream
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.rl.graded import GradedProblem
from diffucode.tasks.extract import parses

Key = tuple[str, str]
"""A problem's id and a program."""


class Ran(NamedTuple):
    """What came of a program."""

    verdicts: tuple[str, ...]
    """One a test, in their order; none where it is ``lost``."""
    lost: str | None = None
    """Why the sandbox could not do its work: no verdict, and never a zero."""


def go_on() -> None:
    """Nothing ends the programs before their time."""


def run(
    sandbox: Sandbox,
    problems: Mapping[str, GradedProblem],
    programs: Iterable[Key],
    *,
    limits: Limits,
    retries: int,
    between: Callable[[], None] = go_on,
) -> dict[Key, Ran]:
    """Each different program of a problem is run once.

    After an infrastructure failure it is tried ``retries`` times more. ``between`` is called as
    programs end; what it raises ends those under way and is raised here.
    """
    all_runs = {
        (id, program): _Run.of(problems[id], program, limits, retries)
        for id, program in dict.fromkeys(programs)
    }
    while pending := [one for one in all_runs.values() if one.open]:
        submissions = [one.submission() for one in pending]
        for number, report in stream(sandbox, submissions):
            pending[number].take(report)
            between()
    return {key: one.result() for key, one in all_runs.items()}


@dataclass
class _Run:
    """A program and what is known of its tests."""

    problem: GradedProblem
    program: str
    limits: Limits
    retries: int
    found: list[str | None]
    seconds: float = 0.0
    lost: str | None = None

    @classmethod
    def of(cls, problem: GradedProblem, program: str, limits: Limits, retries: int) -> _Run:
        known = None if parses(program) else "unparsed"
        found = [known] * len(problem.tests)
        return cls(problem, program, problem.limits or limits, retries, found)

    @property
    def open(self) -> list[int]:
        """The tests that have to run."""
        return [] if self.lost else [i for i, one in enumerate(self.found) if one is None]

    def submission(self) -> Submission:
        asked = self.open
        tests = (
            self.problem.tests
        )  # the same object: its arguments are encoded once for all programs
        if len(asked) < len(tests):
            tests = tuple(tests[i] for i in asked)
        left = replace(self.limits, job_seconds=self.limits.job_seconds - self.seconds)
        return Submission(self.program, self.problem.entry_point, tests, left)

    def take(self, report: Report) -> None:
        if report.infrastructure is not None:
            self.retries -= 1
            self.lost = report.infrastructure if self.retries < 0 else None
            return
        asked = self.open
        self.seconds += report.seconds
        over = self.seconds >= self.limits.job_seconds
        for first, index, verdict in zip(
            [True, *[False] * len(asked)], asked, report.results, strict=False
        ):
            # Of a process that ended early only the first test is known to have been its own end.
            mine = first or verdict != "died"
            self.found[index] = verdict if mine else "timeout" if over else None

    def result(self) -> Ran:
        if self.lost:
            return Ran((), self.lost)
        return Ran(tuple(verdict or "died" for verdict in self.found))
