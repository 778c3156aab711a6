"""Run programs on tests, in the sandbox, and say of each test what came of it.

    submissions ── program, encoded arguments ──> sandbox ── encoded values ──> rules ──> Report

The expected values stay on this side. A test ends as one of

    passed          the call returned, and its rule holds
    failed          it returned something else, or something that is no plain data
    error:<Class>   it raised; the name is the program's own word
    timeout         it did not return in time
    output_limit    what it returned or printed was too much
    died            the process ended first (an exit of any code, a crash, memory), or was killed
                    at an earlier test
    not_run         an earlier test did not pass and ``fail_fast`` was asked for

An infrastructure failure (the sandbox could not do its work) is none of these: the report has no
verdicts to read then, and asking for them raises.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from diffucode.errors import SandboxError, TaskError
from diffucode.execution.asserts import Unsplit
from diffucode.execution.compare import OPAQUE, Anything, Check, Encoded, Same
from diffucode.execution.sandbox import Done, Job, Limits, Returned, Sandbox
from diffucode.execution.values import Undecodable, Unencodable, decode, encode
from diffucode.tasks.problem import Case

JUDGE_SECONDS = 5.0
"""CPU time for reading and comparing what one process returned; a value can be made to take seconds.
Then the process is killed, and its other tests count as ``died``."""

Test = Check | Unsplit | Case
"""A case is checked by EvalPlus' rules without a tolerance of its own."""


class Submission(NamedTuple):
    """One program and the tests it has to pass."""

    program: str
    entry_point: str
    tests: Sequence[Test]
    limits: Limits | None = None
    """Instead of those of the whole run."""


@dataclass(frozen=True)
class Report:
    """What came of one submission."""

    results: tuple[str, ...]
    """A verdict a test, in order; empty when ``infrastructure`` says why there is none."""
    infrastructure: str | None
    """Why the sandbox could not run the program, twice; None when it did."""
    gameable: bool
    """Whether a test ran whole beside the program, which may have tampered with it."""
    seconds: float
    """Wall clock inside the sandbox."""
    stdout: bytes
    """What the program printed, up to the limit."""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Raises SandboxError after an infrastructure failure: that is no verdict, and never a zero."""
        if self.infrastructure is not None:
            raise SandboxError(
                f"no verdict: {self.infrastructure}; drop this sample or check it again"
            )
        return self.results

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return all(verdict == "passed" for verdict in self.verdicts)

    @property
    def share(self) -> float:
        """The share of tests that passed."""
        return self.verdicts.count("passed") / len(self.verdicts)


def check(
    sandbox: Sandbox,
    submissions: Iterable[Submission],
    limits: Limits | None = None,
    *,
    fail_fast: bool = False,
) -> list[Report]:
    """A report for each submission, in their order."""
    reports = dict(stream(sandbox, submissions, limits, fail_fast=fail_fast))
    return [reports[number] for number in range(len(reports))]


def stream(
    sandbox: Sandbox,
    submissions: Iterable[Submission],
    limits: Limits | None = None,
    *,
    fail_fast: bool = False,
) -> Iterator[tuple[int, Report]]:
    """``(number of the submission, report)`` as they end, in any order.

    ``submissions`` is read as workers come free, so it may be long and lazy. ``fail_fast`` stops a
    program at its first test that does not pass. Raises TaskError on a submission without tests (every
    program would pass it) and on arguments that are no plain data.
    """
    running: dict[int, _Running] = {}

    def jobs() -> Iterator[Job]:
        tests: Sequence[Test] | None = None
        parts: list[_Part] = []
        for number, submission in enumerate(submissions):
            if submission.tests is not tests:  # the samples of a problem share its tests
                tests = submission.tests
                parts = _parts(tests)
            allowed = submission.limits or limits or Limits()
            for part in parts:
                running[len(running)] = _Running(number, part, len(parts))
                yield part.job(submission, allowed)

    def receive(job: int, returned: Returned) -> bool:
        one = running[job]
        start = time.thread_time()
        verdict = judge(one.part.checks[returned.index], returned)
        one.judging += time.thread_time() - start
        one.verdicts[returned.index] = verdict
        return one.judging < JUDGE_SECONDS and not (fail_fast and verdict != "passed")

    ended: dict[int, list[_Running]] = {}
    for done in sandbox.run(jobs(), receive):
        one = running[done.job]
        running[done.job] = _FORGOTTEN  # its place keeps the count
        one.done = done
        siblings = ended.setdefault(one.submission, [])
        siblings.append(one)
        if len(siblings) == one.siblings:
            yield one.submission, _report(ended.pop(one.submission), fail_fast)


def judge(check: Check, returned: Returned) -> str:
    """The verdict on one call."""
    match returned.status:
        case "returned":
            if _written_alike(check, returned.value):
                return "passed"
            try:
                got = decode(returned.value or b"")
            except Undecodable:
                return "failed"
        case "unencodable":
            got = OPAQUE
        case "raised":
            name = returned.error or ""
            return f"error:{name if name.isidentifier() and len(name) <= 80 else 'Exception'}"
        case status:
            return status
    expected = check.expected
    if isinstance(expected, Encoded):
        expected = decode(expected.data)
    try:
        holds = check.rule(got, expected, check.arguments)
    except Exception:  # a value of another type than the rule was made for
        return "failed"
    return "passed" if holds else "failed"


def _written_alike(check: Check, value: bytes | None) -> bool:
    """Equal without being read; only for the rule by which equal values are the same."""
    expected = check.expected
    return isinstance(expected, Encoded) and type(check.rule) is Same and value == expected.data


@dataclass(frozen=True)
class _Part:
    """The tests of a submission that run in one process."""

    positions: tuple[int, ...]
    """Their places among all tests."""
    checks: tuple[Check, ...]
    calls: tuple[bytes, ...]
    whole: Unsplit | None = None

    def job(self, submission: Submission, limits: Limits) -> Job:
        if self.whole is None:
            return Job(submission.program, submission.entry_point, self.calls, limits)
        program = f"{submission.program}\n\n\n{_WHOLE.format(source=self.whole.source)}"
        return Job(program, "_whole_test", self.calls, limits)


_WHOLE = """def _whole_test():
    exec(compile({source!r}, "test", "exec"), globals())
"""


def _parts(tests: Sequence[Test]) -> list[_Part]:
    if not tests:
        raise TaskError("a submission without tests: every program would pass it")
    apart: list[_Part] = []
    positions: list[int] = []
    checks: list[Check] = []
    for position, test in enumerate(tests):
        if isinstance(test, Unsplit):
            returned = Check((), None, Anything())
            apart.append(_Part((position,), (returned,), (encode(()),), test))
            continue
        if isinstance(test, Case):
            test = Check(test.arguments, test.expected, Same())
        positions.append(position)
        checks.append(test)
    if checks:
        together = _Part(tuple(positions), tuple(checks), tuple(map(_arguments, checks)))
        return [together, *apart]
    return apart


def _arguments(check: Check) -> bytes:
    try:
        return encode(tuple(check.arguments))
    except Unencodable as error:
        raise TaskError(
            f"a test with arguments {str(check.arguments)[:80]}: {error}; "
            "only plain data goes into the sandbox"
        ) from None


@dataclass
class _Running:
    submission: int
    part: _Part
    siblings: int
    """Parts of the submission."""
    judging: float = 0.0
    """CPU seconds spent on reading and comparing its values."""
    verdicts: dict[int, str] = field(default_factory=dict)
    done: Done | None = None


_FORGOTTEN = _Running(-1, _Part((), (), ()), 0)


def _report(parts: Sequence[_Running], fail_fast: bool) -> Report:
    results: dict[int, str] = {}
    reasons, seconds, stdout = [], 0.0, []
    for one in parts:
        assert one.done is not None
        if one.done.infrastructure is not None:
            reasons.append(one.done.infrastructure)
        seconds += one.done.seconds
        stdout.append(one.done.stdout)
        stopped = fail_fast and any(verdict != "passed" for verdict in one.verdicts.values())
        missing = "not_run" if stopped else "died"
        for index, position in enumerate(one.part.positions):
            results[position] = one.verdicts.get(index, missing)
    return Report(
        results=() if reasons else tuple(results[position] for position in sorted(results)),
        infrastructure="; ".join(reasons) or None,
        gameable=any(one.part.whole is not None for one in parts),
        seconds=seconds,
        stdout=b"".join(stdout),
    )
