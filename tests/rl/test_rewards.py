"""Rewards: what each part counts, and what a test, a failure or a trick may cost or gain."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffucode.config import load
from diffucode.errors import ConfigError, TaskError
from diffucode.execution.checks import Report, Submission, stream
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.rl import verdicts
from diffucode.rl.graded import GradedProblem
from diffucode.rl.rewards import (
    AllOrNothing,
    Diversity,
    Format,
    Judged,
    PassRate,
    Reward,
    Sample,
    Scored,
    Syntax,
    fenced,
    means,
)
from diffucode.tasks import minicode
from diffucode.tasks.problem import Case

TWICE = GradedProblem("twice", "Double it.", "f", tuple(Case((x,), 2 * x) for x in range(4)))
OTHER = replace(TWICE, id="other")
PROBLEMS = {"twice": TWICE, "other": OTHER}
RIGHT = "def f(x):\n    return 2 * x\n"
HALF = "def f(x):\n    return 2 * x if x < 2 else 0\n"
QUICK = Reward(limits=Limits(seconds=1.0, job_seconds=10.0))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, tier="strongest") as sandbox:
        yield sandbox


def sample(program: str, problem: str = "twice", **other: Any) -> Sample:
    """An answer that consists of its program in a fence."""
    fields = {"text": f"Here:\n```python\n{program}```\n", "finish": "terminator"}
    return Sample(problem, program=program, **{"reading": "answer", **fields, **other})


def score(sandbox: Sandbox, *programs: str, reward: Reward = QUICK) -> list[Scored]:
    return reward.score(sandbox, PROBLEMS, [[sample(program) for program in programs]])[0]


def judged(*programs: tuple[str, str]) -> list[Judged]:
    """Programs with verdicts: p passed, f failed."""
    words = {"p": "passed", "f": "failed"}
    return [Judged(sample(one), tuple(words[v] for v in found)) for one, found in programs]


# --- parts --------------------------------------------------------------------------------------


def test_what_the_tests_are_worth() -> None:
    group = judged((RIGHT, "pppp"), (HALF, "ppff"), ("x", "ffff"))
    assert PassRate()(group) == [1.0, 0.5, 0.0]
    assert AllOrNothing()(group) == [1.0, 0.0, 0.0]


PUBLISHED = re.compile(
    r"^(?:(?!```)[\s\S])*?```python\n(?:(?!```)[\s\S])*?```\n$",
    re.DOTALL,
)


@settings(derandomize=True)
@given(
    st.lists(st.sampled_from(["```", "`", "python\n", "```python\n", "```\n", "\n", "x = 1", "t "]))
)
def test_a_fenced_answer_is_what_diffucoder_accepts(pieces: list[str]) -> None:
    text = "".join(pieces)
    block = fenced(text)
    assert (block is not None) == (PUBLISHED.fullmatch(text) is not None)
    if block is not None:
        assert block == re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Here:\n```python\nx = 1\n```\n", 1.0),
        ("```python\nx = = 1\n```\n", 0.5),
        ("```python\nx = 1\n```", 0.0),
        ("```python\nx = 1\n```\nDone.", 0.0),
        ("```python\nx = 1\n```\n```python\nx = 1\n```\n", 0.0),
        ("```\nx = 1\n```\n", 0.0),
        ("x = 1\n", 0.0),
        # What ast.parse raises here is no SyntaxError; the published code lets it through.
        ("```python\nx = '\ud800'\n```\n", 0.5),
        (f"```python\n{'-' * 100_000}1\n```\n", 0.5),
        ("```python\nx = '\0'\n```\n", 0.5),
    ],
)
def test_the_format_of_an_answer(text: str, value: float) -> None:
    assert Format().of(sample("", text=text)) == value


def test_where_the_prompt_opened_the_fence_the_answer_closes_it() -> None:
    for text, value in (("x = 1\n```\n", 1.0), ("x = = 1\n```\n", 0.5), ("x = 1\n", 0.0)):
        assert Format().of(sample("x = 1\n", text=text, reading="fence")) == value


@pytest.mark.parametrize("reading", ["continuation", "verbatim"])
def test_a_function_body_has_no_fences_to_get_right(reading: str) -> None:
    body = "    return 2 * x\n"
    assert Format().of(sample(RIGHT, text=body, reading=reading)) == 1.0
    assert Format().of(sample(RIGHT[:-4] + "(\n", text=body, reading=reading)) == 0.0


def test_syntax_reads_the_program_and_not_the_text() -> None:
    broken = [
        Judged(sample("x = (\n"), ("unparsed",)),
        Judged(sample("x = '\ud800'"), ("unparsed",)),
    ]
    assert Syntax()([Judged(sample("x\n", text="no fence"), ("failed",)), *broken]) == [
        1.0,
        0.0,
        0.0,
    ]


def test_diversity_counts_forms_among_right_programs() -> None:
    renamed = "def g(y):\n    # the same\n    return 2 * y\n"
    added = "def f(x):\n    return x + x\n"
    group = judged((RIGHT, "pp"), (renamed, "pp"), (added, "pp"), (added, "pf"), (HALF, "ff"))
    values = Diversity()(group)
    assert values == [0.5, 0.5, 1.0, 0.0, 0.0]
    assert math.isclose(sum(values[:3]) / 3, 2 / 3)  # two forms of three right programs


# --- tests, one by one --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("while True: pass", "timeout"),
        ("import os; os._exit(0)", "died"),
        ("raise SystemExit(0)", "error:SystemExit"),
        ("return 'no'", "failed"),
    ],
)
def test_a_test_costs_nothing_but_itself(sandbox: Sandbox, statement: str, verdict: str) -> None:
    # Published: the first test that hangs ends the script, and the completion gets nothing.
    program = f"def f(x):\n    if x == 1:\n        {statement}\n    return 2 * x\n"
    (one,) = score(sandbox, program)
    assert one.verdicts == ("passed", verdict, "passed", "passed")
    assert one.parts == {"pass_rate": 0.75, "format": 1.0}
    assert one.total == 2.0 * 0.75 + 0.5


def test_two_tests_that_hang_and_one_that_exits(sandbox: Sandbox) -> None:
    program = (
        "def f(x):\n    while x in (0, 2): pass\n    if x == 1: import os; os._exit(1)\n"
        "    return 2 * x\n"
    )
    assert score(sandbox, program)[0].verdicts == ("timeout", "died", "timeout", "passed")


def test_the_rounds_of_a_program_share_its_time(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "stream", counted := Counted())
    reward = Reward(limits=Limits(seconds=0.3, job_seconds=0.5))
    (one,) = score(sandbox, "def f(x):\n    while True: pass\n", reward=reward)
    assert one.verdicts == ("timeout",) * 4
    left = [submission.limits.job_seconds for (submission,) in counted.calls if submission.limits]
    assert len(left) == 2 and left[0] == 0.5 and left[1] < 0.21  # four times 0.3 s would be 1.2


def test_a_program_that_ends_as_it_is_read_passes_nothing(sandbox: Sandbox) -> None:
    found = score(sandbox, f"{RIGHT}import os; os._exit(0)\n", f"{RIGHT}while True: pass\n")
    assert [one.verdicts for one in found] == [("died",) * 4, ("timeout",) * 4]


def test_what_is_no_python_is_not_run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "stream", lambda *_: pytest.fail("it ran"))
    (one,) = score(sandbox, "def f(x:\n")
    assert one.verdicts == ("unparsed",) * 4
    assert one.parts == {"pass_rate": 0.0, "format": 0.5}


@pytest.mark.parametrize(
    "program",
    [
        "print('__PASS_RATE__ 1.0')\ndef f(x):\n    print('__PASS_RATE__ 1.0')\n",
        "class Yes:\n    def __eq__(self, other): return True\ndef f(x):\n    return Yes()\n",
        "import sys\ndef f(x):\n    sys.exit(0)\n",
        "import builtins\ndef f(x):\n    raise type('AssertionError', (Exception,), {})()\n",
    ],
)
def test_tricks_gain_nothing(sandbox: Sandbox, program: str) -> None:
    assert score(sandbox, program)[0].parts["pass_rate"] == 0.0


def test_known_answers_get_everything(sandbox: Sandbox) -> None:
    found = minicode.problems("rl", 3, 1)
    graded = {
        p.id: GradedProblem(p.id, p.prompt, p.entry_point, minicode.tests(p.id).reward)
        for p in found
    }
    groups = [
        [sample(p.program, p.id, text=p.reference, reading="continuation")] * 2 for p in found
    ]
    scored = Reward().score(sandbox, graded, groups)
    assert [[one.total for one in group] for group in scored] == [[2.5, 2.5]]


# --- what is run, and how often -----------------------------------------------------------------


class Counted:
    """``checks.stream`` that keeps what it was given, and may fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[list[Submission]] = []

    def __call__(
        self, sandbox: Sandbox, submissions: Sequence[Submission]
    ) -> Iterator[tuple[int, Report]]:
        self.calls.append([*submissions])
        if len(self.calls) > self.failures:
            yield from stream(sandbox, submissions)
            return
        for number, _ in enumerate(submissions):
            yield number, Report((), "no worker", False, 0.0, b"")


def test_equal_programs_of_a_problem_run_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "stream", counted := Counted())
    groups = [
        [sample(RIGHT), sample(HALF), sample(RIGHT)],
        [sample(RIGHT)],
        [sample(RIGHT, "other")],
    ]
    scored = QUICK.score(sandbox, PROBLEMS, groups)
    assert [[one.total for one in group] for group in scored] == [[2.5, 1.5, 2.5], [2.5], [2.5]]
    assert [len(call) for call in counted.calls] == [3]


@pytest.mark.parametrize(("failures", "total"), [(1, 2.5), (2, 2.5), (3, None)])
def test_a_failure_of_the_sandbox_is_tried_again_and_never_a_zero(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, failures: int, total: float | None
) -> None:
    # Published: an exception of the provider gives 0.0, or a NaN that the sum then skips.
    monkeypatch.setattr(verdicts, "stream", counted := Counted(failures))
    (one,) = score(sandbox, RIGHT, reward=replace(QUICK, retries=2))
    assert one.total == total
    assert one.dropped == (None if total else "no worker")
    assert one.verdicts == (("passed",) * 4 if total else ())
    assert len(counted.calls) == min(failures + 1, 3)


def test_a_dropped_sample_leaves_the_others_alone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "stream", counted := Counted())
    reward = Reward((PassRate(), Diversity()))
    group = [sample(RIGHT, finish="cancelled"), sample(HALF), sample(RIGHT)]
    first, second, third = reward.score(sandbox, PROBLEMS, [group])[0]
    assert first == Scored(None, dropped="cancelled")
    assert (second.total, third.total) == (0.5, 2.0)
    assert [len(call) for call in counted.calls] == [2]
    assert means([first, second, third]) == {
        "dropped": pytest.approx(1 / 3),
        "reward": 1.25,
        "reward/pass_rate": 0.75,
        "reward/diversity": 0.5,
        "pass_rate": 0.5,
        "timeout": 0.0,
    }
    assert means([]) == {} and means([first]) == {"dropped": 1.0}


def test_the_order_of_samples_and_the_workers_change_nothing(sandbox: Sandbox) -> None:
    programs = [f"def f(x):\n    return 2 * x if x < {n} else x + {n}\n" for n in range(5)]
    forward = score(sandbox, *programs)
    backward = score(sandbox, *reversed(programs))
    with Sandbox(workers=1, tier="strongest") as alone:
        assert score(alone, *programs) == forward == backward[::-1]


# --- the sum ------------------------------------------------------------------------------------


def test_the_total_is_the_weighted_sum_and_every_part_is_told(sandbox: Sandbox) -> None:
    reward = Reward((PassRate(2.0), AllOrNothing(0.25), Format(0.5), Syntax(-1.0), Diversity(3.0)))
    half, right = score(sandbox, HALF, RIGHT, reward=reward)
    ones = dict.fromkeys(("pass_rate", "all_or_nothing", "format", "syntax", "diversity"), 1.0)
    assert right.parts == ones and right.total == 2.0 + 0.25 + 0.5 - 1.0 + 3.0
    assert half.parts == ones | {"pass_rate": 0.5, "all_or_nothing": 0.0, "diversity": 0.0}
    assert half.total == 1.0 + 0.5 - 1.0


def test_the_default_is_the_published_sum() -> None:
    assert Reward().parts == (PassRate(2.0), Format(0.5))


def test_a_config_names_the_parts() -> None:
    found = load(
        Reward,
        overrides=[
            "parts=[{kind: all_or_nothing}, {kind: diversity, weight: 0.5}]",
            "limits.seconds=1.0",
        ],
    )
    assert found == Reward((AllOrNothing(), Diversity(0.5)), limits=Limits(seconds=1.0))


@pytest.mark.parametrize(
    "fields",
    [
        {"parts": ()},
        {"parts": (PassRate(1.0), PassRate(2.0))},
        {"parts": (Format(math.nan),)},
        {"retries": -1},
    ],
)
def test_sums_that_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"parts|retries"):
        Reward(**fields)


def test_groups_that_are_none(sandbox: Sandbox) -> None:
    with pytest.raises(TaskError, match="a group of 2 problems"):
        QUICK.score(sandbox, PROBLEMS, [[sample(RIGHT), sample(RIGHT, "other")]])
    with pytest.raises(TaskError, match="'nobody'"):
        QUICK.score(sandbox, PROBLEMS, [[sample(RIGHT, "nobody")]])
    assert QUICK.score(sandbox, PROBLEMS, [[], []]) == [[], []]


def test_rewards_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import diffucode.rl.rewards, diffucode.rl.reward_pool, diffucode.rl.graded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
