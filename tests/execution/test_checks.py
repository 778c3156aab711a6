"""Programs on tests: the verdicts, what is no verdict, and what the sandbox is (not) told."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from diffucode.errors import SandboxError, TaskError
from diffucode.execution.asserts import Unsplit, split
from diffucode.execution.checks import Report, Submission, Test, check, judge, stream
from diffucode.execution.compare import Anything, Check, Encoded, NotNone, Same, SameElements
from diffucode.execution.sandbox import Done, Job, Limits, Returned, Sandbox
from diffucode.execution.values import Limit, decode, encode
from diffucode.tasks.problem import Case

CASES = (Case(([1, 2],), 3), Case(([],), 0), Case(([5],), 5))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, tier="strongest") as opened:
        yield opened


def one(sandbox: Sandbox, program: str, tests: Any = CASES, **options: Any) -> Report:
    (report,) = check(sandbox, [Submission(program, "f", tests)], **options)
    return report


class Scripted:
    """A sandbox that answers from a script: for each job, ``(results of calls, infrastructure)``."""

    def __init__(self, *script: tuple[list[Returned], str | None]) -> None:
        self.script = script
        self.jobs: list[Job] = []

    def run(self, jobs: Iterable[Job], receive: Any) -> Iterator[Done]:
        for number, (job, (results, reason)) in enumerate(zip(jobs, self.script, strict=True)):
            self.jobs.append(job)
            for result in results:
                if receive(number, result) is False:
                    break
            yield Done(number, reason, b"out", b"", 0.5)


def returned(index: int, value: Any) -> Returned:
    return Returned(index, "returned", encode(value), None, 0.1)


def ended(index: int, status: Any, error: str | None = None) -> Returned:
    return Returned(index, status, None, error, 0.1)


# --- in the sandbox -----------------------------------------------------------------------------


def test_a_verdict_for_every_test(sandbox: Sandbox) -> None:
    program = (
        "import sys\n"
        "def f(kind):\n"
        "    print('printed')\n"
        "    if kind == 'loop':\n"
        "        while True: pass\n"
        "    return {'right': lambda: 1, 'wrong': lambda: 2, 'opaque': lambda: object(),\n"
        "        'raise': lambda: {}['x'], 'exit': lambda: sys.exit(0)}[kind]()\n"
    )
    kinds = ["right", "wrong", "opaque", "raise", "exit", "right", "loop", "right"]
    tests = [Check((kind,), 1, Same()) for kind in kinds]
    report = one(sandbox, program, tests, limits=Limits(seconds=1.0))
    assert report.verdicts == (
        *("passed", "failed", "failed", "error:KeyError", "error:SystemExit", "passed"),
        *("timeout", "died"),
    )
    assert not report.passed and report.share == 2 / 8
    assert report.infrastructure is None and not report.gameable
    assert report.stdout.startswith(b"printed\n") and 1 <= report.seconds < 30


def test_honest_programs_pass_whatever_plain_data_they_speak(sandbox: Sandbox) -> None:
    program = "from collections import Counter\ndef f(*x):\n    return Counter(x[0]) if x else (1, {2.5})\n"
    tests = [Case(("aab",), {"b": 1, "a": 2}), Case((), (1, {2.5}))]
    assert one(sandbox, program, tests).passed


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(x: return 1", "error:SyntaxError"),
        ("import nothing_like_it", "error:ModuleNotFoundError"),
        ("def g(x): return 1", "error:NameError"),
        ("f = 3", "error:TypeError"),
        ("raise SystemExit(0)", "error:SystemExit"),
        ("import os; os._exit(0)", "died"),
        ("def f(x): return 1\0", "error:SyntaxError"),
        ("f = " + "(" * 3000 + ")" * 3000, "error:"),
        ("# \ud800\ndef f(x): return 1", "error:"),
    ],
    ids=["syntax", "import", "name", "type", "exit", "hard exit", "null", "deep", "surrogate"],
)
def test_a_program_that_cannot_be_called_fails_every_test(
    sandbox: Sandbox, program: str, verdict: str
) -> None:
    report = one(sandbox, program)
    assert len(report.verdicts) == 3 and report.share == 0
    assert all(found.startswith(verdict) for found in report.verdicts), report.verdicts


def test_reports_come_in_order_and_each_knows_its_own(sandbox: Sandbox) -> None:
    def submission(number: int) -> Submission:
        wait = "import time; time.sleep(0.05)\n" if number % 3 == 0 else ""
        return Submission(f"{wait}def f(x): return {number}", "f", [Case((1,), number)])

    reports = check(sandbox, (submission(number) for number in range(12)))
    assert len(reports) == 12 and all(report.passed for report in reports)


def test_state_of_one_call_is_there_for_the_next_as_in_evalplus(sandbox: Sandbox) -> None:
    program = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"
    assert one(sandbox, program, [Case((0,), 1), Case((0,), 2)]).passed


def test_fail_fast_stops_and_says_so(sandbox: Sandbox) -> None:
    program = "def f(x): return sum(x) if x else 'no'"
    report = one(sandbox, program, fail_fast=True)
    assert report.verdicts == ("passed", "failed", "not_run")
    assert one(sandbox, program).verdicts == ("passed", "failed", "passed")
    dead = one(sandbox, "import os\ndef f(x): os._exit(0)", fail_fast=True)
    assert dead.verdicts[0] == "died" and dead.share == 0


def test_unsplit_tests_run_whole_and_are_flagged(sandbox: Sandbox) -> None:
    tests = [
        split(source, "f")
        for source in (
            "assert f(1) == 2",
            "assert f(f(1)) == 3",
            "assert f(f(1)) == 4",
            "text = '''a\nb'''\nassert f(len(text)) == 4",
            "assert undefined(1)",
        )
    ]
    report = one(sandbox, "def f(x): return x + 1", tests)
    assert report.verdicts == (
        *("passed", "passed", "error:AssertionError", "passed", "error:NameError"),
    )
    assert report.gameable
    assert one(sandbox, "def f(x): return x + 1", tests[1:2]).passed
    assert not one(sandbox, "def f(x): return x + 1", tests[:1]).gameable


def test_limits_of_a_submission_come_first(sandbox: Sandbox) -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.7)\n    return 1"
    tests = [Case((1,), 1)]
    patient, hasty = Limits(seconds=20), Limits(seconds=0.2)
    reports = check(
        sandbox, [Submission(slow, "f", tests), Submission(slow, "f", tests, hasty)], patient
    )
    assert [report.verdicts for report in reports] == [("passed",), ("timeout",)]


# --- against a script ---------------------------------------------------------------------------


def test_an_infrastructure_failure_is_no_verdict() -> None:
    right = [returned(0, 3), returned(1, 0), returned(2, 5)]
    sandbox: Any = Scripted((right[:1], "the worker crashed"), (right, None))
    lost, passed = check(sandbox, [Submission("", "f", CASES), Submission("", "f", CASES)])
    assert passed.passed and passed.share == 1
    assert lost.infrastructure == "the worker crashed" and lost.results == ()
    for ask in ("passed", "share", "verdicts"):
        with pytest.raises(SandboxError, match="the worker crashed"):
            getattr(lost, ask)


def test_one_lost_part_of_a_submission_is_no_verdict_either() -> None:
    tests: list[Test] = [*CASES[:1], Unsplit("assert f(f(1)) == 3", "why")]
    sandbox: Any = Scripted(([returned(0, 3)], None), ([], "the worker crashed"))
    (report,) = check(sandbox, [Submission("", "f", tests)])
    with pytest.raises(SandboxError):
        _ = report.passed


def test_calls_without_a_result_died() -> None:
    sandbox: Any = Scripted(([returned(0, 3)], None), ([], None))
    first, second = check(sandbox, [Submission("", "f", CASES)] * 2)
    assert first.verdicts == ("passed", "died", "died")
    assert second.verdicts == ("died", "died", "died") and not second.passed


def test_the_sandbox_is_told_arguments_and_nothing_of_the_answers() -> None:
    sandbox: Any = Scripted(([], None))
    secret = "the expected value"
    check(sandbox, [Submission("program", "f", [Check((1, "x"), secret, Same())])])
    (job,) = sandbox.jobs
    assert job.program == "program" and job.entry_point == "f"
    assert [decode(call) for call in job.calls] == [(1, "x")]
    assert secret not in repr(vars(job) if hasattr(job, "__dict__") else job)


def test_submissions_are_read_lazily() -> None:
    read = []

    def submissions() -> Iterator[Submission]:
        for number in range(5):
            read.append(number)
            yield Submission("", "f", CASES)

    sandbox: Any = Scripted(*[([], None)] * 5)
    reports = stream(sandbox, submissions())
    next(reports)
    assert read == [0]
    assert len(list(reports)) == 4


def test_no_tests_and_arguments_that_are_no_data_are_refused() -> None:
    sandbox: Any = Scripted()
    with pytest.raises(TaskError, match="without tests"):
        check(sandbox, [Submission("", "f", ())])
    with pytest.raises(TaskError, match="object is not plain data"):
        check(sandbox, [Submission("", "f", [Case((object(),), 1)])])


def test_judging_one_call() -> None:
    exact = Check((1,), 5, Same())
    assert judge(exact, returned(0, 5)) == "passed"
    assert judge(exact, returned(0, 6)) == "failed"
    assert judge(exact, Returned(0, "returned", b"broken", None, 0)) == "failed"
    assert judge(exact, Returned(0, "returned", None, None, 0)) == "failed"
    assert judge(exact, ended(0, "unencodable")) == "failed"
    assert judge(Check((1,), True, NotNone()), ended(0, "unencodable")) == "passed"
    assert judge(Check((1,), 5, Anything()), ended(0, "died")) == "died"
    assert judge(Check((1,), 5, SameElements()), returned(0, 5)) == "failed"  # the rule raises
    for status in ("timeout", "output_limit", "died"):
        assert judge(exact, ended(0, status)) == status
    assert judge(exact, ended(0, "raised", "KeyError")) == "error:KeyError"
    for lie in ("", "passed\n", "a b", "x" * 81, None):
        assert judge(exact, ended(0, "raised", lie)) == "error:Exception"
    assert judge(exact, ended(0, "raised", "passed")) != "passed"


def test_encoded_answers_are_judged_like_plain_ones() -> None:
    def judged(expected: Any, got: Any, rule: Any = None) -> str:
        return judge(Check((1,), Encoded(encode(expected)), rule or Same()), returned(0, got))

    assert judged([1, 2.0], [1, 2.0]) == "passed"
    assert judged([1.0], [1.0 + 1e-9]) == "passed"
    assert judged([1, 2], [1, 3]) == "failed"
    assert judged({3, 1, 2}, {1, 2, 3}) == "passed"
    never = lambda got, expected, arguments: False  # noqa: E731
    assert judged(None, None, never) == "failed"  # equal bytes pass by no other rule than Same
    assert judge(Check((1,), Encoded(encode(True)), NotNone()), ended(0, "unencodable")) == "passed"
    wide = Limit(size=1 << 28)
    assert (
        judge(Check((1,), Encoded(encode("x" * (1 << 20), wide)), Same()), returned(0, "x"))
        == "failed"
    )
