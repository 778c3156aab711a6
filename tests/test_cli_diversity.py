"""``diffucode diversity``: tables, JSON, the picture, mistakes; programs told apart by running them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from diffucode.cli import run
from diffucode.files import to_jsonl
from diffucode.measure.clustering.judge import Endpoint

PROMPT = 'def total(xs):\n    """The sum of xs."""\n'
LOOP = "    s = 0\n    for x in xs:\n        s += x\n    return s\n"
COMPREHENDED = "    return sum([y for y in xs])\n"
SORTED = "    s = 0\n    for x in sorted(xs):\n        s += x\n    return s\n"
PROBLEM = {
    "task_id": "HumanEval/900", "prompt": PROMPT, "entry_point": "total", "canonical_solution": LOOP,
    "contract": "", "base_input": [[[3, 1, 2]], [[5, 4, 9, 7]]], "plus_input": [[[8, 6, 1, 0, 2]]],
    "atol": 0, "test": "def check(candidate):\n    assert candidate([1]) == 1\n",
}  # fmt: skip


def written(name: str, bodies: list[str], passed: int) -> str:
    rows = [{"task_id": "HumanEval/900", "solution": PROMPT + body} for body in bodies]
    verdicts = [
        {"task_id": "HumanEval/900", "sample": n, "base": n < passed, "plus": n < passed}
        for n in range(len(bodies))
    ]
    Path(f"{name}.jsonl").write_text(to_jsonl(rows))
    Path(f"{name}.results.jsonl").write_text(to_jsonl(verdicts))
    return f"{name}.jsonl"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("one_task.jsonl").write_text(to_jsonl([PROBLEM]))
    one = written("one", [LOOP, SORTED, LOOP, LOOP, "    return 0\n", LOOP], 4)
    return [one, written("two", [LOOP, LOOP, LOOP, COMPREHENDED, LOOP, LOOP], 6)]


def test_tables(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diversity", *files, "--clusters", "tree", "-k", "3"]) == 0
    out = capsys.readouterr().out
    assert "told apart by canonical tree; 6 samples of each of 1 tasks" in out
    assert "The 1 tasks with 3 correct programs in every file:" in out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()]
    table = {row[0]: row[1:] for row in reversed(cells) if row}
    assert table[""] == ["one.jsonl", "two.jsonl", "all pooled"]
    assert table["correct programs"] == ["4", "6", "6"]
    assert table["eDA@1"] == ["0.667", "1.000", "1.000"]
    assert table["EA"] == ["1.755", "1.569", "1.569"]
    assert "Less one.jsonl" in out


def test_json_and_the_picture(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--clusters", "tree", "-k", "2", "--json", "--plot", "new.png"]
    assert run(["diversity", *files, *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clusterer"] == "canonical tree" and found["k_max"] == 6
    assert found["common"]["figures"]["DA@2"]["one.jsonl"]["value"] == pytest.approx(1.5)
    assert len(found["curves"]["eDA"]["two.jsonl"]) == 6
    assert found["per_task"]["HumanEval/900"]["one.jsonl"]["sizes"] == [3, 1]
    assert Path("new.png").read_bytes().startswith(b"\x89PNG")
    assert run(["diversity", *files, "--clusters", "tree", "-k", "7", "--plot", "none.png"]) == 0
    assert "No task with 7 correct programs in every file" in capsys.readouterr().out
    assert Path("none.png").exists()


def test_programs_are_run_to_tell_algorithms_apart(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diversity", *files, "--dataset", "one_task.jsonl", "-k", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clusterer"].startswith("offline") and found["clusterer"].endswith("idea")
    sizes = {row: one["sizes"] for row, one in found["per_task"]["HumanEval/900"].items()}
    assert sizes["one.jsonl"] == [3, 1]  # sorting is another idea
    assert sizes["two.jsonl"] == [6]  # a comprehension is not


def test_a_judge_tells_algorithms_apart(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(endpoint: Endpoint, messages: Sequence[dict[str, str]]) -> str:
        asked.append(messages[0]["content"])
        return "Both add up. VERDICT: SAME"

    monkeypatch.setattr(Endpoint, "complete", answer)
    arguments = ["--dataset", "one_task.jsonl", "--judge", "http://x/v1", "--judge-model", "wise"]
    for _ in range(2):  # the second time from disk
        assert run(["diversity", files[0], *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert found["clusterer"].startswith("judge wise")
    assert found["per_task"]["HumanEval/900"]["one.jsonl"]["sizes"] == [4]
    assert len(asked) == 1 and "The sum of xs" in asked[0]


def test_verdicts_may_lie_elsewhere(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.results.jsonl").rename("elsewhere.jsonl")
    arguments = ["diversity", "one.jsonl", "--clusters", "tree", "--json"]
    assert run(arguments) == 2
    assert "diffucode score one.jsonl writes it" in capsys.readouterr().err
    assert run([*arguments, "--results", "elsewhere.jsonl"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one.jsonl"], "of which benchmark?"),
        (["one.jsonl", "one.jsonl"], "the same file twice"),
        (["one.jsonl", "--results", "a", "--results", "b"], "2 for 1 files"),
        (["one.jsonl", "--judge", "http://x/v1"], "expected --judge-model beside it"),
        (["one.jsonl", "--plot", "no/folder.png"], "a folder that exists"),
        (["none.jsonl", "--clusters", "tree"], "no such file"),
        (["one.jsonl", "--dataset", "other.jsonl"], "other.jsonl"),
    ],
)
def test_mistakes_are_one_line(
    files: list[str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diversity", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
