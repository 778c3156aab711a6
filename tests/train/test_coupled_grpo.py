"""The training script of reinforcement learning: a short run, one that is killed, one on two processes."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from launching import die_at, killed_after, metrics
from running import ROOT, as_module, forget, python
from safetensors.torch import load_file

from diffucode import config as configs
from diffucode.errors import ConfigError, ResumeError
from diffucode.generate.settings import GenerateConfig
from diffucode.models.load import load
from diffucode.models.lora import adapted
from diffucode.rl.objective import Totals
from diffucode.rl.step import Alone, Batch, prepare
from diffucode.runs import Run
from diffucode.sampling.temperature import HapoStats
from diffucode.tasks import minicode

KEYS = {
    "step", "reward", "pass_rate", "ratio_mean", "ratio_first_deviation", "kl", "clip_fraction", "entropy",
    "tempered_entropy", "zero_variance_groups", "loss", "grad_norm", "seconds_rollout", "seconds_reward",
    "seconds_update", "forward_passes", "forward_positions", "rollouts", "rollout_positions",
}  # fmt: skip


script = as_module("train/coupled_grpo.py")
SMALL = [
    "updates=2", "source.problems=6", "prompts=4", "rollout.samples=2", "rollout.max_new_tokens=10",
    "rollout.temperature=1.5", "rollout.batch_size=8", "update.rows=3", "optimizer.rate=1e-3",
    "optimizer.warmup=0", "evaluate_every=0", "checkpoint_every=1",
    # a reward that hardly ever agrees over a group of two, so that every update moves the weights
    "reward.parts=[{kind: syntax}, {kind: pass_rate}]",
]  # fmt: skip


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems and their tests, made once."""
    return tmp_path_factory.mktemp("problems")


def settings(folder: Path, problems: Path, *overrides: str) -> Any:
    places = [f"output_dir={folder}", f"problems_folder={problems}"]
    config = ROOT / "configs/train/coupled_grpo_mini_study.yaml"
    return configs.load(script.CoupledGrpo, config, [*SMALL, *places, *overrides])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, problems: Path) -> Path:
    """An unbroken run."""
    forget()
    folder = tmp_path_factory.mktemp("runs") / "whole"
    script.train(settings(folder, problems))
    return folder


def test_a_run_logs_moves_the_weights_and_leaves_a_model(whole: Path) -> None:
    lines = Run(whole).metrics()
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


MOMENTS = {
    "its record is written, not yet in place": ("os.rename", r"/run\.json ", 1),
    "one half of a checkpoint is there": ("open", r"/\.checkpoint/rank-0\.pt ", 1),
    "a checkpoint is whole, not yet in place": ("os.rename", r"/checkpoint-0-1 ", 1),
    "an update is done, not yet logged": ("open", r"/metrics\.jsonl a", 2),
    "it is logged, not yet evaluated": ("open", r"/metrics\.jsonl a", 2),
    "an old checkpoint is half removed": ("os.remove", r"^rank-0\.pt ", 1),
    "the last checkpoint is not yet in place": ("os.rename", r"/checkpoint-2-0 ", 1),
    "the model is written, not yet in place": ("os.rename", r"/model ", 1),
}
"""One after another, each in what the one before left."""


def test_a_run_killed_at_any_moment_continues_bitwise(tmp_path: Path, problems: Path) -> None:
    """With all that can be lost: old and reference policy in mid-iteration, the reference's moves,
    entropies that temperatures follow, the optimiser's memory, evaluations."""
    changes = [
        "reference={every: 1, mix: 0.6}",
        "update.objective={kind: grpo, beta: 0.05}",
        "rollout.temperature={kind: hapo, base: 1.5}",
        *("evaluate_every=1", "evaluate_problems=1", "evaluate_steps=[]", "seed=1"),
    ]
    script.train(settings(tmp_path / "whole", problems, *changes))
    trained = [row for row in metrics(tmp_path / "whole") if "kl" in row]
    assert all(row["kl"] > 0 and row["grad_norm"] > 0 for row in trained), "something can be lost"
    broken = settings(tmp_path / "broken", problems, *changes)
    log = tmp_path / "broken/metrics.jsonl"
    for name, moment in MOMENTS.items():
        die_at(moment, "train/coupled_grpo.py", broken)
        assert not (tmp_path / "broken/model").exists(), name
        if log.exists():  # a line that was cut short
            log.write_text(log.read_text() + '{"step": 1, "rew')
    forget()
    script.train(broken)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")
    wanted = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "broken").items():
        assert torch.equal(value, wanted[name]), name
    left = sorted(path.name for path in (tmp_path / "broken").glob("[!.]*"))
    assert left == ["checkpoint-2-0", "metrics.jsonl", "model", "run.html", "run.json"]


def test_a_batch_in_mid_iteration_comes_back_whole(tmp_path: Path, problems: Path) -> None:
    chosen = settings(tmp_path / "run", problems, "rollout.top_k=5", "seed=3")
    loaded, asked = load("mini"), minicode.problems("dev", 0, 1)
    (done,) = script.complete(loaded, asked, GenerateConfig(max_new_tokens=8, schedule="quota"))
    batch = Batch(
        (done.trace,),
        torch.tensor([0.25]),
        step=4,
        seed=3,
        truncation=script.truncation_of(chosen.rollout),
        entropy=HapoStats(-1.0, 0.5, 2.0, -3.0),
        silent=Totals(2, 30),
        idle=True,
    )
    plain = Batch((), torch.zeros(0), 0)
    prepared = prepare(loaded.denoiser, batch, chosen.update, Alone())
    file = tmp_path / "batch.pt"
    torch.save(script._batch_state(prepared), file)
    trainer = SimpleNamespace(settings=chosen, loaded=loaded, sync=Alone())
    again = script.Trainer._prepared_again(trainer, torch.load(file, weights_only=True))
    for field in fields(Batch):
        mine, its = (getattr(one.batch, field.name) for one in (prepared, again))
        assert repr(its) == repr(mine) != repr(getattr(plain, field.name)), field.name
    assert (again.passes, again.totals) == (prepared.passes, prepared.totals)
    for one, other in zip(prepared.iterations, again.iterations, strict=True):
        assert torch.equal(one.plan.hidden_KBL, other.plan.hidden_KBL)
        assert one.old_N is other.old_N or torch.equal(one.old_N, other.old_N)


def test_another_number_of_processes_does_not_continue_a_run(tmp_path: Path) -> None:
    for rank in range(2):
        file = tmp_path / f"checkpoint-1-1/rank-{rank}.pt"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    alone = SimpleNamespace(process_index=0)
    trainer = SimpleNamespace(run=Run(tmp_path), accelerator=alone, sync=Alone())
    with pytest.raises(ResumeError, match="by 2 processes, now there are 1; continue with as many"):
        script.Trainer.restore(trainer)


@pytest.mark.parametrize(("launch", "held"), [("ddp", 3), ("fsdp2_cpu", 1)])
def test_two_processes_are_one(
    launch: str, held: int, whole: Path, tmp_path: Path, problems: Path
) -> None:
    """However many rows are in memory at a time."""
    folder = tmp_path / "two"
    printed, _ = python(
        *("-m", "accelerate.commands.launch", "--config_file", f"configs/accelerate/{launch}.yaml"),
        *(
            "train/coupled_grpo.py",
            "--config",
            "configs/train/coupled_grpo_mini_study.yaml",
            *SMALL,
        ),
        *(f"output_dir={folder}", f"problems_folder={problems}", f"update.rows={held}"),
    )
    assert printed.count("6 problems; left out") == 1, "two processes that know of each other"
    # FSDP2 alone has pieces to write, a file for each process
    pieces = folder.glob("checkpoint-2-0/state/pytorch_model_fsdp_0/*.distcp")
    assert len(list(pieces)) == (2 if launch == "fsdp2_cpu" else 0)
    for one, two in zip(metrics(whole), metrics(folder), strict=True):
        exact = ("reward", "pass_rate", "unique_programs", "length", "zero_variance_groups")
        for name in (*exact, "rollouts", "rollout_positions"):
            assert one[name] == two[name], name
        # a process that has nothing to learn from takes a row along, so that the others can sum
        assert one["forward_passes"] <= two["forward_passes"]
        for name in ("loss", "grad_norm", "ratio_mean", "entropy"):
            wanted = one[name] and pytest.approx(one[name], rel=1e-3, abs=1e-5)  # null stays null
            assert two[name] == wanted, name
    start = {name: p.detach() for name, p in load("mini").denoiser.model.named_parameters()}
    wanted = weights(whole)
    for name, value in weights(folder).items():
        # AdamW's first steps are signs: where a gradient is near 0, rounding may turn one
        moved = (wanted[name].float() - start[name]).abs().mean()
        apart = (value.float() - wanted[name].float()).abs().mean()
        assert apart <= 0.05 * moved, name


def test_permuted_rewards_are_logged_as_they_were_earned_and_learnt_otherwise(
    tmp_path: Path, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Caught(BaseException):
        pass

    def advantages(name: str, *overrides: str) -> tuple[dict[str, float], torch.Tensor]:
        caught: list[Any] = []

        def learn(trainer: Any, _: Any) -> None:
            caught.extend(trainer.batch(trainer.loaded, 0))
            raise Caught

        monkeypatch.setattr(script, "learn", learn)
        monkeypatch.setattr(script, "without_flat", lambda batch, *_: batch)
        with pytest.raises(Caught):
            script.train(settings(tmp_path / name, problems, "rollout.samples=6", *overrides))
        forget()
        batch, figures = caught
        return figures, batch.advantage_B.reshape(-1, 6)

    earned, straight_G6 = advantages("straight")
    logged, mixed_G6 = advantages("permuted", "permute_rewards=true")
    for name in ("reward", "zero_variance_groups", "rollouts", "rollout_positions"):
        assert earned[name] == logged[name], name
    assert not torch.equal(straight_G6, mixed_G6)
    assert torch.allclose(straight_G6.sort(1).values, mixed_G6.sort(1).values)


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
    found = metrics(folder)
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


def test_a_sandwich_from_yaml(tmp_path: Path, problems: Path) -> None:
    folder = tmp_path / "sandwich"
    chosen = [
        "update.estimator={kind: sandwich, weighting: normalised}",
        "update.objective={kind: bnpo}",
    ]
    script.train(settings(folder, problems, *chosen))
    found = metrics(folder)
    assert [row["step"] for row in found] == [1, 2]
    assert all(row["ratio_first_deviation"] == 0 for row in found)
    assert any(row["grad_norm"] > 0 and row["ratio_last_deviation"] > 0 for row in found)


def test_adapters_are_trained_alone_merged_and_continue_bitwise(
    tmp_path: Path, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["lora={rank: 2, alpha: 8}", "update.objective.beta=0.05", "seed=1"]
    switched = []

    def watched(policy: Any, batch: Any, update: Any, sync: Any, reference: Any) -> Any:
        for model in (policy.model, reference.model):
            switched.append({layer.disable_adapters for layer in adapted(model).values()})
        return prepare(policy, batch, update, sync, reference)

    with monkeypatch.context() as patched:
        patched.setattr(script, "prepare", watched)
        script.train(settings(tmp_path / "whole", problems, *asked))
    assert switched == [{False}, {True}] * 2, "the reference is the model without them"
    forget()
    killed = settings(tmp_path / "killed", problems, *asked)
    with killed_after(script.Trainer, "save", lambda _, at: (at.update, at.index) == (1, 1)):
        script.train(killed)
    script.train(killed)
    merged = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "killed").items():
        assert torch.equal(value, merged[name]), name
    found = metrics(tmp_path / "whole")[-1]
    assert found["ratio_first_deviation"] == 0 and found["kl"] > 0
    start = {name: p.detach() for name, p in load("mini").denoiser.model.named_parameters()}
    moved = {name for name in merged if not torch.equal(merged[name].float(), start[name])}
    assert moved and all(name.endswith("proj.weight") for name in moved)
    beside = load("mini", adapter=tmp_path / "whole" / "adapter").denoiser.model
    for name, parameter in load(tmp_path / "whole" / "model").denoiser.model.named_parameters():
        torch.testing.assert_close(parameter, beside.get_parameter(name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.seed=3", "rollout.seed: say it once"),
        ("rollout.samples=1", "needs two completions"),
        ("prompts=0", "prompts 0"),
        ("reference.mix=0", "mix=0"),
        ("update.estimator={kind: trace}", "tail 'hidden' with the estimator trace"),
        ("update.estimator={kind: sandwich}", "sandwich with the objective bnpo"),
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
    forget()
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
