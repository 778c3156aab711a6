"""Votes over files of samples, and drawn from a model round by round."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from twice import BROKEN, HEAD, RIGHT, WRONG, twice

from diffucode.cli import run
from diffucode.errors import TaskError
from diffucode.execution.outputs import fingerprint
from diffucode.execution.sandbox import Sandbox
from diffucode.measure import problems
from diffucode.measure.polls import from_files, live, read_samples
from diffucode.measure.problems import Known, Problems
from diffucode.measure.sweep import cells as cells_of
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.plan import Sweep
from diffucode.metrics.voting import Rule

ONE, TWO = "minicode/test/1/0", "minicode/test/1/7"  # of grids and of numbers: both can be doubled
SAME = HEAD + "    return x + x\n"
OTHER = HEAD + "    return x * 0\n"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "made", twice)


def lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(
        name: str, *, details: bool = True, results: list[Any] | None = None, **pools: Any
    ) -> Path:
        """``t5=[...]``: programs of the first task at T 0.5; the second task has the same."""
        rows = [
            (
                {"task_id": id, "solution": program},
                {"task_id": id, "temperature": int(pool[1:]) / 10, "nfe": 3},
            )
            for id in (ONE, TWO)
            for pool, programs in pools.items()
            for program in programs
        ]
        file = tmp_path / f"{name}.jsonl"
        lines(file, [row for row, _ in rows])
        if details:
            lines(tmp_path / f"{name}.details.jsonl", [row for _, row in rows])
        if results is not None:
            found = [
                {"task_id": row["task_id"], "plus": hit}
                for (row, _), hit in zip(rows, results, strict=True)
            ]
            lines(tmp_path / f"{name}.results.jsonl", found)
        return file

    return write


def test_files_become_pools_of_what_programs_do(
    write: Write, tmp_path: Path, sandbox: Sandbox
) -> None:
    """Unscored: the sandbox says what is right; programs that do the same have one label."""
    file = write("a", t10=[WRONG, OTHER], t5=[RIGHT, SAME, BROKEN])
    pools, polls = from_files([file], Problems(tmp_path), sandbox)
    assert pools == [(0.5, 0.0), (1.0, 0.0)] and [poll.id for poll in polls] == [ONE, TWO]
    [poll, _] = polls
    cold, hot = poll.labels
    assert cold[0] == cold[1] is not None and cold[2] is None
    assert len({cold[0], *hot}) == 3
    assert poll.right == [[True, True, False], [False, False]]
    assert poll.cost == [[3, 3, 3], [3, 3]]


def test_results_are_taken_where_they_are_and_null_is_checked(
    write: Write, tmp_path: Path, sandbox: Sandbox
) -> None:
    file = write("a", t5=[RIGHT, WRONG], results=[False, None, False, None])
    _, [poll, _] = from_files([file], Problems(tmp_path), sandbox)
    assert poll.right == [[False, False]]
    assert [one.right for one in read_samples(file)] == [False, None, False, None]


def test_files_without_details_are_a_pool_each(write: Write) -> None:
    found = [one for name in "ab" for one in read_samples(write(name, details=False, t5=[RIGHT]))]
    assert {one.pool for one in found} == {("a",), ("b",)} and {one.passes for one in found} == {1}


def test_files_that_do_not_fit(write: Write, tmp_path: Path, sandbox: Sandbox) -> None:
    file = write("a", t5=[RIGHT])
    lines(tmp_path / "a.details.jsonl", [{"task_id": ONE}])
    with pytest.raises(TaskError, match="1 lines for the 2 samples"):
        read_samples(file)
    lines(tmp_path / "a.details.jsonl", [{"task_id": TWO}, {"task_id": TWO}])
    with pytest.raises(TaskError, match=r"line 1: .* in its details"):
        read_samples(file)
    lines(tmp_path / "c.jsonl", [{"task_id": ONE}])
    with pytest.raises(TaskError, match="expected an object with task_id and solution"):
        read_samples(tmp_path / "c.jsonl")
    with pytest.raises(TaskError, match="no such file"):
        read_samples(tmp_path / "none.jsonl")
    lines(tmp_path / "d.jsonl", [{"task_id": ONE, "solution": RIGHT}])
    both = [write("e", details=False, t5=[RIGHT]), tmp_path / "d.jsonl"]
    with pytest.raises(TaskError, match=f"{TWO}: no samples at d"):
        from_files(both, Problems(tmp_path), sandbox)


def test_only_minicode_has_inputs_of_no_test(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: Any
) -> None:
    monkeypatch.undo()
    lines(tmp_path / "h.jsonl", [{"task_id": "HumanEval/0", "solution": RIGHT}])
    with pytest.raises(TaskError, match="only minicode's problems"):
        from_files([tmp_path / "h.jsonl"], Problems(tmp_path), sandbox)


def test_the_command_on_files(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Task one and two: 4 of 5 right at T 0.5, all at T 1; the first vote at 2 is unanimous."""
    file = write("a", t5=[RIGHT, SAME, RIGHT, SAME, WRONG], t10=[RIGHT, SAME, SAME, RIGHT, RIGHT])
    out = tmp_path / "chosen.jsonl"
    command = [
        "vote",
        str(file),
        "--folder",
        str(tmp_path / "v"),
        "--least",
        "2",
        "--out",
        str(out),
    ]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tasks"], found["accuracy"], found["accuracy of the full vote"]) == (2, 1, 1)
    assert (found["early exits"], found["false exits"]) == (2, 0)
    assert found["compute saved"] == pytest.approx(0.6)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [{"task_id": id, "solution": RIGHT} for id in (ONE, TWO)]
    assert run([*command, "--inside", "1.5"]) == 2
    assert "inside 1.5" in capsys.readouterr().err


def test_a_live_vote_draws_no_more_than_it_needs(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs of one problem all do the same, those of the other all something else."""
    fresh = count()

    def labelled(_: object, known: Sequence[Known], programs: dict[str, list[str]]) -> Any:
        return {
            one.problem.id: [
                ("same",) if one.problem.id.endswith("/0") else (next(fresh),)
                for _ in programs[one.problem.id]
            ]
            for one in known
        }

    monkeypatch.setattr(cells_of, "behaviours", labelled)
    sweep = Sweep(("mini-ar",), (0.0, 0.7), problems=2, samples=6, k=1, seed=5)
    grid, rule = Grid(sweep, tmp_path, tmp_path), Rule(round=2, least=2)
    found = live(grid, "mini-ar", rule, sandbox)
    assert [cell.short for cell in found.cells] == ["t0", "t0.7"]
    assert [(one.easy, one.used_T) for one in found.elections] == [(True, (1, 2)), (False, (1, 6))]
    assert [tuple(map(len, poll.labels)) for poll in found.polls] == [(1, 2), (1, 6)]
    assert (found.drawn, found.full) == (10, 14)
    assert sum(one.n for drawn in grid.drawn() for one in drawn.problems.values()) == 10
    assert 0 < found.used < found.whole
    again = live(grid, "mini-ar", rule, sandbox)
    assert again.elections == found.elections


def test_fingerprints_do_not_depend_on_spelling() -> None:
    one = (("returned", frozenset({"a", "b", ("c", 1)})), ("returned", 2.0), ("raised", "KeyError"))
    same = (
        ("returned", frozenset({("c", True), "b", "a"})),
        ("returned", 2),
        ("raised", "KeyError"),
    )
    assert one == same and fingerprint(one) == fingerprint(same)
    assert (
        len({fingerprint((("returned", x),)) for x in (1, "1", 1.5, None, (1,), frozenset({1}))})
        == 6
    )
    # the same in every process, whatever the order of its sets
    assert fingerprint((("returned", frozenset({"b", "a"})),)) == "8289d238098959a1"
