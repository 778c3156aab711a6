"""Programs to outcomes: what the sandbox says of the samples of each problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from diffucode.execution.checks import Submission, check
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.problems import Known
from diffucode.metrics.outcomes import Outcome
from diffucode.tasks.extract import parses
from diffucode.tasks.problem import Problem
from diffucode.tasks.syntax import canonical


class Verdict(NamedTuple):
    """Which sets of tests a program passes."""

    reward: bool
    plus: bool


Verdicts = dict[tuple[str, str], Verdict | None]
"""By (problem's id, program); None where the sandbox could not do its work."""


def judge(
    sandbox: Sandbox, problems: Sequence[Known], programs: Mapping[str, Sequence[str]]
) -> list[Outcome | None]:
    """The outcome of each problem, from its programs by its id; equal programs are run once.

    None where the sandbox failed on one of them: that is no zero.
    """
    verdicts = verdicts_of(sandbox, problems, programs)
    return [
        _outcome(
            problem, [(program, verdicts[problem.id, program]) for program in programs[problem.id]]
        )
        for problem, _ in problems
    ]


def verdicts_of(
    sandbox: Sandbox, problems: Sequence[Known], programs: Mapping[str, Sequence[str]]
) -> Verdicts:
    """Of each different program of each problem; one that is not valid Python passes nothing, and is not
    run."""
    verdicts: Verdicts = {}
    run: list[tuple[str, str]] = []
    submissions: list[Submission] = []
    for problem, tests in problems:
        for program in dict.fromkeys(programs[problem.id]):
            verdicts[problem.id, program] = Verdict(False, False)
            if parses(program):
                run.append((problem.id, program))
                submissions += [
                    Submission(program, problem.entry_point, cases)
                    for cases in (tests.reward, tests.plus)
                ]
    reports = check(sandbox, submissions, fail_fast=True)
    for key, reward, plus in zip(run, reports[::2], reports[1::2], strict=True):
        failed = reward.infrastructure is not None or plus.infrastructure is not None
        verdicts[key] = None if failed else Verdict(reward.passed, plus.passed)
    return verdicts


def _outcome(problem: Problem, samples: Sequence[tuple[str, Verdict | None]]) -> Outcome | None:
    known = [(program, verdict) for program, verdict in samples if verdict is not None]
    if len(known) < len(samples):
        return None
    right = [program for program, verdict in known if verdict.plus]
    return Outcome(
        id=problem.id,
        signature=problem.signature,
        domain=problem.domain,
        band=problem.band,
        trap=problem.trap,
        n=len(known),
        valid=sum(parses(program) for program, _ in known),
        reward=sum(verdict.reward for _, verdict in known),
        plus=len(right),
        hollow=sum(verdict.reward and not verdict.plus for _, verdict in known),
        distinct=len({canonical(program) for program, _ in known} - {None}),
        distinct_right=len({canonical(program) for program in right}),
    )
