"""HumanEval+ and MBPP+ in our sandbox: the files as EvalPlus reads them, its special rules, and every
reference solution passing.

The public files lie beside the checkout where they lie at all. A slice runs here; all of it with

    EVALPLUS_FULL=1 python -m pytest tests/execution/test_evalplus_problems.py -k every_input
"""

import gzip
import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffucode.errors import TaskError
from diffucode.execution.compare import OPAQUE, Same
from diffucode.execution.evalplus import (
    LEAST_SECONDS,
    DigitDistance,
    OrZero,
    PlusProblem,
    PyramidSurface,
    Root,
    compute,
    grade,
    read,
    score,
)
from diffucode.execution.sandbox import Sandbox

DATA = Path(__file__).parents[3] / "shared" / "data"
HUMANEVAL = DATA / "humanevalplus" / "HumanEvalPlus.jsonl.gz"
MBPP = DATA / "mbppplus" / "MbppPlus.jsonl.gz"
needs_data = pytest.mark.skipif(
    not (HUMANEVAL.exists() and MBPP.exists()), reason="the public data sets are not here"
)
DROPPED = {"Mbpp/255": 5}
"""Inputs whose reference answer is over the sandbox's limits."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, tier="strongest") as opened:
        yield opened


class Unused:
    """A sandbox nobody should have to ask."""

    def run(self, jobs: Any, receive: Any) -> Iterator[Any]:
        assert list(jobs) == []
        yield from ()


def problem(reference: str, base: Any, plus: Any = (), rule: Any = None) -> PlusProblem:
    return PlusProblem("Mbpp/9999", "def f(x):\n", "f", reference, base, plus, rule or Same())


def few(problem: PlusProblem, inputs: int) -> PlusProblem:
    """The problem with this many of its added inputs, spread over all of them."""
    step = max(1, len(problem.plus) // inputs)
    return replace(problem, plus=problem.plus[::step][:inputs])


# --- the files ----------------------------------------------------------------------------------


@needs_data
def test_inputs_are_those_that_evalplus_reads() -> None:
    from evalplus.data.mbpp import mbpp_deserialize_inputs

    lines = gzip.decompress(MBPP.read_bytes()).splitlines()
    rows = {row["task_id"]: row for row in map(json.loads, lines)}
    problems = read(MBPP)
    assert len(problems) == 378
    for item in problems:
        row = rows[item.id]
        for mine, key in ((item.base, "base_input"), (item.plus, "plus_input")):
            theirs = [tuple(inputs) for inputs in mbpp_deserialize_inputs(item.id, row[key])]
            assert repr(list(mine)) == repr(theirs), item.id


def test_containers_that_json_lacks_are_rebuilt(tmp_path: Path) -> None:
    row = {"prompt": "", "entry_point": "f", "canonical_solution": "", "atol": 0, "plus_input": {}}
    inputs = {
        115: ([[[[1, 2], [], "x"]]], ([{1, 2}, {}, {}],)),
        124: ([["2", "1+2j"]], (2.0, 1 + 2j)),
        252: ([["1j"]], (1j,)),
        722: ([[{"a": [1, 2]}, 3]], ({"a": (1, 2)}, 3)),
        580: ([[[1, [2, [3]]]]], ((1, (2, (3,))),)),
        278: ([[[1, [2, [3]]]]], ((1, (2, [3])),)),
        3: ([[[1, [2]]]], ([1, [2]],)),
    }
    lines = [
        json.dumps({**row, "task_id": f"Mbpp/{number}", "base_input": given})
        for number, (given, _) in inputs.items()
    ]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(lines))
    for item, (_, expected) in zip(read(file), inputs.values(), strict=True):
        assert repr(item.base) == repr((expected,)), item.id
    (tmp_path / "same.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert read(tmp_path / "same.jsonl.gz") == read(file)
    humaneval = {**row, "task_id": "HumanEval/580", "base_input": [[[1, [2]]]]}
    file.write_text(json.dumps(humaneval))
    assert read(file)[0].base == (([1, [2]],),)
    named = humaneval | {"prompt": "# one line\u2028 of JSON\n"}
    file.write_text(json.dumps(named, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [item.prompt for item in read(file)] == [named["prompt"]]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"task_id": "Mbpp"}', '{"task_id": 3}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(content)
    with pytest.raises(TaskError, match="line 1: expected a problem of EvalPlus"):
        read(file)
    with pytest.raises(TaskError, match=r"expected a \.jsonl"):
        read(tmp_path / "missing.jsonl")
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(TaskError, match=r"expected a \.jsonl"):
        read(tmp_path / "torn.jsonl.gz")


# --- the rules ----------------------------------------------------------------------------------


@needs_data
def test_special_rules_stand_where_evalplus_has_them() -> None:
    from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS, MBPP_OUTPUT_SET_EQ_TASKS

    found: dict[str, set[str]] = {}
    for item in (*read(HUMANEVAL), *read(MBPP)):
        found.setdefault(type(item.rule).__name__, set()).add(item.entry_point)
    ordinary = found.pop("Same")
    special = {
        "Root": {"find_zero"},
        "Anything": {"are_equivalent"},
        "OrZero": {"sum_div"},
        "PyramidSurface": {"surface_Area"},
        "DigitDistance": {"digit_distance_nums"},
        "NotNone": set(MBPP_OUTPUT_NOT_NONE_TASKS),
        "SameElements": set(MBPP_OUTPUT_SET_EQ_TASKS),
    }
    assert all(found[rule] <= special[rule] for rule in found)
    assert ordinary.isdisjoint(set().union(*special.values()))
    assert len(found) >= 5  # Mbpp/164 and /295 are not in version 0.2.0
    tolerant = {item.id for item in read(HUMANEVAL) if item.rule != Same() and item.rule.atol}  # type: ignore[attr-defined]
    assert tolerant == {"HumanEval/2", "HumanEval/4", "HumanEval/32"}


def test_special_rules() -> None:
    assert Root(1e-4)(-0.5, None, ([1, 2],)) and Root(1e-4)(1.0, "anything", ([-6, 11, -6, 1],))
    assert not Root(1e-4)(-0.4, -0.4, ([1, 2],))
    for wrong in (math.nan, math.inf, "x", None, OPAQUE, 1j, 10**400):
        with pytest.raises((AssertionError, TypeError, OverflowError)):
            assert Root(1e-4)(wrong, wrong, ([1, 2],))
    assert OrZero(0)(0, 7, (7,)) and OrZero(0)(7, 7, (7,)) and not OrZero(0)(1, 7, (7,))
    assert PyramidSurface(0)(33, 99, (3, 4)) is False
    assert PyramidSurface(0)(35, 33, (3, 4)) and PyramidSurface(0)(33, 33, (3, 4))  # 9 + 6 * 4.272
    assert DigitDistance(0)(9, 0, (10, 8)) and DigitDistance(0)(0, 0, (10, 8))
    assert not DigitDistance(0)(8, 0, (10, 8))


# --- the answers --------------------------------------------------------------------------------


def test_answers_are_computed_once(sandbox: Sandbox, tmp_path: Path) -> None:
    item = problem("    return [x, 0.1]\n", ((1,), (2,)), ((3,),))
    compute(sandbox, [item], tmp_path)
    compute(Unused(), [item], tmp_path)  # type: ignore[arg-type]
    (kept,) = tmp_path.iterdir()
    graded = grade(item, tmp_path)
    assert [check.arguments for check in (*graded.base, *graded.plus)] == [(1,), (2,), (3,)]
    assert graded.dropped == 0 and graded.limits.seconds == LEAST_SECONDS
    other = replace(item, reference="    return [x, 0.2]\n")
    assert other.key != item.key
    with pytest.raises(TaskError, match="answers of Mbpp/9999"):
        grade(other, tmp_path)
    kept.write_bytes(kept.read_bytes()[:-5])
    with pytest.raises(TaskError, match="answers of Mbpp/9999"):
        grade(item, tmp_path)


def test_an_answer_over_the_limits_is_left_out_and_the_rest_judged(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    item = problem(
        "    return 'x' * 40_000_000 if x == 2 else x\n", ((1,), (2,)), ((2,), (3,), (2,), (4,))
    )
    compute(sandbox, [item], tmp_path)
    graded = grade(item, tmp_path)
    assert graded.dropped == 3
    assert [check.arguments for check in graded.base] == [(1,)]
    assert [check.arguments for check in graded.plus] == [(3,), (4,)]
    (result,) = score(sandbox, [item], {item.id: [item.program]}, tmp_path)
    assert result.passed


def test_a_slow_reference_gives_its_samples_time(sandbox: Sandbox, tmp_path: Path) -> None:
    item = problem("    import time; time.sleep(1.5); return x\n", ((1,),))
    compute(sandbox, [item], tmp_path)
    assert 12.0 <= grade(item, tmp_path).limits.seconds < 100


def test_a_reference_that_fails_is_an_error_and_leaves_no_file(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for reference, words in (
        ("    return 1 // x\n", "input 1: the reference ended with raised ZeroDivisionError"),
        ("    import os; os._exit(0)\n", "input 0: the reference ended with died"),
    ):
        with pytest.raises(TaskError, match=words):
            compute(sandbox, [problem(reference, ((1,), (0,)))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_samples_are_judged_on_base_and_plus(sandbox: Sandbox, tmp_path: Path) -> None:
    item = problem("    return abs(x)\n", ((1,), (2,)), ((-3,), (0.5,)))
    programs = [item.program, "def f(x): return x", "def f(x): return -x", "import os; os._exit(0)"]
    scores = {one.sample: one for one in score(sandbox, [item], {item.id: programs}, tmp_path)}
    assert [scores[n].base.passed for n in range(4)] == [True, True, False, False]
    assert [scores[n].passed for n in range(4)] == [True, False, False, False]
    bare = replace(item, plus=())
    (only,) = score(sandbox, [bare], {item.id: programs[:1]}, tmp_path)
    assert only.plus is None and only.passed
    with pytest.raises(TaskError, match="samples of 'Mbpp/1'"):
        list(score(sandbox, [item], {"Mbpp/1": [""]}, tmp_path))


def failing(sandbox: Sandbox, problems: list[PlusProblem], cache: Path) -> dict[str, Any]:
    """The problems whose own reference does not pass."""
    samples = {item.id: [item.program] for item in problems}
    found = {one.id: one for one in score(sandbox, problems, samples, cache, fail_fast=False)}
    assert found.keys() == samples.keys()
    return {
        name: (one.base.results, one.plus and one.plus.results)
        for name, one in found.items()
        if not one.passed
    }


@needs_data
def test_references_pass_on_a_slice(sandbox: Sandbox, tmp_path: Path) -> None:
    mbpp = [item for number, item in enumerate(read(MBPP)) if number % 6 == 0]
    special = {"Root", "Anything", "OrZero", "PyramidSurface", "DigitDistance", "NotNone"}
    mbpp += [item for item in read(MBPP) if type(item.rule).__name__ in special]
    problems = [few(item, 8) for item in (*read(HUMANEVAL), *mbpp)]
    assert failing(sandbox, problems, tmp_path) == {}


@needs_data
def test_wrong_programs_fail_on_a_slice(sandbox: Sandbox, tmp_path: Path) -> None:
    problems = [few(item, 3) for item in (*read(HUMANEVAL), *read(MBPP))[::18]]
    samples = {
        item.id: [f"def {item.entry_point}(*_): return {lie}" for lie in ("Ellipsis", "[None]")]
        for item in problems
    }
    assert not any(one.passed for one in score(sandbox, problems, samples, tmp_path))


@needs_data
@pytest.mark.skipif("EVALPLUS_FULL" not in os.environ, reason="minutes; set EVALPLUS_FULL=1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", [HUMANEVAL, MBPP], ids=["humaneval", "mbpp"])
def test_references_pass_on_every_input(sandbox: Sandbox, tmp_path: Path, file: Path) -> None:
    problems = list(read(file))
    assert failing(sandbox, problems, tmp_path) == {}
    dropped = {item.id: grade(item, tmp_path).dropped for item in problems}
    assert {name: count for name, count in dropped.items() if count} == (
        DROPPED if file == MBPP else {}
    )
