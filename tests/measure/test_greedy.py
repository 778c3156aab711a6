"""What is said of a model that is being trained."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffucode.execution.sandbox import Sandbox
from diffucode.measure import greedy
from diffucode.measure.greedy import pass_at_1
from diffucode.measure.problems import Problems, ids
from diffucode.models.load import load


def test_what_the_model_writes_is_scored(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One right program, one wrong, and one that is none."""
    asked = ids("train", 0, 3)
    right, wrong, broken = problems = Problems(tmp_path).get(asked)
    programs = {
        right.problem.id: right.problem.program,
        wrong.problem.id: wrong.problem.prompt + "    return {}\n",
        broken.problem.id: "def",
    }

    def written(loaded: Any, problems: Any, config: Any) -> Any:
        assert [problem.id for problem in problems] == asked and config.temperature == 0
        for id, program in programs.items():
            yield SimpleNamespace(id=id, sample=0, program=program)

    monkeypatch.setattr(greedy, "complete", written)
    assert pass_at_1(sandbox, load("mini-ar"), problems) == (1 / 3, 2 / 3)


def test_what_could_not_be_checked_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An infrastructure failure is apart from a wrong program."""
    right, wrong = (SimpleNamespace(plus=plus, valid=1) for plus in (1, 0))
    nothing: Any = None
    monkeypatch.setattr(greedy, "complete", lambda *_: ())
    for outcomes, share in (([right, wrong, None], 0.5), ([right, wrong, right], 2 / 3)):
        monkeypatch.setattr(greedy, "judge", lambda *_, found=outcomes: found)
        assert pass_at_1(nothing, nothing, []) == (share, 1)
    monkeypatch.setattr(greedy, "judge", lambda *_: [None])
    assert all(map(math.isnan, pass_at_1(nothing, nothing, [])))
