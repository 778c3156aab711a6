"""Problems to learn from: what is read, what is left out, and what a prompt never says."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from diffucode.config import load as load_config
from diffucode.data.acecode import COPY, SHIPPED, Tally, prepare
from diffucode.data.rows import read
from diffucode.errors import SandboxError, TaskError
from diffucode.execution.asserts import split
from diffucode.execution.checks import Submission, check
from diffucode.execution.sandbox import Sandbox
from diffucode.execution.values import encode
from diffucode.files import to_jsonl
from diffucode.rl.graded import (
    Columns,
    EvalPlusFile,
    GradedProblem,
    Minicode,
    ProblemSet,
    Table,
    called,
    load,
    shown_calls,
)
from diffucode.tasks import minicode
from diffucode.tasks import problem as tasks
from diffucode.tasks.problem import Case

SAMPLE = Path(__file__).parents[1] / "data" / "acecode_sample.jsonl"
ROW = {"id": "a", "question": "Double it with `twice`.", "test_cases": ["assert twice(2) == 4"]}
LAST = {"id": "last", "question": "q", "test_cases": ["assert g(1) == 1"]}
"""So that something is left of a table whose other rows are refused."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, tier="strongest") as sandbox:
        yield sandbox


def jsonl(folder: Path, *rows: dict[str, Any]) -> str:
    (folder / "rows.jsonl").write_text(to_jsonl(rows))
    return str(folder / "rows.jsonl")


def table(folder: Path, *rows: dict[str, Any], **fields: Any) -> ProblemSet:
    return load(Table(jsonl(folder, *rows), **fields))


def left(found: ProblemSet) -> list[tuple[str, str, str]]:
    return [(one.place, one.what, one.reason) for one in found.left_out]


# --- minicode -----------------------------------------------------------------------------------


def reachable(start: object) -> list[object]:
    """Everything that objects refer to, directly or not; not what their classes and modules do."""
    found: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, type | ModuleType | Callable):  # type: ignore[arg-type]
            continue
        found[id(one)] = one
        waiting += gc.get_referents(one)
    return [*found.values()]


def test_minicode_gives_the_reward_tests_and_nothing_else() -> None:
    asked: list[tuple[tasks.Problem, tasks.Tests]] = []

    def make(ids: Sequence[str]) -> list[tuple[tasks.Problem, tasks.Tests]]:
        asked.extend((minicode.problem(id), minicode.tests(id)) for id in ids)
        return asked

    found = load(Minicode(seed=5, problems=3), make=make)
    assert [one.id for one in found.problems] == [f"minicode/rl/5/{i}" for i in range(3)]
    seen = reachable(found)
    texts = [one for one in seen if isinstance(one, str)]
    for one, (problem, tests) in zip(found.problems, asked, strict=True):
        assert (one.prompt, one.entry_point) == (problem.prompt, problem.entry_point)
        assert one.tests == tests.reward
        hidden = {id(case) for case in (*tests.base, *tests.plus)}
        assert not hidden & {id(thing) for thing in seen}
        calls = {encode(test.arguments) for test in one.tests}
        assert not any(encode(case.arguments) in calls for case in (*tests.base, *tests.plus))
        assert not any(body.body in text for body in problem.references for text in texts)


def test_no_other_split_can_be_learned_from() -> None:
    def make(ids: Sequence[str]) -> list[tuple[tasks.Problem, tasks.Tests]]:
        return [(minicode.problem("minicode/test/0/0"), minicode.tests("minicode/test/0/0"))]

    with pytest.raises(TaskError, match=r"minicode/test/0/0: .* of the split rl"):
        load(Minicode(), make=make)
    with pytest.raises(TaskError, match="at least 1, got 0"):
        Minicode(problems=0)


def test_the_generator_is_asked_by_default() -> None:
    (problem,) = load(Minicode(seed=6, problems=1)).problems
    assert problem.tests == minicode.tests("minicode/rl/6/0").reward


# --- tables -------------------------------------------------------------------------------------


def test_asserts_are_taken_apart(tmp_path: Path) -> None:
    tests = [
        "assert twice(2) == 4 ",
        "assert abs(twice(0.5) - 1) < 1e-6",
        "assert twice([1])[0] == 1",
    ]
    found = table(tmp_path, ROW | {"test_cases": tests})
    expected = tuple(split(source, "twice") for source in tests)
    assert found.problems == (GradedProblem("a", str(ROW["question"]), "twice", expected),)  # type: ignore[arg-type]
    assert found.left_out == () and found.summary() == "1 problems; left out: nothing"


PAIRS = {"fn_name": "f", "inputs": [[1, [2]], [3, []]], "outputs": ["a", None]}


@pytest.mark.parametrize("written", [PAIRS, json.dumps(PAIRS)])
def test_inputs_and_outputs_are_cases(tmp_path: Path, written: Any) -> None:
    columns = Columns(prompt="text", tests="input_output")
    (one,) = table(
        tmp_path, {"id": 7, "text": "Do f.", "input_output": written}, columns=columns
    ).problems
    assert one == GradedProblem("7", "Do f.", "f", (Case((1, [2]), "a"), Case((3, []), None)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "without 'id'"),
        ({"question": "  "}, "without 'question'"),
        ({"question": None}, "without 'question'"),
        ({"test_cases": None}, "without 'test_cases'"),
        ({"test_cases": []}, "without 'test_cases'"),
        ({"test_cases": "assert f(1)"}, "'test_cases' is text but not JSON"),
        ({"test_cases": [3]}, "'test_cases' is neither asserts nor inputs and outputs"),
        ({"test_cases": {"inputs": [[1]]}}, "'test_cases' has not as many inputs as outputs"),
        (
            {"test_cases": {"inputs": [[1]], "outputs": [1]}},
            "inputs and outputs without the name of a function",
        ),
        ({"test_cases": ["assert 1 == 1"]}, "its tests call no one function"),
        ({"test_cases": ["assert f(g(1)) == 1"]}, "its tests call no one function"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    found = table(tmp_path, ROW | change, LAST)
    assert [one.id for one in found.problems] == ["last"]
    assert left(found) == [("rows.jsonl:1", "row", reason)]
    assert found.counts() == {("row", reason): 1}
    assert found.summary() == f"1 problems; left out: 1 x row: {reason}"


def test_a_test_that_cannot_be_used_is_named_and_the_others_stay(tmp_path: Path) -> None:
    tests = [
        "assert twice(twice(1)) == 4",
        "assert twice(",
        "assert twice(2) == 4",
        "assert twice(object) == 1",
    ]
    found = table(tmp_path, ROW | {"test_cases": tests})
    assert found.problems[0].tests == (split(tests[2], "twice"),)
    assert left(found) == [
        ("rows.jsonl:1", "test", "cannot be taken apart"),
        ("rows.jsonl:1", "test", "not Python"),
        ("rows.jsonl:1", "test", "cannot be taken apart"),
    ]
    assert found.left_out[0].detail == "twice is called 2 times: assert twice(twice(1)) == 4"


def test_what_grades_nothing_is_no_problem(tmp_path: Path) -> None:
    broken = ROW | {"test_cases": ["assert twice(twice(1)) == 4"]}
    found = table(tmp_path, broken, LAST, LAST | {"question": "again"})
    assert left(found)[1:] == [
        ("rows.jsonl:1", "row", "no test is left"),
        ("rows.jsonl:3", "row", "its id stands twice"),
    ]
    with pytest.raises(TaskError, match=r"no problem can be used; 0 problems; .*no test is left"):
        table(tmp_path, broken)
    with pytest.raises(TaskError, match="a graded problem without tests"):
        GradedProblem("a", "q", "f", ())


def test_lines_that_are_no_objects_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW) + '\n\n{"id": 1\n[1]\n' + json.dumps(LAST))
    found = load(Table(str(file)))
    assert [one.id for one in found.problems] == ["a", "last"]
    assert left(found) == [(f"rows.jsonl:{n}", "row", "no JSON object") for n in (3, 4)]


def test_every_kind_of_table_gives_the_same_problems(tmp_path: Path) -> None:
    rows = [ROW, LAST]
    expected = table(tmp_path, *rows).problems
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    made = datasets.Dataset.from_list(rows)
    made.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": made}).save_to_disk(str(tmp_path / "several"))
    for source in (
        Table(str(tmp_path / "rows.parquet")),
        Table(str(tmp_path / "one")),
        Table(str(tmp_path / "several"), split="train"),
    ):
        assert load(source).problems == expected
    with pytest.raises(TaskError, match="one of its splits train, got None"):
        load(Table(str(tmp_path / "several")))


def test_a_source_is_a_config() -> None:
    found = load_config(Table, overrides=["file=a.jsonl", "columns.tests=tests", "tell=test"])
    assert found == Table("a.jsonl", columns=Columns(tests="tests"), tell="test")


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (["assert f(1) == 2", "assert f(2) == 3"], "f"),
        (["assert sorted(f('g(1)')) == [1]", "assert math.isclose(f(2), 3)"], "f"),
        (["assert f(1) == 1", "assert f(g(1)) == 1", "assert ("], "f"),
        (["assert f(1) == g(1)"], None),
        ([], None),
    ],
)
def test_the_function_that_tests_call(tests: list[str], name: str | None) -> None:
    assert called(tests) == name


# --- the prompt ---------------------------------------------------------------------------------


def test_a_prompt_says_the_name_and_no_test(tmp_path: Path) -> None:
    other = ROW | {"id": "b", "question": "Double it."}
    one, two = table(tmp_path, ROW, other).problems
    assert one.prompt == ROW["question"]
    assert two.prompt == "Double it.\nName the function `twice`."


def test_a_test_that_a_prompt_shows_grades_nothing(tmp_path: Path) -> None:
    # Published: the first graded test stands in the prompt.
    tests = [f"assert twice({n}) == {2 * n}" for n in range(3)]
    (one,) = table(tmp_path, ROW | {"test_cases": tests}, tell="test").problems
    assert one.prompt == f"{ROW['question']}\nTest cases: {tests[0]}"
    assert one.tests == tuple(split(source, "twice") for source in tests[1:])
    fenced = ROW | {"test_cases": tests, "question": "Complete:\n```\ndef twice(x):\n```\n"}
    (one,) = table(tmp_path, fenced, tell="test").problems
    assert one.prompt == fenced["question"] and len(one.tests) == 3


@pytest.mark.parametrize(
    "words",
    [
        "so that twice( 2 ) is 4",
        ">>> twice(2)\n4",
        "assert twice(2)==4",
        "print(twice(\n    2,\n))",
    ],
)
def test_an_example_in_the_question_grades_nothing(tmp_path: Path, words: str) -> None:
    tests = ["assert twice(2) == 4", "assert twice(3) == 6"]
    found = table(tmp_path, ROW | {"question": words, "test_cases": tests})
    assert found.problems[0].tests == (split(tests[1], "twice"),)
    assert left(found) == [("rows.jsonl:1", "test", "its call stands in the prompt")]


def test_what_is_no_call_of_the_function_shows_nothing() -> None:
    text = "def f():\n    use xf(1), f(x), f(y=1) and (f (2, ')') + 1) as f("
    assert len(shown_calls(text, "f")) == 1
    assert shown_calls("def f():", "f") == set() and len(shown_calls("f()", "f")) == 1


# --- order --------------------------------------------------------------------------------------


def test_the_order_is_a_pure_function_of_seed_and_epoch() -> None:
    tests = (Case((1,), 1),)
    problems = [GradedProblem(f"p{n}", "q", "f", tests) for n in range(40)]
    found, shuffled = ProblemSet(tuple(problems)), ProblemSet(tuple(reversed(problems)))
    first = [one.id for one in found.order(0, 0)]
    assert sorted(first) == sorted(one.id for one in problems)
    assert [one.id for one in shuffled.order(0, 0)] == first
    others = {tuple(one.id for one in found.order(*at)) for at in ((0, 1), (1, 0), (1, 1), (0, 11))}
    assert len(others | {tuple(first)}) == 5
    fewer = ProblemSet(tuple(problems[:30]))
    kept = {one.id for one in fewer.problems}
    assert [one.id for one in fewer.order(0, 0)] == [id for id in first if id in kept]


def test_the_order_of_today_is_that_of_tomorrow() -> None:
    tests = (Case((1,), 1),)
    found = ProblemSet(tuple(GradedProblem(f"p{n}", "q", "f", tests) for n in range(6)))
    assert " ".join(one.id for one in found.order(7, 2)) == "p5 p0 p4 p3 p2 p1"


# --- EvalPlus -----------------------------------------------------------------------------------


def plus(number: int, body: str, prompt: str = "", **change: Any) -> dict[str, Any]:
    head = f'def f(x):\n    """{prompt}"""\n'
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": head,
        "entry_point": "f",
        "canonical_solution": body,
        "base_input": [[1], [2]],
        "plus_input": [[-77]],
        "atol": 0,
        **change,
    }


def test_an_evalplus_file_gives_its_base_inputs(sandbox: Sandbox, tmp_path: Path) -> None:
    """The first reference fails on its plus input, which is never run."""
    rows = [
        plus(0, "    assert x > 0\n    return 2 * x\n", prompt="\n    >>> f(1)\n    2\n    "),
        plus(1, "    raise ValueError\n"),
    ]
    source = EvalPlusFile(jsonl(tmp_path, *rows), str(tmp_path / "cache"))
    found = load(source, sandbox=sandbox)
    (one,) = found.problems
    assert one.id == "HumanEval/0" and one.limits is None and one.prompt == rows[0]["prompt"]
    assert [test.arguments for test in one.tests] == [(2,)]  # f(1) stands in the prompt
    assert -77 not in reachable(one)
    assert left(found) == [
        ("HumanEval/0", "test", "its call stands in the prompt"),
        ("HumanEval/1", "row", "its reference gives no answers"),
    ]
    right, wrong = check(
        sandbox,
        [
            Submission(f"def f(x):\n    return {k} * x\n", one.entry_point, one.tests)
            for k in (2, 3)
        ],
    )
    assert right.passed and not wrong.passed
    with pytest.raises(SandboxError, match="give a sandbox"):
        load(source)


# --- AceCode ------------------------------------------------------------------------------------


def test_prepared_questions_are_problems_that_their_best_completions_solve(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    easy = prepare(lambda: read(SAMPLE), SHIPPED["easy"], Tally())
    found = load(Table(jsonl(tmp_path, *easy)))
    best = {
        row.fields["id"]: max(row.fields["inferences"], key=lambda one: one["pass_rate"])
        for row in read(SAMPLE)
        if row.fields
    }
    submissions = [
        Submission(best[one.id.removesuffix(COPY)]["completion"], one.entry_point, one.tests)
        for one in found.problems
    ]
    assert len(submissions) == 5
    assert all(report.passed for report in check(sandbox, submissions))
