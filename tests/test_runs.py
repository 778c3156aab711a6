"""Run folders: they survive kills and refuse to mix runs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from diffucode.errors import ResumeError, TaskError
from diffucode.runs import checkpoints, command, git_revision, new_checkpoint, open_run

CONFIG = {"steps": 3, "model": {"layers": 4}, "rates": [0.1]}


def test_a_run_records_what_was_asked_and_continues_under_the_same_config(tmp_path: Path) -> None:
    run = open_run(tmp_path / "a" / "b", CONFIG, {"seed": 7})
    record = json.loads((run.folder / "run.json").read_text())
    assert record["config"] == CONFIG and record["seeds"] == {"seed": 7}
    before = (run.folder / "run.json").read_bytes()
    assert open_run(run.folder, {**CONFIG, "rates": (0.1,)}, {"seed": 7}) == run
    assert (run.folder / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("config", "seed", "words"),
    [
        ({**CONFIG, "model": {"layers": 5}}, 7, "config.model.layers was 4, now 5"),
        ({**CONFIG, "extra": 1}, 7, "config.extra was None, now 1"),
        (CONFIG, 8, "seeds.seed was 7, now 8"),
    ],
)
def test_another_config_or_seed_is_refused(
    tmp_path: Path, config: dict[str, object], seed: int, words: str
) -> None:
    open_run(tmp_path, CONFIG, {"seed": 7})
    with pytest.raises(ResumeError, match=words):
        open_run(tmp_path, config, {"seed": seed})


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ResumeError, match="holds no run"):
        open_run(tmp_path, CONFIG, {})
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ResumeError, match="not the record of a run"):
        open_run(tmp_path, CONFIG, {})


def test_a_run_killed_while_its_record_is_written_starts_again(tmp_path: Path) -> None:
    (tmp_path / ".run.json.x1y2").write_text('{"conf')
    assert open_run(tmp_path, CONFIG, {"seed": 7}).folder == tmp_path


class Killed(BaseException):
    pass


def whole_checkpoints(folder: Path) -> list[str]:
    """Their names; each must hold what ``write`` puts into one."""
    found = checkpoints(folder)
    for path in found:
        assert [(path / file).read_text() for file in "abc"] == [path.name] * 3
    return [path.name for path in found]


def write(folder: Path, name: str) -> None:
    with new_checkpoint(folder, name, main=True, together=lambda: None) as building:
        for file in "abc":
            (building / file).write_text(name)


def test_there_is_a_whole_checkpoint_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each change of the folder in turn; what is left does not hold up the next one."""
    for last in count():
        folder, left = tmp_path / str(last), last
        write(folder, "checkpoint-9-1")

        def dying(change: Any) -> Any:
            def before(*arguments: Any, **options: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                change(*arguments, **options)

            return before

        with monkeypatch.context() as patch:
            for name in ("mkdir", "rename", "unlink", "rmdir"):
                patch.setattr(os, name, dying(getattr(os, name)))
            try:
                write(folder, "checkpoint-10-0")
                break
            except Killed:
                pass
        assert whole_checkpoints(folder)
        write(folder, "checkpoint-10-1")
        assert whole_checkpoints(folder) == ["checkpoint-10-1"]
        assert len(list(folder.iterdir())) == 1
    assert last > 6 and whole_checkpoints(folder) == ["checkpoint-10-0"]


def test_a_checkpoint_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    write(tmp_path, "checkpoint-4")
    (tmp_path / "checkpoint-of-mine").mkdir()
    with (
        pytest.raises(OSError, match="full"),
        new_checkpoint(tmp_path, "checkpoint-5", main=True, together=lambda: None),
    ):
        raise OSError("full")
    assert whole_checkpoints(tmp_path) == ["checkpoint-4"]


def test_metrics_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG, {})
    rows = [{"step": step, "loss": 1 / (step + 1)} for step in range(5)]
    for row in rows:
        run.log(row)
    whole = run.metrics_file.read_bytes()
    for cut in range(len(whole) + 1):
        run.metrics_file.write_bytes(whole[:cut])
        assert run.metrics() == rows[: whole[:cut].count(b"\n")]
    run.metrics_file.write_bytes(whole[:-3])
    run.rewind(3)
    run.log({"step": 4, "loss": 0.5})
    assert run.metrics() == [*rows[:4], {"step": 4, "loss": 0.5}]


def test_what_json_cannot_hold_is_null(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG, {})
    run.log({"step": 1, "kl": float("nan"), "grad_norm": float("inf"), "loss": -1.5})
    assert json.loads(run.metrics_file.read_text(), parse_constant=pytest.fail) == {
        "step": 1,
        "kl": None,
        "grad_norm": None,
        "loss": -1.5,
    }


def test_rewind_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG, {})
    run.rewind(0)
    assert run.metrics() == []
    for step in range(1, 6):
        run.log({"step": step})
    run.rewind(2)
    assert run.metrics() == [{"step": 1}, {"step": 2}]


def test_git_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    clean = git_revision(tmp_path)
    assert clean is not None and len(clean) == 40
    (tmp_path / "new").touch()
    assert git_revision(tmp_path) == clean + "+changes"


@dataclass(frozen=True)
class Steps:
    steps: int = 3


def test_a_script_runs_what_its_command_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.yaml").write_text("steps: 4\n")
    asked: list[Steps] = []
    for arguments in ([], ["--config", str(tmp_path / "x.yaml")], ["steps=5"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        command(Steps, asked.append, "Train.\n\nMore of it.")
    assert asked == [Steps(3), Steps(4), Steps(5)]


def test_what_a_script_refuses_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(steps: Steps) -> None:
        raise TaskError("no problems")

    for argument, words in (("stepz=5", "unknown key 'stepz'"), ("steps=5", "error: no problems")):
        monkeypatch.setattr(sys, "argv", ["train.py", argument])
        with pytest.raises(SystemExit) as stopped:
            command(Steps, job, None)
        assert stopped.value.code == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("train.py: error: ") and words in last
