"""What is counted of a problem's samples."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from twice import BROKEN, HOLLOW, RIGHT, WRONG, twice

from diffucode.execution.checks import Report
from diffucode.execution.sandbox import Sandbox
from diffucode.measure import judged
from diffucode.measure.judged import judge


def test_what_an_outcome_counts(sandbox: Sandbox) -> None:
    one, other = twice(), twice("minicode/test/1/1")
    renamed = RIGHT.replace("x", "y")
    programs = {one.problem.id: [RIGHT, renamed, *[HOLLOW] * 3, WRONG, BROKEN]}
    programs[other.problem.id] = [HOLLOW]
    first, second = judge(sandbox, [one, other], programs)
    assert first is not None and second is not None
    assert asdict(first) == {
        "id": "minicode/test/1/0",
        "signature": "twice",
        "domain": "numbers",
        "band": 1,
        "trap": False,
        "n": 7,
        "valid": 6,
        "reward": 5,
        "plus": 2,
        "hollow": 3,
        "distinct": 3,
        "distinct_right": 1,
        "passes": 0,
        "ended": None,
        "local": None,
        "leftmost": None,
    }
    assert (second.id, second.n, second.reward, second.plus) == (other.problem.id, 1, 1, 0)


def test_a_failure_of_the_sandbox_is_no_outcome(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any, submissions: Sequence[Any], **how: Any) -> list[Report]:
        fine = Report(("passed",), None, False, 0.0, b"")
        failed = Report((), "no worker", False, 0.0, b"")
        return [fine, failed] * (len(submissions) // 2)

    monkeypatch.setattr(judged, "check", broken)
    one = twice()
    assert judge(sandbox, [one], {one.problem.id: [BROKEN, RIGHT]}) == [None]
    unrun = judge(sandbox, [one], {one.problem.id: [BROKEN]})[0]
    assert unrun is not None and unrun.plus == unrun.valid == 0
