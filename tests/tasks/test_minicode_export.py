"""minicode in EvalPlus' format: our reader, our sandbox and EvalPlus' own loader take it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffucode.execution import evalplus
from diffucode.execution.sandbox import Sandbox
from diffucode.tasks import minicode
from diffucode.tasks.minicode import behaviour
from diffucode.tasks.problem import Problem

FIELDS = {
    "task_id",
    "prompt",
    "entry_point",
    "canonical_solution",
    "contract",
    "base_input",
    "plus_input",
    "atol",
    "test",
}


@pytest.fixture(scope="module")
def drawn() -> list[Problem]:
    return [*minicode.problems("train", 7, 8), *minicode.problems("ood", 7, 2)]


@pytest.fixture(scope="module")
def file(drawn: list[Problem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "minicode.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in minicode.evalplus(drawn)))
    return path


def test_rows_have_the_fields_and_name_their_problems(drawn: list[Problem]) -> None:
    rows = list(minicode.evalplus(drawn))
    assert all(row.keys() == FIELDS for row in rows)
    ids = [row["task_id"] for row in rows]
    assert all(id.count("/") == 1 for id in ids)
    assert [id.replace("-", "/") for id in ids] == [p.id for p in drawn]


def test_reward_stays_out(drawn: list[Problem]) -> None:
    for p, row in zip(drawn, minicode.evalplus(drawn), strict=True):
        known = minicode.tests(p.id)
        hidden = [list(case.arguments) for case in known.reward]
        assert not any(given in row["base_input"] + row["plus_input"] for given in hidden)
        assert len(row["plus_input"]) == len(known.plus) and len(row["base_input"]) == len(
            known.base
        )


def test_the_check_judges(drawn: list[Problem]) -> None:
    for p, row in zip(drawn, minicode.evalplus(drawn), strict=True):
        check = behaviour.function(row["test"], "check")
        check(behaviour.function(p.program, p.entry_point))
        with pytest.raises((AssertionError, TypeError)):
            check(lambda *given: object())


def test_our_reader_and_sandbox_accept_it(drawn: list[Problem], file: Path, tmp_path: Path) -> None:
    problems = evalplus.read(file)
    assert [p.program for p in problems] == [p.program for p in drawn]
    samples = {p.id: [p.program, p.prompt + "    return 'wrong'\n"] for p in problems}
    with Sandbox(workers=2, tier="strongest") as sandbox:
        scores = list(evalplus.score(sandbox, problems, samples, tmp_path / "answers"))
    assert {(s.id, s.sample, s.passed) for s in scores} == {
        (p.id, sample, sample == 0) for p in problems for sample in (0, 1)
    }


def test_evalplus_loads_it(drawn: list[Problem], file: Path) -> None:
    code = (
        "import json; from evalplus.data import get_human_eval_plus;"
        "print(json.dumps(get_human_eval_plus(err_incomplete=False)))"
    )
    environment = {
        "HUMANEVAL_OVERRIDE_PATH": str(file),
        "PATH": "/usr/bin:/bin",
        "HOME": str(file.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    rows = json.loads(json.dumps({row["task_id"]: row for row in minicode.evalplus(drawn)}))
    assert loaded == rows
