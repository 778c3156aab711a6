"""A model's own passing programs: the rollouts of reinforcement learning, and data that can be learnt."""

import json
from pathlib import Path
from typing import Any

import pytest
from running import ROOT, as_module, forget

from diffucode import config as configs
from diffucode.errors import TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.problems import Problems
from diffucode.models.load import load
from diffucode.rl import graded
from diffucode.rl.own_programs import drawn
from diffucode.rl.reward_pool import RewardPool
from diffucode.rl.rollout import roll

script = as_module("train/own_programs.py")
SMALL = ["updates=2", "source.problems=3", "prompts=2", "rollout.samples=3", "rollout.batch_size=8"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("problems")


def settings(folder: Path, kept: Path, *overrides: str) -> Any:
    config = ROOT / "configs/train/own_programs_mini.yaml"
    places = [f"output_dir={folder}", f"problems_folder={kept}"]
    return configs.load(script.OwnPrograms, config, [*SMALL, *places, *overrides])


def test_it_goes_on_after_a_kill_draws_what_rl_draws_and_can_be_learnt(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(tmp_path / "own", kept)
    calls: list[int] = []

    def killed(*given: Any, seed: int, step: int) -> Any:
        calls.append(step)
        if calls == [0, 1]:
            raise KeyboardInterrupt
        return drawn(*given, seed=seed, step=step)

    monkeypatch.setattr(script, "drawn", killed)
    with pytest.raises(KeyboardInterrupt):
        script.sample(asked)
    file = script.sample(asked)
    assert calls == [0, 1, 1]
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    log = [json.loads(line) for line in (tmp_path / "own/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2] and [row["rollouts"] for row in log] == [6, 6]
    assert sum(row["passed"] for row in log) == len(pairs) > 0

    # the first update of reinforcement learning, by its own code
    problems = graded.load(asked.source, make=Problems(kept).get)
    first = [one for _, one in zip(range(2), problems.asked(asked.seed, 0), strict=False)]
    with Sandbox(workers=1, tier="strongest") as sandbox:
        by_id = {one.id: one for one in first}
        with RewardPool(asked.reward, sandbox, by_id) as pool:
            rollouts = roll(load("mini"), first, asked.rollout, pool, seed=asked.seed, step=0)
    right = [
        {"prompt": by_id[one.problem].prompt, "answer": one.text}
        for one in rollouts
        if set(one.reward.verdicts) == {"passed"}
    ]
    assert pairs[: log[0]["passed"]] == right
    assert log[0]["rollout_positions"] == sum(one.nfe * len(one.trace.token) for one in rollouts)

    sft = as_module("train/sft.py")
    forget()
    small = ["steps=1", "batch=4", "rows=4", "log_every=1", "checkpoint_every=1"]
    places = [f"output_dir={tmp_path / 'sft'}", f"source.file={file}"]
    config = configs.load(sft.Sft, ROOT / "configs/train/sft_own_mini.yaml", [*small, *places])
    assert (sft.train(config) / "model.safetensors").exists()
    row = json.loads((tmp_path / "sft/metrics.jsonl").read_text())
    assert row["forward_positions"] > 4 * 64
    forget()


def test_the_control_draws_as_the_trained_arm_does() -> None:
    """Every setting that both configs have is the same, but for the folder and the reward's weights."""
    rl = as_module("train/coupled_grpo.py")
    one = configs.load(script.OwnPrograms, ROOT / "configs/train/own_programs_mini.yaml")
    other = configs.load(rl.CoupledGrpo, ROOT / "configs/train/coupled_grpo_mini_study.yaml")
    for name in ("model", "seed", "updates", "source", "prompts", "rollout"):
        assert getattr(one, name) == getattr(other, name), name
    sft = as_module("train/sft.py")
    tuned = configs.load(sft.Sft, ROOT / "configs/train/sft_own_mini.yaml")
    assert tuned.steps == other.updates * other.update.iterations


def test_nothing_that_passes_is_an_error(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "drawn", lambda *_, seed, step: iter(()))
    with pytest.raises(TaskError, match="none of the programs of mini passes"):
        script.sample(settings(tmp_path / "none", kept))
