"""Run folders: they survive kills and refuse to mix runs."""

import json
import subprocess
from pathlib import Path

import pytest

from diffucode.errors import ResumeError
from diffucode.runs import git_revision, open_run

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
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    clean = git_revision(tmp_path)
    assert clean is not None and len(clean) == 40
    (tmp_path / "new").touch()
    assert git_revision(tmp_path) == clean + "+changes"
