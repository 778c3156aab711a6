"""The command that trains and measures the bundled models: one round trip, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from running import as_module
from typer.testing import CliRunner

from diffucode.cli import app
from diffucode.measure import bench
from diffucode.measure.problems import Problems

train_mini = as_module("scripts/train_mini")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems that are made take seconds, so tests share them."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["score", "none.jsonl", "none.jsonl"], "none.jsonl: cannot be read"),
        (["measure", "--only", "mini", "-n", "0"], "problems: expected at least 1, got 0"),
        (["measure", "--only", "minni", "--quick"], "minni"),
        (["train", "--only", "pick", "--pick-problems", "0"], "problems: expected at least 1"),
        (["train", "--only", "pick"], "no kept checkpoints"),
        (["prompts", "--split", "tset"], "no split 'tset'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        train_mini.main([*command, "--folder", str(tmp_path)])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed


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
    asked = [json.loads(line)["id"] for line in text.splitlines()]
    assert sorted(row["id"] for row in written) == sorted(asked)  # they come as they finish

    answers.write_text(done.stdout)
    train_mini.main(["score", str(prompts), str(answers), "--folder", str(folder)])
    scored = json.loads(capsys.readouterr().out)
    assert (scored["prompts"], scored["answers"], scored["scored"]) == (2, 2, 2)

    known = Problems(folder).get(row["id"] for row in written)
    right = [
        row | {"program": problem.program} for row, (problem, _) in zip(written, known, strict=True)
    ]
    answers.write_text("".join(json.dumps(row) + "\n" for row in [*written, *right]))
    train_mini.main(["score", str(prompts), str(answers), "--folder", str(folder)])
    both = json.loads(capsys.readouterr().out)
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
    paces = [row["pace"] for row in mini["greedy"]]
    assert mini["pace"] in paces
    assert {mini["canvas"] // part for part in (1, 2, 4)} <= {steps for _, steps, _ in paces}
    assert all(0 < row["passes"] <= (row["pace"][1] or 64) for row in mini["greedy"])
    assert all(row["scored"] == row["asked"] == 2 for row in mini["greedy"])
    assert mini["samples"][0]["samples"] == 4
    assert mini["groups"]["samples"] == 3
    assert mini["cost"]["seconds"] > 0 < mini["cost"]["apart"]

    def again(*_: Any, **how: Any) -> None:
        raise AssertionError("measured already")

    monkeypatch.setattr(bench, "complete", again)
    monkeypatch.setattr(bench, "fork_of", again)
    train_mini.main(command)
    assert json.loads(file.read_text()) == figures
