"""The training script of reinforcement learning: a short run, one that is killed, one on two processes."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from diffucode import config as configs
from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.models.load import load
from diffucode.runs import open_run
from diffucode.tasks import minicode

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "train/coupled_grpo.py"
KEYS = {
    "step", "reward", "pass_rate", "ratio_mean", "ratio_first_deviation", "kl", "clip_fraction", "entropy",
    "tempered_entropy", "zero_variance_groups", "loss", "grad_norm", "seconds_rollout", "seconds_reward",
    "seconds_update", "forward_passes",
}  # fmt: skip


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coupled_grpo_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script: Any = load_script()
SMALL = [
    "updates=2", "source.problems=6", "prompts=4", "rollout.samples=2", "rollout.max_new_tokens=10",
    "rollout.temperature=1.5", "rollout.batch_size=8", "update.rows=3", "optimizer.rate=1e-3",
    "optimizer.warmup=0", "evaluate_every=0", "checkpoint_every=1",
    # a reward that hardly ever agrees over a group of two, so that every update moves the weights
    "reward.parts=[{kind: syntax}, {kind: pass_rate}]",
]  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """accelerate keeps its state in class attributes."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems and their tests, made once."""
    return tmp_path_factory.mktemp("problems")


def settings(folder: Path, problems: Path, *overrides: str) -> Any:
    places = [f"output_dir={folder}", f"problems_folder={problems}"]
    config = ROOT / "configs/train/coupled_grpo_mini.yaml"
    return configs.load(script.CoupledGrpo, config, [*SMALL, *places, *overrides])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def rows(folder: Path) -> list[dict[str, Any]]:
    """Logged figures without what depends on the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, problems: Path) -> Path:
    """An unbroken run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("runs") / "whole"
    script.train(settings(folder, problems))
    return folder


def test_a_run_logs_moves_the_weights_and_leaves_a_model(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(set(line) >= KEYS for line in lines)
    assert all(line["ratio_first_deviation"] == 0 for line in lines)
    assert any(line["ratio_last_deviation"] > 0 for line in lines)
    before = {name: p.detach() for name, p in load("mini").denoiser.model.named_parameters()}
    after = weights(whole)
    moved = [name for name in after if not torch.equal(after[name].float(), before[name])]
    assert len(moved) > len(after) / 2
    assert load(whole / "model").decoder == "diffusion"
    assert script.checkpoints(whole)[-1].name == "checkpoint-2-0"


@pytest.mark.parametrize("point", [(0, 1), (1, 0), (1, 1)])
def test_a_run_killed_between_two_iterations_continues_bitwise(
    point: tuple[int, int],
    whole: Path,
    tmp_path: Path,
    problems: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, original = tmp_path / "broken", script.Trainer.save

    class Killed(BaseException):
        pass

    def save(self: Any, update: int, index: int, prepared: Any) -> None:
        original(self, update, index, prepared)
        if (update, index) == point:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(script.Trainer, "save", save)
        with pytest.raises(Killed):
            script.train(settings(folder, problems))
    assert not (folder / "model").exists()
    AcceleratorState._reset_state(reset_partial_state=True)
    script.train(settings(folder, problems))
    wanted = weights(whole)
    for name, value in weights(folder).items():
        assert torch.equal(value, wanted[name]), name
    # an update that was broken logs what its second half did
    last = {key: rows(whole)[-1][key] for key in ("step", "rate", "ratio_last_deviation")}
    assert {key: rows(folder)[-1][key] for key in last} == last


def test_two_processes_are_one(whole: Path, tmp_path: Path, problems: Path) -> None:
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", "configs/accelerate/ddp.yaml", str(SCRIPT)]
    command += ["--config", "configs/train/coupled_grpo_mini.yaml", *SMALL]
    command += [f"output_dir={folder}", f"problems_folder={problems}"]
    environment = os.environ | {
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for one, two in zip(rows(whole), rows(folder), strict=True):
        for name in ("reward", "pass_rate", "unique_programs", "length", "zero_variance_groups"):
            assert one[name] == two[name], name
        for name in ("loss", "grad_norm", "ratio_mean", "entropy"):
            assert one[name] == pytest.approx(two[name], rel=1e-3, abs=1e-5), name
    start = {name: p.detach() for name, p in load("mini").denoiser.model.named_parameters()}
    wanted = weights(whole)
    for name, value in weights(folder).items():
        # AdamW's first steps are signs: where a gradient is near 0, rounding may turn one
        moved = (wanted[name].float() - start[name]).abs().mean()
        apart = (value.float() - wanted[name].float()).abs().mean()
        assert apart <= 0.05 * moved, name


def test_a_finished_run_is_not_repeated(
    whole: Path, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "build", lambda *_: pytest.fail("built again"))
    assert script.train(settings(whole, problems)) == whole / "model"


def test_an_autoregressive_policy_with_a_reference_and_redraws(
    tmp_path: Path, problems: Path
) -> None:
    folder = tmp_path / "ar"
    script.train(
        settings(
            folder,
            problems,
            "model=mini-ar-matched",
            "updates=1",
            "redraws=1",
            "update.estimator={kind: autoregressive}",
            "update.objective={kind: grpo, beta: 0.05}",
            "reference={every: 1, mix: 0.6}",
            "evaluate_every=1",
            "evaluate_problems=2",
            "evaluate_steps=[]",
            "gradient_checkpointing=true",
            "trackers=[tensorboard]",
        )
    )
    found = rows(folder)
    assert [row["step"] for row in found] == [0, 1, 1]
    assert {"dev_pass", "dev_valid"} <= set(found[0])
    arness = [found[0][f"dev_arness_{name}"] for name in ("local1", "global1", "global4")]
    assert arness == [1, 1, 1], "it reads from left to right"
    page = (folder / "run.html").read_text()
    assert "global@4, step 1: 1<" in page and "state <b>finished</b>" in page
    assert list(folder.glob("tensorboard/coupled_grpo/events.out.tfevents.*"))
    assert found[1]["kl"] >= 0 and found[1]["ratio_first_deviation"] == 0
    assert load(folder / "model").decoder == "ar"


def test_arness_is_of_the_order_in_which_answers_are_written() -> None:
    loaded, found = load("mini"), {}
    for order in ("left_to_right", "confidence"):
        config = GenerateConfig(steps=24, schedule="quota", max_new_tokens=24, order=order)
        problems = [minicode.problems("dev", 0, 1)[0]]
        found[order] = script.arness_of(loaded, list(script.complete(loaded, problems, config)))
    assert set(found["left_to_right"].values()) == {1.0}
    assert found["confidence"]["dev_arness_local1"] < 1


def test_an_evaluation_before_a_kill_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run", {}, {})
    trainer, looked = SimpleNamespace(run=run), iter([0.25, 0.5])
    monkeypatch.setattr(script, "evaluate", lambda _: {"dev_pass": next(looked)})
    run.log({"step": 2, "reward": 1.0})
    for update in (0, 2, 0, 2):
        script.watch(trainer, update)
    assert [row.get("dev_pass") for row in run.metrics()] == [None, 0.25, 0.5]
    assert "usual pace, step 2: 0.5" in (run.folder / "run.html").read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.seed=3", "rollout.seed: say it once"),
        ("rollout.samples=1", "needs two completions"),
        ("prompts=0", "prompts 0"),
        ("reference.mix=0", "mix=0"),
        ("update.estimator={kind: trace}", "tail 'hidden' with the estimator trace"),
        ("update.estimatr=1", "did you mean 'estimator'"),
    ],
)
def test_bad_settings_are_refused(
    override: str, message: str, tmp_path: Path, problems: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path / "x", problems, override)


def test_an_estimator_for_another_kind_of_model_is_refused(tmp_path: Path, problems: Path) -> None:
    with pytest.raises(ConfigError, match="autoregressive is for AR models"):
        script.train(settings(tmp_path / "x", problems, "model=mini-ar-matched"))
    AcceleratorState._reset_state(reset_partial_state=True)
    wrong = ["model=mini-ar-matched", "update.estimator={kind: autoregressive}"]
    with pytest.raises(ConfigError, match="evaluate_steps"):
        script.train(settings(tmp_path / "y", problems, *wrong))


def test_rates_follow_the_schedule() -> None:
    constant = script.Optimizer(rate=1.0, warmup=4)
    assert [constant.at(step, 10) for step in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = script.Optimizer(rate=1.0, schedule="cosine", least=0.1)
    assert cosine.at(0, 10) == 1.0
    assert cosine.at(5, 10) == pytest.approx(0.55)
    assert cosine.at(10, 10) == pytest.approx(0.1)
