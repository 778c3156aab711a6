"""Files of samples compared: equal sizes, pools, common tasks, references, what is undefined."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diffucode.errors import TaskError
from diffucode.files import to_jsonl
from diffucode.measure.clustering.task import Task
from diffucode.measure.diversity.comparison import Comparison, compare
from diffucode.measure.diversity.figures import Options
from diffucode.measure.diversity.files import judged
from diffucode.measure.diversity.job import File, diversity
from diffucode.measure.diversity.labels import labels, nameless
from diffucode.measure.diversity.rows import POOL, REFERENCES, references_of, rows
from diffucode.metrics.diversity.correct import Judged
from diffucode.tasks import minicode

LOOP = "def f(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\n"
SUM = "def f(xs):\n    return sum(xs)\n"
FOLD = "def f(xs):\n    return xs[0] + f(xs[1:]) if xs else 0\n"
WRONG = "def f(xs):\n    return 1\n"
CORRECT = {"l": LOOP, "s": SUM, "f": FOLD}


class Trees:
    """Programs are the same algorithm if they are the same text; unsure of recursion."""

    name = "by text"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        self.asked += programs
        return [None if program == FOLD else n for n, program in enumerate(programs)]


def samples(**tasks: str) -> dict[str, tuple[Judged, ...]]:
    """A letter a sample: l, s, f are right, w is wrong, ? has no verdict."""
    return {
        task: tuple(
            Judged(CORRECT.get(one, WRONG), None if one == "?" else one in CORRECT)
            for one in letters
        )
        for task, letters in tasks.items()
    }


def compared(
    files: dict[str, dict[str, tuple[Judged, ...]]],
    references: dict[str, list[Judged]] | None = None,
    **options: Any,
) -> Comparison:
    found = rows(files, references or {})
    clusterer = Trees()
    made = labels(clusterer, nameless(found.tasks), found.every)
    groups = {task: task for task in found.tasks}
    return compare(found, made, clusterer.name, groups, Options(**options))


def value(table: Any, figure: str, row: str) -> float:
    return float(table[figure][row].estimate.value)


def test_figures_of_one_file_by_hand() -> None:
    found = compared({"one": samples(a="llsw", b="wwww", c="llll")}, k=2, k_max=4)
    assert value(found.all, "eDA@1", "one") == pytest.approx((3 / 4 + 0 + 1) / 3)
    # of the pairs of a, lls and one wrong: ll 1, ls 2, ls 2, lw 1, lw 1, sw 1
    assert value(found.all, "eDA@2", "one") == pytest.approx((8 / 6 + 0 + 1) / 3)
    assert value(found.own, "DA@2", "one") == pytest.approx((5 / 3 + 1) / 2)
    assert found.common == ["a", "c"]
    assert value(found.shared, "programs of 2", "one") == 1
    assert value(found.shared, "algorithms", "one") == 1.5
    counts = found.counts["one"]
    assert (counts.solved, counts.correct, counts.clamped) == (2, 7, 1)
    assert found.effective == {"one": [pytest.approx(1.889882), 1]}
    assert [len(found.eda[0].points), len(found.da[0].points)] == [4, 3]
    assert found.per_task["a"]["one"] == {"judged": 4, "correct": 3, "sizes": [2, 1]}


def test_unsolved_tasks_count_in_eda_alone_and_wrong_programs_nowhere() -> None:
    plain = compared({"one": samples(a="lls", b="www")}, k=2)
    wrong = compared({"one": samples(a="llsw", b="wwww")}, k=2)
    assert plain.own["EA"] == wrong.own["EA"]
    assert plain.own["EA"]["one"].estimate == compared({"one": samples(a="lls")}, k=2).own["EA"][
        "one"
    ].estimate  # fmt: skip
    assert value(wrong.all, "eDA@2", "one") < value(plain.all, "eDA@2", "one")


def test_undefined_figures_say_why_and_are_no_zeros() -> None:
    found = compared({"one": samples(a="lww", b="lls")}, k=2)
    mean = found.own["DA@2"]["one"]
    assert mean.estimate is not None and mean.estimate.n == 1
    assert mean.undefined == {"fewer than 2 correct programs": 1}
    none = compared({"one": samples(a="www")}, k=2)
    assert none.own["EA"]["one"].estimate is None
    assert none.common == [] and none.shared["EA"]["one"].estimate is None
    assert json.loads(json.dumps(none.to_json()))["own"]["EA"]["one"]["value"] is None


def test_abstentions_and_missing_verdicts_are_counted() -> None:
    found = compared({"one": samples(a="llff", b="ll?w")}, k=2)
    counts = found.counts["one"]
    assert (counts.correct, counts.abstained, counts.unjudged) == (6, 2, 1)
    assert found.per_task["a"]["one"]["sizes"] == [2]
    assert value(found.all, "eDA@1", "one") == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_files_are_cut_to_equal_size_and_pooled_in_turn() -> None:
    files = {"one": samples(a="llllll", z="l"), "two": samples(a="sssss")}
    cut = rows(files, {})
    assert (cut.n, cut.tasks, cut.left_out) == (4, ("a",), 1)
    assert [row.correct["a"].programs for row in cut.files] == [(LOOP,) * 4, (SUM,) * 4]
    assert cut.pool is not None
    assert cut.pool.correct["a"].programs == (LOOP, SUM, LOOP, SUM)
    found = compared(files, k=3)
    assert [value(found.shared, "EA", row) for row in ("one", "two", POOL)] == [
        pytest.approx(x) for x in (1, 1, 2)
    ]
    assert value(found.minus_first, "EA", "two") == 0
    assert value(found.minus_first, "EA", POOL) == pytest.approx(1)
    assert "one" not in found.minus_first["EA"]


def test_a_pool_needs_a_sample_of_each() -> None:
    cut = rows({"one": samples(a="l"), "two": samples(a="s")}, {})
    assert (cut.n, cut.pool) == (1, None)
    assert rows({"one": samples(a="lls")}, {}).pool is None
    with pytest.raises(TaskError, match="no task in common"):
        rows({"one": samples(a="l"), "two": samples(b="l")}, {})


def test_common_tasks_are_those_that_all_rows_solve_often() -> None:
    files = {
        "one": samples(a="llll", b="llll", c="llll"),
        "two": samples(a="llll", b="llww", c="wwll"),
    }
    found = compared(files, k=3)
    assert found.common == ["a"]
    assert compared(files, k=2).common == ["a", "b", "c"]
    assert value(found.own, "algorithms", "two") == 1


def test_rows_share_labels() -> None:
    found = rows({"one": samples(a="llsw"), "two": samples(a="lsfw")}, {"a": [Judged(SUM, True)]})
    clusterer = Trees()
    made = labels(clusterer, nameless(found.tasks), found.every)
    assert clusterer.asked == [LOOP, SUM, FOLD]  # wrong ones never, equal ones once
    assert made == {"a": {LOOP: 0, SUM: 1, FOLD: None}}


def test_references_are_listed_not_drawn() -> None:
    given = {"a": [Judged(LOOP, True), Judged(SUM, True), Judged(WRONG, False)]}
    found = compared({"one": samples(a="llll")}, given, k=2)
    assert value(found.references, "algorithms", REFERENCES) == 2
    assert "Chao1" not in found.references and REFERENCES not in found.shared["EA"]
    assert value(found.shared, "new techniques, share", "one") == 0


def test_references_of_minicode() -> None:
    task = "minicode/dev-0-3"
    found = references_of([task, "HumanEval/0"])
    problem = minicode.problem("minicode/dev/0/3")
    assert list(found) == [task]
    assert [one.passed for one in found[task]] == [r.correct for r in problem.references]
    assert found[task][0].program == problem.prompt + problem.references[0].body


# --- files ---------------------------------------------------------------------------------------


def written(folder: Path, name: str = "samples", **tasks: str) -> Path:
    """A samples file and its verdicts."""
    file = folder / f"{name}.jsonl"
    lines, verdicts = [], []
    for task, letters in tasks.items():
        for n, one in enumerate(samples(t=letters)["t"]):
            lines.append({"task_id": task, "solution": one.program})
            row = {"task_id": task, "sample": n, "base": one.passed, "plus": one.passed}
            verdicts.append(row)
    file.write_text(to_jsonl(lines))
    (folder / f"{name}.results.jsonl").write_text(to_jsonl(verdicts))
    return file


def test_samples_are_read_with_their_verdicts(tmp_path: Path) -> None:
    file = written(tmp_path, a="lw?", b="s")
    assert judged(file, "plus") == {
        "a": (Judged(LOOP, True), Judged(WRONG, False), Judged(WRONG, None)),
        "b": (Judged(SUM, True),),
    }


def test_verdicts_that_do_not_fit(tmp_path: Path) -> None:
    file = written(tmp_path, a="lw", b="ss")
    results = tmp_path / "samples.results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:3]))
    with pytest.raises(TaskError, match=r"verdicts of 3 samples.*has 4"):
        judged(file, "plus")
    results.write_text("".join([lines[0], lines[2], lines[1], lines[3]]))
    with pytest.raises(
        TaskError, match="line 2: expected a verdict of sample 1 of a, got sample 0 of b"
    ):
        judged(file, "plus")
    results.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(
        TaskError, match="line 1: expected a verdict of sample 0 of a, got sample 1 of a"
    ):
        judged(file, "plus")
    results.write_text("".join([lines[0].replace("true", '"yes"'), *lines[1:]]))
    with pytest.raises(TaskError, match="line 1: base is 'yes'"):
        judged(file, "base")
    results.write_text("".join(line.replace('"plus"', '"other"') for line in lines))
    with pytest.raises(TaskError, match="no sample has a verdict on plus"):
        judged(file, "plus")
    results.unlink()
    with pytest.raises(TaskError, match=r"diffucode score .*samples.jsonl writes it"):
        judged(file, "plus")


def test_a_comparison_needs_a_benchmark_unless_it_compares_texts(tmp_path: Path) -> None:
    file = File(written(tmp_path, a="llss"))
    with pytest.raises(TaskError, match="of which benchmark"):
        diversity({"one": file}, None, cache=tmp_path)
    found = diversity({"one": file}, None, way="tree", options=Options(2), cache=tmp_path)
    assert value(found.shared, "EA", "one") == pytest.approx(2)
    assert found.options.k_max == 4
    paper = diversity({"one": file}, None, way="tree", paper=True, cache=tmp_path)
    assert paper.options.k_max == 25
