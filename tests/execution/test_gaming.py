"""Programs that try to be paid without doing the work. None of them may pass a single test.

``gaming/*.py``: one trick a file, its docstring says which. All attack the same problem, whose honest
solution passes between them, on the same workers: an attack must not harm its neighbours either, nor
count as a failure of the sandbox, which would let it off.
"""

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffucode.execution import checks
from diffucode.execution.checks import Report, Submission, check, stream
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.tasks.problem import Case

CORPUS = sorted((Path(__file__).parent / "gaming").glob("*.py"))
INPUTS = ([3, 1, 2], [5, -4], [7], [10, 10, 10], [2, 3, 5, 7, 11], [-6, 1, 1])
CASES = tuple(Case((nums,), sum(x * x for x in nums)) for nums in INPUTS)
HONEST = "def solve(nums):\n    return sum(x * x for x in nums)\n"
SHORT = Limits(seconds=0.6, job_seconds=2.0, memory_bytes=512 << 20)

INLINE = {
    "not Python": "def solve(nums:\n    return -1\n",
    "a null byte": f"def solve(nums):\n    return -1\n\0{HONEST}",
    "an endless expression": "solve = " + "(" * 100_000,
    "a deep expression": "solve = " + "-" * 100_000 + "1",
    "lone surrogates": "# \ud800\ndef solve(nums): return -1",
    "nothing": "",
    "another encoding": "# -*- coding: utf-7 -*-\ndef solve(nums): return -1 +AAo-",
    "a frame of its own": "\x04\x00\x00\x00T",
}
"""Programs that no file should hold."""

ACCOMPLICE = f"""
import builtins, json, os, sys

answers = {{str(nums): sum(x * x for x in nums) for nums in {list(INPUTS)!r}}}


def solve(nums):
    builtins.leaked = sys.leaked = json.leaked = answers
    os.environ["LEAKED"] = json.dumps(answers)
    for folder in (".", "..", "/tmp", "/var/tmp", "/dev/shm", "/run", "/", os.path.dirname(json.__file__)):
        try:
            with open(folder + "/leaked.json", "w") as file:
                json.dump(answers, file)
        except OSError:
            pass
    return answers[str(nums)]
"""
"""Honest, and leaves the answers wherever the next job might look (gaming/read_the_leak.py looks)."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, tier="strongest") as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(sandbox: Sandbox) -> dict[str, Report]:
    """Every report by name; honest programs run before, between and after the others."""
    programs = {path.stem: path.read_text(encoding="utf-8") for path in CORPUS} | INLINE
    named: list[tuple[str, Submission]] = []
    for number, (name, program) in enumerate(programs.items()):
        if number % 4 == 0:
            friend = ACCOMPLICE if number % 8 == 0 else HONEST
            named.append((f"honest {number}", Submission(friend, "solve", CASES)))
        named.append((name, Submission(program, "solve", CASES, SHORT)))
    for number in range(4):
        named.append((f"honest at the end {number}", Submission(HONEST, "solve", CASES)))
    found = stream(sandbox, (submission for _, submission in named))
    return {named[number][0]: report for number, report in found}


def test_the_corpus_is_what_it_says() -> None:
    assert len(CORPUS) >= 100
    for path in CORPUS:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("name", [*(path.stem for path in CORPUS), *INLINE])
def test_no_trick_passes_a_test(reports: dict[str, Report], name: str) -> None:
    report = reports[name]
    assert report.infrastructure is None, report.infrastructure
    assert report.share == 0, report.verdicts
    assert len(report.stdout) <= SHORT.stdout_bytes


def test_honest_programs_between_them_pass(reports: dict[str, Report]) -> None:
    honest = {name: report for name, report in reports.items() if name.startswith("honest")}
    assert len(honest) > 20
    for name, report in honest.items():
        assert report.infrastructure is None, name
        assert report.passed, (name, report.verdicts)


def test_reading_what_a_program_forged_takes_bounded_time(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither values that are slow to read nor their number hold the supervisor up."""
    monkeypatch.setattr(checks, "JUDGE_SECONDS", 0.5)
    slow = (Path(__file__).parent / "gaming" / "forged_collisions.py").read_text()
    many = tuple(Case(([number],), -1) for number in range(50))
    patient = Limits(seconds=20.0, job_seconds=100.0)
    start = time.thread_time()
    (report,) = check(sandbox, [Submission(slow, "solve", many, patient)])
    assert time.thread_time() - start < 5
    assert report.share == 0 and report.verdicts[0] == "failed" and report.verdicts[-1] == "died"


def test_every_way_to_end_is_seen(reports: dict[str, Report]) -> None:
    """The tricks end in their own ways, not all in the same early refusal."""
    assert reports["busy_loop"].verdicts[0] == "timeout"
    assert reports["loop_in_c"].verdicts[0] == "timeout"
    assert reports["sleep"].verdicts[0] == "timeout"
    assert reports["ignore_signals"].verdicts[0] == "timeout"
    assert reports["swallow_timeouts"].verdicts[0] == "timeout"
    assert reports["hard_exit_in_call"].verdicts[0] == "died"
    assert reports["exit_in_call"].verdicts[0] == "error:SystemExit"
    assert reports["raise_passed"].verdicts[0] == "error:passed"
    assert reports["shared_lists"].verdicts[0] in ("output_limit", "timeout")
    assert reports["true"].verdicts == ("failed",) * 6
    assert reports["int_subclass"].verdicts == ("failed",) * 6
    assert reports["repr_of_an_answer"].verdicts == ("failed",) * 6
    assert reports["deep_recursion"].verdicts[0] == "error:RecursionError"


def test_nothing_is_left_after_all_of_them(sandbox: Sandbox, reports: dict[str, Report]) -> None:
    """A program that has the run of its place finds neither files nor processes of others."""
    look = (
        "import os\n"
        "def solve(nums):\n"
        "    files = [os.path.join(at, name) for top in ('.', '/tmp', '/dev/shm') if os.path.isdir(top)\n"
        "             for at, folders, names in os.walk(top) for name in folders + names]\n"
        "    return sorted(name for name in files if not name.startswith(('/dev/shm/sem')))\n"
    )
    (report,) = check(sandbox, [Submission(look, "solve", [Case(([],), [])])])
    assert reports and report.passed, report.verdicts
