"""Which checkpoints are shipped, and that they fit."""

import json
from pathlib import Path

import pytest

from diffucode.errors import CheckpointError, ResumeError
from diffucode.measure import shipping
from diffucode.measure.pick import logged, pick
from diffucode.measure.shipping import ship


def a_run(folder: Path, scores: dict[int, float]) -> None:
    rows = [{"step": step, "loss": 1.0} for step in scores]
    rows += [{"step": step, "dev_passed": passed} for step, passed in scores.items()]
    for step in scores:
        (folder / "kept" / f"step-{step}").mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)


def test_checkpoints_are_picked_by_the_rules(tmp_path: Path) -> None:
    a_run(tmp_path / "mini-first", {100: 0.1, 200: 0.2, 300: 0.4, 400: 0.45, 500: 0.46})
    a_run(tmp_path / "mini-ar", {10: 0.2, 20: 0.43, 30: 0.52, 40: 0.5, 50: 0.9})
    exact = {"step-100": 0.05, "step-200": 0.24, "step-300": 0.4, "step-400": 0.47}
    exact |= {"step-10": 0.1, "step-20": 0.47, "step-30": 0.52, "step-40": 0.5, "step-50": 0.9}
    exact |= {"step-500": 0.5, "model": 0.5}
    picks = pick(tmp_path, lambda folder: exact[folder.name])
    assert picks["mini-ar-matched"].folder.name == "step-30"  # 40 is nearer, but later
    assert picks["mini-45"].folder.name == "step-400"
    assert picks["mini-25"].folder.name == "step-200"
    assert picks["mini-25"].passed == 0.24


def test_the_end_of_the_first_leg_may_be_the_weaker_model(tmp_path: Path) -> None:
    a_run(tmp_path / "mini-first", {100: 0.1, 200: 0.45})
    a_run(tmp_path / "mini-ar", {10: 0.2})
    exact = {"step-100": 0.1, "step-200": 0.45, "step-10": 0.2, "model": 0.6}
    picks = pick(tmp_path, lambda folder: exact[folder.name])
    assert picks["mini-45"].folder.name == "step-200"
    assert picks["mini-ar-matched"].folder.name == "step-10"  # none within 2 points: the nearest


def test_only_checkpoints_that_were_kept_count(tmp_path: Path) -> None:
    a_run(tmp_path, {100: 0.1, 200: 0.45})
    (tmp_path / "kept" / "step-100").rmdir()
    assert logged(tmp_path) == {200: 0.45}


def test_runs_without_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no kept checkpoints"):
        logged(tmp_path / "mini-first")
    a_run(tmp_path / "mini-first", {100: 0.1})
    with pytest.raises(ResumeError, match="mini-ar: no kept checkpoints"):
        pick(tmp_path, lambda folder: 0.5)


def test_shipping_replaces_a_model_and_keeps_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "run" / "model", tmp_path / "weights" / "mini"
    for folder, name in ((source, "new"), (target, "old"), (target.parent / "other", "old")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"x" * 100)
    ship(source, target)
    assert [file.name for file in target.iterdir()] == ["new"]
    monkeypatch.setattr(shipping, "BYTES", 200)
    with pytest.raises(CheckpointError, match="200 bytes with mini, not under the 200"):
        ship(source, target)
    with pytest.raises(CheckpointError, match="no finished model"):
        ship(tmp_path / "none", target)
    assert [file.name for file in target.iterdir()] == ["new"]
