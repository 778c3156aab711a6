"""Training, picking and measuring the bundled models: the rules, the resumption, the tables, one round trip.

Figures are checked on hand-made rows; models only show that every part runs from end to end.
"""

import importlib.machinery
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mini_card
import mini_measure
import mini_pick
import mini_problems
import mini_score
import numpy as np
import pytest
from mini_measure import Bench, Settings, Store
from mini_problems import Known, Problems
from typer.testing import CliRunner

from diffucode.cli import app
from diffucode.decoding.engine import decode
from diffucode.decoding.order import LeftToRight
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.errors import (
    CheckpointError,
    ConfigError,
    PromptError,
    ResumeError,
    SandboxError,
    TaskError,
)
from diffucode.execution.checks import Report
from diffucode.execution.sandbox import Sandbox
from diffucode.models.load import find
from diffucode.tasks import minicode
from diffucode.tasks.problem import Case, Problem, Reference
from diffucode.tasks.problem import Tests as Sets

ROOT = Path(__file__).parents[2]
loader = importlib.machinery.SourceFileLoader("train_mini", str(ROOT / "scripts" / "train_mini"))
spec = importlib.util.spec_from_loader("train_mini", loader)
assert spec is not None
train_mini = importlib.util.module_from_spec(spec)
loader.exec_module(train_mini)

HEAD = 'def twice(x):\n    """Return x doubled."""\n'
RIGHT = HEAD + "    return 2 * x\n"
HOLLOW = HEAD + "    return 2 * abs(x)\n"
WRONG = HEAD + "    return x\n"
BROKEN = HEAD + "    return (x\n"


def known(index: int, signature: str = "twice") -> Known:
    """A problem whose ``reward`` misses what ``plus`` sees."""
    references = (Reference("    return 2 * x\n", "closed-form", 1.0, True),)
    problem = Problem(
        f"minicode/test/1/{index}", HEAD, "twice", references, signature, "numbers", 1
    )
    return Known(
        problem,
        Sets(
            reward=(Case((1,), 2), Case((3,), 6)),
            base=(Case((0,), 0),),
            plus=(Case((-2,), -4), Case((5,), 10)),
        ),
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, tier="strongest") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems that are made take seconds, so tests share them."""
    return tmp_path_factory.mktemp("runs")


# --- problems on disk --------------------------------------------------------------------------


def test_a_problem_comes_back_as_it_was() -> None:
    some = known(0)
    odd = Case(({"a": (1, 2.5)}, [[1], []], "ß"), {3, 4})
    some = some._replace(tests=replace(some.tests, base=(odd,)))
    assert mini_problems.from_bytes(mini_problems.to_bytes(some)) == some


def test_problems_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(id: str) -> Known:
        made.append(id)
        return known(int(id.rpartition("/")[2]))

    monkeypatch.setattr(mini_problems, "made", make)
    ids = mini_problems.ids("test", 1, 3)
    Problems(tmp_path).make(ids[:2])
    again = Problems(tmp_path)
    assert [p.id for p in again.make([*ids, ids[0]])] == [*ids, ids[0]]
    assert made == ids
    assert again[ids[1]] == known(1)
    file = again._file(ids[0])
    file.write_bytes(file.read_bytes()[:-3])
    Problems(tmp_path).make(ids)
    assert made == [*ids, ids[0]]


def test_another_generator_makes_other_problems(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return mini_problems.generator_digest(tmp_path)

    first = digest(draws="RATE = 0.2\n", detect="A = 1\n")
    assert digest(draws='"""Said anew."""\nRATE  = 0.2  # of all\n') == first
    assert digest(detect="A = 2\n") == first
    assert digest(draws="RATE = 0.3\n") != first
    assert digest(draws="RATE = 0.2\n", more="B = 1\n") != first


def test_ids_and_problems_are_minicodes(folder: Path) -> None:
    (id,) = mini_problems.ids("test", 5, 1)
    problems = Problems(folder)
    assert problems.make([id]) == minicode.problems("test", 5, 1)
    assert problems[id].tests == minicode.tests(id)
    with pytest.raises(TaskError, match="no split 'tset'"):
        problems.make(mini_problems.ids("tset", 5, 1))


# --- verdicts and rows -------------------------------------------------------------------------


def test_what_a_row_counts(sandbox: Sandbox, tmp_path: Path) -> None:
    problems, one = Problems(tmp_path), known(0)
    problems._known[one.problem.id] = one
    renamed = RIGHT.replace("x", "y")
    programs = {one.problem.id: [RIGHT, renamed, *[HOLLOW] * 3, WRONG, BROKEN]}
    verdicts = mini_measure.judge(sandbox, problems, [one.problem], programs)
    (row,) = mini_measure.rows_of([one.problem], programs, verdicts)
    assert row is not None
    counts = {key: row[key] for key in row if key not in ("id", "signature", "domain", "trap")}
    assert counts == {
        "band": 1,
        "n": 7,
        "valid": 6,
        "reward": 5,
        "plus": 2,
        "hollow": 3,
        "distinct": 3,
        "distinct_right": 1,
    }


def test_a_failure_of_the_sandbox_leaves_no_row(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems, one = Problems(tmp_path), known(0)
    problems._known[one.problem.id] = one

    def broken(_: Any, submissions: Sequence[Any], **how: Any) -> list[Report]:
        return [Report((), "no worker", False, 0.0, b"") for _ in submissions]

    monkeypatch.setattr(mini_measure, "check", broken)
    programs = {one.problem.id: [RIGHT]}
    verdicts = mini_measure.judge(sandbox, problems, [one.problem], programs)
    assert mini_measure.rows_of([one.problem], programs, verdicts) == [None]


def row(index: int, **changes: Any) -> dict[str, Any]:
    base = {"index": index, "id": str(index), "signature": f"s{index}", "domain": "numbers"}
    base |= {"band": 1 + index % 5, "trap": index % 4 == 0, "n": 1, "valid": 1, "reward": 1}
    return base | {"plus": 0, "hollow": 0, "distinct": 1, "distinct_right": 0} | changes


def test_figures_of_solved_problems() -> None:
    rows = [row(i, plus=int(i % 5 < 2), hollow=int(i % 5 == 2)) for i in range(20)]
    rows[19] |= {"reward": 0, "signature": "s0"}
    found = mini_measure.solved(rows, 0)
    assert (found["scored"], found["signatures"]) == (20, 19)
    assert found["pass"]["value"] == pytest.approx(8 / 20)
    assert found["hollow"]["value"] == pytest.approx(4 / 19)
    assert found["hollow"]["n"] == 19
    assert [found["bands"][str(band)]["value"] for band in range(1, 6)] == [1, 1, 0, 0, 0]
    assert found["traps"]["n"] == 5
    assert found["others"]["n"] == 15


def test_figures_of_groups_and_of_many_samples() -> None:
    rows = [row(i, n=8, plus=i, reward=8, valid=8, distinct=i + 1) for i in range(9)]
    rows[1]["reward"] = 3
    groups = mini_measure.grouped(rows, 0)
    assert groups["mixed"]["value"] == pytest.approx(1 / 9)
    assert groups["mixed_plus"]["value"] == pytest.approx(7 / 9)
    assert groups["distinct"]["value"] == 5
    many = mini_measure.passing(rows, 8, 0)
    assert many["pass"]["value"] == pytest.approx(0.5)
    assert many["pass_k"]["value"] == pytest.approx(8 / 9)


def test_forks() -> None:
    assert mini_measure.fork([[1, 2, 3, 0], [1, 2, 4, 0]]) == 2
    assert mini_measure.fork([[1, 0], [1, 2, 0]]) == 1
    assert mini_measure.fork([[1, 0], [1, 0]]) is None
    assert mini_measure.fork([[1, 0]]) is None
    rows = [row(i, fork=1.0 + i, others=[0.1, 0.2, 0.3]) for i in range(3)]
    found = mini_measure.contrast(rows, 0)
    assert found["ratio"]["value"] == pytest.approx(10)
    assert found["ratio"]["low"] < 10 < found["ratio"]["high"]


@pytest.mark.parametrize("name", ["mini", "mini-ar"])
def test_entropies_along_a_body_are_those_of_decoding_it_from_left_to_right(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    bench = Bench.of(find(name), name, Settings(tmp_path), sandbox)
    prompt = bench.loaded.tokenizer.encode(HEAD)
    plan = SamplingPlan(order=LeftToRight())
    request = Request.completion("a", prompt, bench.canvas, plan)
    (done,) = decode(bench.loaded.denoiser, [request], decoder=bench.loaded.decoder)
    steps = done.trace.step[len(prompt) :] >= 0
    body = [int(token) for token in done.tokens[len(prompt) :][steps]]
    expected = done.trace.entropy[len(prompt) :][steps]
    assert np.allclose(bench._along(prompt, body), expected, atol=1e-4)
    assert expected.max() > 0.05


# --- resumption --------------------------------------------------------------------------------


def test_a_torn_line_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add("part", [{"index": 0}, {"index": 1}])
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"index": 2, "pl')
    assert store.rows("part").keys() == {0, 1}
    store.add("part", [{"index": 3}])
    assert store.rows("part").keys() == {0, 1, 3}


def test_measuring_goes_on_where_it_was_killed(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini_problems, "made", lambda id: known(int(id.rpartition("/")[2])))
    monkeypatch.setattr(mini_measure, "CHUNK", 2)
    bench = Bench.of(find("mini"), "mini", Settings(tmp_path), sandbox)
    decoded: list[str] = []

    def programs(problems: Sequence[Problem], *_: Any) -> dict[str, list[str]]:
        if len(decoded) >= 4:
            raise RuntimeError("killed")
        decoded.extend(p.id for p in problems)
        return {p.id: [RIGHT] for p in problems}

    monkeypatch.setattr(bench, "_programs", programs)
    with pytest.raises(RuntimeError, match="killed"):
        bench.completed("test", 5, 1, 0.0, 7)
    del decoded[:]
    assert [r["index"] for r in bench.completed("test", 5, 1, 0.0, 7)] == [0, 1, 2, 3, 4]
    assert decoded == ["minicode/test/1/4"]
    del decoded[:]
    assert len(bench.completed("test", 6, 1, 0.0, 7)) == 6  # more problems extend fewer
    assert len(bench.completed("test", 3, 1, 0.0, 7)) == 3
    assert decoded == ["minicode/test/1/5"]
    bench.completed("test", 1, 1, 0.0, 8)  # another pace is another measurement
    assert decoded == ["minicode/test/1/5", "minicode/test/1/0"]


def test_nothing_that_could_be_checked_is_an_error(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini_problems, "made", lambda id: known(int(id.rpartition("/")[2])))
    bench = Bench.of(find("mini"), "mini", Settings(tmp_path), sandbox)
    monkeypatch.setattr(bench, "_programs", lambda problems, *_: {p.id: [RIGHT] for p in problems})
    monkeypatch.setattr(mini_measure, "rows_of", lambda problems, *_: [None] * len(problems))
    with pytest.raises(SandboxError, match="not check a single one of 2"):
        bench.completed("test", 2, 1, 0.0, 7)


def test_a_prompt_over_the_limit_cannot_be_measured(sandbox: Sandbox, tmp_path: Path) -> None:
    bench = Bench.of(find("mini"), "mini", Settings(tmp_path), sandbox)
    long = replace(known(0).problem, prompt=HEAD + "    # and so on\n" * 200)
    with pytest.raises(PromptError, match=r"mini: minicode/test/1/0: .* over the model's limit"):
        bench._programs([long], 1, 0.0, None, 0)


def test_impossible_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pass_k=64 of pass_samples=8"):
        Settings(tmp_path, pass_samples=8)
    with pytest.raises(ConfigError, match="problems: expected at least 1, got 0"):
        Settings(tmp_path, problems=0)


# --- picking -----------------------------------------------------------------------------------


def a_run(folder: Path, scores: dict[int, float]) -> None:
    rows = [{"step": step, "loss": 1.0} for step in scores]
    rows += [{"step": step, "dev_passed": passed} for step, passed in scores.items()]
    for step in scores:
        (folder / "kept" / f"step-{step}").mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)


def test_checkpoints_are_picked_by_the_rules(tmp_path: Path) -> None:
    a_run(tmp_path / "mini", {100: 0.1, 200: 0.2, 300: 0.4, 400: 0.45, 500: 0.46})
    a_run(tmp_path / "mini-ar", {10: 0.2, 20: 0.43, 30: 0.5, 40: 0.51, 50: 0.9})
    exact = {"step-100": 0.05, "step-200": 0.24, "step-300": 0.4, "step-400": 0.47}
    exact |= {"step-10": 0.1, "step-20": 0.47, "step-30": 0.52, "step-40": 0.5, "step-50": 0.9}
    exact |= {"step-500": 0.5, "model": 0.5}
    picks = mini_pick.pick(tmp_path, lambda folder: exact[folder.name])
    assert picks["mini-ar-matched"].folder.name == "step-30"  # 40 is nearer, but later
    assert picks["mini-45"].folder.name == "step-400"
    assert picks["mini-25"].folder.name == "step-200"
    assert picks["mini-25"].passed == 0.24


def test_the_last_checkpoint_is_no_weaker_model(tmp_path: Path) -> None:
    a_run(tmp_path / "mini", {100: 0.1, 200: 0.45})
    a_run(tmp_path / "mini-ar", {10: 0.2})
    exact = {"step-100": 0.1, "step-200": 0.45, "step-10": 0.2, "model": 0.45}
    picks = mini_pick.pick(tmp_path, lambda folder: exact[folder.name])
    assert picks["mini-45"].folder.name == "step-100"
    assert picks["mini-ar-matched"].folder.name == "step-10"  # none within 2 points: the nearest


def test_runs_without_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no kept checkpoints"):
        mini_pick.logged(tmp_path / "mini")


def test_shipping_replaces_a_model_and_keeps_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "run" / "model", tmp_path / "weights" / "mini"
    for folder, name in ((source, "new"), (target, "old"), (target.parent / "other", "old")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"x" * 100)
    train_mini.ship(source, target)
    assert [file.name for file in target.iterdir()] == ["new"]
    monkeypatch.setattr(train_mini, "MOST_BYTES", 199)
    with pytest.raises(CheckpointError, match="200 bytes with mini, over the 199"):
        train_mini.ship(source, target)
    assert target.exists()


# --- the card ----------------------------------------------------------------------------------


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 1000, "clusters": 800}


def result(**changes: Any) -> dict[str, Any]:
    """Figures that meet every target, but for the changes."""
    reached: dict[str, Any] = {
        "scored": 1000,
        "signatures": 700,
        "pass": 0.6,
        "valid": 0.95,
        "pass_k": 0.9,
        "bands": [0.9, 0.7, 0.5, 0.3, 0.1],
        "mixed": 0.4,
        "distinct": 4.0,
        "ratio": 5.0,
        "seconds": 0.25,
        "bytes": 24_000_000,
    }
    reached |= changes
    bands = {str(i): estimate(value) for i, value in enumerate(reached["bands"], start=1)}
    whole = {key: reached[key] for key in ("scored", "signatures")} | {"steps": 32, "split": "test"}
    whole |= {key: estimate(reached[key]) for key in ("pass", "valid")} | {"bands": bands}
    whole |= dict.fromkeys(("reward", "hollow", "traps", "others")) | {"domains": {}}
    group = {"steps": 32, "scored": 200, "samples": 8} | dict.fromkeys(
        ("mixed_plus", "distinct_right", "pass")
    )
    group |= {key: estimate(reached[key]) for key in ("mixed", "distinct")}
    sampled = {"temperature": 1.0, "k": 64, "samples": 64, "scored": 300, "pass": None}
    sampled |= {"pass_k": estimate(reached["pass_k"]), "valid": None, "distinct": None}
    forks = {"forks": 90, "fork_median": 1.0, "other_median": 0.2, "fork_mean": 1.0}
    forks |= {"other_mean": 0.3, "ratio": estimate(reached["ratio"])}
    mini = {"name": "mini", "decoder": "diffusion", "canvas": 64, "steps": 32, "seed": 1}
    mini |= {"greedy": [whole], "samples": [sampled], "groups": [group], "forks": forks}
    mini |= {"cost": {"seconds": reached["seconds"], "batch": 64}}
    matched = {"name": "mini-ar-matched", "decoder": "ar", "canvas": 64, "steps": 64, "seed": 1}
    return {
        "models": [mini, matched | {"groups": [group]}],
        "picks": {},
        "bytes": reached["bytes"],
    }


def test_the_edges_of_the_targets_meet_them() -> None:
    assert {met for _, _, met in mini_card.targets(result())} == {True}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"scored": 999}, 1),
        ({"signatures": 699}, 1),
        ({"pass": 0.49}, 1),
        ({"pass": 0.71}, 1),
        ({"valid": 0.94}, 1),
        ({"bands": [0.9, 0.5, 0.5, 0.3, 0.1]}, 1),
        ({"bands": [0.85, 0.7, 0.5, 0.3, 0.1]}, 1),
        ({"bands": [0.9, 0.7, 0.5, 0.3, 0.21]}, 1),
        ({"bands": [0.9, 0.7, 0.5, 0.3, 0.0]}, 1),
        ({"pass_k": 0.91}, 1),
        ({"mixed": 0.39}, 2),
        ({"distinct": 3.9}, 2),
        ({"ratio": 4.9}, 1),
        ({"seconds": 0.26}, 1),
        ({"bytes": 25_000_000}, 1),
    ],
)
def test_every_target_can_be_missed(changes: dict[str, Any], missed: int) -> None:
    found = mini_card.targets(result(**changes))
    assert [met for _, _, met in found].count(False) == missed


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    found = mini_card.targets({"models": [], "picks": {}, "bytes": 1})
    assert {met for _, _, met in found[:-1]} == {None}


def test_the_card_takes_the_tables() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    tables = mini_card.card(result())
    assert "| 60.0 [59.0, 61.0] |" in tables
    once = mini_card.put(text, tables)
    assert tables in once
    assert mini_card.put(once, tables) == once
    assert once.startswith(text.partition(mini_card.BEGIN)[0])
    assert once.endswith(text.partition(mini_card.END)[2])
    with pytest.raises(TaskError, match="the card needs one"):
        mini_card.put("no marks", tables)


# --- the command -------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, answers = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    ask = {"id": "minicode/test/1/0", "prompt": HEAD}
    prompts.write_text(json.dumps(ask) + "\n")
    other = json.dumps({"id": "minicode/test/1/1", "program": WRONG}) + "\n"
    for text, message in [
        (None, "cannot be read"),
        ("", "no lines in it"),
        ("[1]\n", "line 1: expected an object with id and program"),
        (other, "which .* does not ask"),
    ]:
        if text is not None:
            answers.write_text(text)
        with pytest.raises(SystemExit) as ended:
            train_mini.main(["score", str(prompts), str(answers)])
        assert ended.value.code == 2
        assert "Traceback" not in (printed := capsys.readouterr().err)
        assert re.search(message, printed)


def test_prompts_without_an_answer_are_refused(tmp_path: Path) -> None:
    prompts, answers = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    asks = [{"id": f"minicode/test/1/{i}", "prompt": HEAD} for i in range(2)]
    prompts.write_text("".join(json.dumps(ask) + "\n" for ask in asks))
    answers.write_text(json.dumps({"id": "minicode/test/1/1", "program": WRONG}) + "\n")
    with pytest.raises(TaskError, match="1 of 2 prompts have no answer, the first is 'minicode"):
        mini_score.score_files(prompts, answers, tmp_path)


def test_fresh_problems_through_generate_and_the_sandbox(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prompts are answered by ``diffucode generate``; a second answer, the reference, is right."""
    capsys.readouterr()
    train_mini.main(["prompts", "--seed", "5", "-n", "2", "--folder", str(folder)])
    text = capsys.readouterr().out
    prompts, answers = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    prompts.write_text(text)
    done = CliRunner().invoke(app, ["generate", "--prompts", str(prompts), "--json"])
    assert done.exit_code == 0, done.output
    written = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in written] == [json.loads(line)["id"] for line in text.splitlines()]

    answers.write_text(done.stdout)
    train_mini.main(["score", str(prompts), str(answers), "--folder", str(folder)])
    scored = json.loads(capsys.readouterr().out)
    assert (scored["prompts"], scored["answers"], scored["scored"]) == (2, 2, 2)

    known = Problems(folder)
    known.make(row["id"] for row in written)
    right = [row | {"program": known[row["id"]].problem.program} for row in written]
    answers.write_text("".join(json.dumps(row) + "\n" for row in [*written, *right]))
    both = mini_score.score_files(prompts, answers, folder)
    assert both["answers"] == 4
    assert both["pass"]["value"] == pytest.approx(scored["pass"]["value"] / 2 + 0.5)


def test_every_part_of_a_measurement_runs_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "figures.json"
    sizes = ["-n", "2", "--ood", "0", "--pass-problems", "1", "--group-problems", "1"]
    command = ["measure", "--quick", "--only", "mini", "--seed", "5", "--folder", str(folder)]
    command += [*sizes, "--fork-problems", "2", "--json", str(file)]
    train_mini.main(command)
    figures = json.loads(file.read_text())
    (mini,) = figures["models"]
    assert [row["steps"] for row in mini["greedy"]] == [
        mini["canvas"] // part for part in (1, 2, 4)
    ]
    assert all(row["scored"] == row["asked"] == 2 for row in mini["greedy"])
    assert mini["samples"][0]["samples"] == 4
    assert mini["groups"][0]["samples"] == 3
    assert mini["cost"]["seconds"] > 0

    def again(*_: Any, **how: Any) -> None:
        raise AssertionError("measured already")

    monkeypatch.setattr(mini_measure, "stream", again)
    monkeypatch.setattr(Bench, "_forked", again)
    train_mini.main(command)
    assert json.loads(file.read_text()) == figures
