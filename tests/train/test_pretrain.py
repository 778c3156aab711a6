"""Pretraining: the losses by hand, process count, adaptation, evaluation, and resuming bitwise."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from launching import die_at, in_two_processes, killed_after
from running import ROOT, as_module, forget
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import diffucode
from diffucode.data.batches import padded
from diffucode.errors import ConfigError, ResumeError
from diffucode.measure import greedy
from diffucode.measure.problems import Known
from diffucode.models.families.spec import Usual
from diffucode.runs import Run

OBJECTIVES = ("diffusion", "ar", "adapt")


script = as_module("train/pretrain.py")
TINY: dict[str, Any] = {
    "problems": 24,
    "canvas": 96,
    "canvas_long": 96,
    "vocabulary": 400,
    "steps": 6,
    "batch": 4,
    "rows": 3,
    "warmup": 2,
    "anneal": 4,
    "log_every": 1,
    "checkpoint_every": 3,
}
SHAPE = {"hidden": 32, "layers": 1, "heads": 2, "intermediate": 32}


def settings(folder: Path, **changes: Any) -> Any:
    shape = script.Architecture(**SHAPE)
    return script.Pretrain(**{"run": str(folder), "model": shape, **TINY, **changes})


@pytest.fixture(scope="module")
def ar(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A trained AR model."""
    forget()
    return str(script.train(settings(tmp_path_factory.mktemp("ar") / "run", objective="ar")))


def of(objective: str, ar: str) -> dict[str, Any]:
    return {"objective": objective, "init": ar if objective == "adapt" else None}


# --- one step ----------------------------------------------------------------------------------


def pieces(chosen: Any, folder: Path) -> tuple[Any, Any, Any]:
    """Batches, fresh model and loss of a run."""
    data, tokenizer = script.prepare_data(chosen, folder, shown=False)
    model = script.build_model(chosen, tokenizer).eval()
    return (
        script.batches_of(chosen, data, tokenizer),
        model,
        script.Loss(model, chosen.objective == "ar"),
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_by_hand(tmp_path: Path, objective: str, ar: str) -> None:
    """Row by row without padding, through the stock forward and a loop over positions."""
    chosen = settings(tmp_path, **of(objective, ar))
    batches, model, loss_of = pieces(chosen, tmp_path)
    see_LL = script.visible(chosen, 0)
    parts = batches.at(0)
    loss = sum(float(loss_of(part, see_LL).detach()) for part in parts)

    expected = 0.0
    for part in parts:
        for b, real_L in enumerate(part.real_BL):
            row, length = part.tokens_BL[b, real_L][None], int(real_L.sum())
            mask = None if see_LL is None else see_LL[None, None, :length, :length]
            output = model(input_ids=row, attention_mask=mask, is_causal=objective == "ar")
            logits_LV = output.logits[0].detach().double()
            here = part.row_N == b
            for col, target, weight in zip(
                part.col_N[here], part.target_N[here], part.weight_N[here], strict=True
            ):
                expected -= float(weight * logits_LV[col].log_softmax(-1)[target])
    assert loss == pytest.approx(expected, rel=1e-5)
    assert 0.5 * math.log(400) < expected < 2.5 * math.log(400)


def test_batches_made_ahead_are_those_made_in_turn(tmp_path: Path) -> None:
    """By other processes, from the step where a run goes on, across the end of an epoch."""
    chosen = settings(tmp_path)
    batches, _, _ = pieces(chosen, tmp_path)
    alone = SimpleNamespace(process_index=0, num_processes=1, device=torch.device("cpu"))
    steps = range(2, 2 + 2 * batches.per_epoch)
    made = [
        list(script.upcoming(replace(chosen, steps=steps.stop, loaders=n), batches, 2, alone))
        for n in (0, 1)
    ]
    for step, here, there in zip(steps, *made, strict=True):
        assert len(here) == len(there) == len(batches.at(step)) == 2
        for one, other, part in zip(here, there, batches.at(step), strict=True):
            assert all(map(torch.equal, one, other))
            assert all(map(torch.equal, one, padded(part)))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_who_sees_to_the_right(tmp_path: Path, objective: str, ar: str) -> None:
    """Diffusion does, AR does not, and an adapted model does at the end of the annealing."""
    chosen = settings(tmp_path, **of(objective, ar))
    _, _, loss_of = pieces(chosen, tmp_path)

    def blind(see_LL: Tensor | None) -> bool:
        losses = []
        for last in (70, 80):
            tokens = torch.tensor([[75, 76, 77, last]])
            one = torch.zeros(1, dtype=torch.long)
            batch = script.Batch(tokens, tokens > 0, one, one + 1, one + 77, torch.ones(1))
            losses.append(float(loss_of(batch, see_LL).detach()))
        return losses[0] == losses[1]

    assert blind(script.visible(chosen, 5)) == (objective == "ar")
    assert blind(torch.ones(4, 4).tril().bool()) or objective != "adapt"


def test_attention_opens_over_the_annealed_steps(tmp_path: Path) -> None:
    chosen = settings(tmp_path, objective="adapt", init="mini-ar", anneal=100, steps=200)
    left = torch.ones(512, 512).tril().bool()
    for step, share in ((0, 0.01), (49, 0.5), (98, 0.99)):
        see_LL = script.visible(chosen, step)
        assert see_LL[left].all()
        assert see_LL[~left].float().mean().item() == pytest.approx(share, abs=0.01)
    assert script.visible(chosen, 99) is None and script.visible(chosen, 150) is None
    assert script.visible(settings(tmp_path), 0) is None


def test_every_parameter_has_one_optimizer(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    _, model, _ = pieces(chosen, tmp_path)
    held = [
        id(p)
        for optimizer in script.build_optimizers(chosen, model)
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(set(held)) == len(held)
    assert set(held) == {id(p) for p in model.parameters()}


def test_the_rate_rises_stays_and_falls_to_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path, steps=100, warmup=10)
    rates = [script.rate_at(chosen, step) for step in range(101)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3]) and rates[100] == 0
    assert rates[50:52] == pytest.approx([0.5, 0.49])
    late = settings(tmp_path, steps=100, warmup=10, decay=0.2)
    rates = [script.rate_at(late, step) for step in (20, 80, 90, 100)]
    assert rates == pytest.approx([1, 1, 0.5, 0])


# --- data --------------------------------------------------------------------------------------


def test_examples_do_not_depend_on_who_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same through a pool of processes, which here are threads of this one, and in chunks."""
    from concurrent.futures import ThreadPoolExecutor

    whole = list(script.texts(settings(tmp_path)))
    monkeypatch.setattr(script, "CHUNK", 5)
    monkeypatch.setattr(script, "ProcessPoolExecutor", lambda n, context: ThreadPoolExecutor(n))
    assert list(script.texts(settings(tmp_path))) == whole and len(whole) == 24
    assert list(script.texts(settings(tmp_path, processes=64))) == whole


def test_what_does_not_fit_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(tmp_path, canvas=20, canvas_long=30)
    data, _ = script.prepare_data(chosen, tmp_path, shown=True)
    said = capsys.readouterr().out
    assert f"{len(data)} of 24 examples fit; over their canvas: " in said and len(data) < 24
    assert set(data.canvas_n) <= {20, 30} and (data.answer_n < data.canvas_n).all()


# --- resuming ----------------------------------------------------------------------------------


def same_run(one: Path, two: Path) -> None:
    """Model files, checkpoint and log agree in every bit."""
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert state(one.parent) == state(two.parent)
    logs = [folder.parent / "metrics.jsonl" for folder in (one, two)]
    assert logs[0].read_text() == logs[1].read_text()


def state(folder: Path) -> dict[str, list[float]]:
    """Weights and both optimisers' memories."""
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    flat = {name: value.flatten().tolist() for name, value in saved["model"].items()}
    for number, optimizer in enumerate(saved["optimizers"]):
        for parameter, memory in optimizer["state"].items():
            for key, value in memory.items():
                flat[f"{number}.{parameter}.{key}"] = value.flatten().tolist()
    return flat


def judged(_: object, problems: list[Known], answers: dict[str, list[str]]) -> list[Any]:
    """Stands for the sandbox: outcomes that tell what was decoded."""
    lengths = [len(program) for written in answers.values() for program in written]
    return [SimpleNamespace(plus=length, valid=0) for length in lengths]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_resumed_run_repeats_the_unbroken_one_bitwise(
    tmp_path: Path, objective: str, ar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy, "judge", judged)
    changes = {**of(objective, ar), "evaluate_every": 2, "evaluate_problems": 2}
    whole = script.train(settings(tmp_path / "whole", **changes))
    # after the checkpoint of step 3, which is what the run goes back to
    with killed_after(Run, "log", lambda _, row: row["step"] == 4):
        script.train(settings(tmp_path / "broken", **changes))
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    broken = script.train(settings(tmp_path / "broken", **changes))
    same_run(whole, broken)


def test_a_run_killed_in_the_middle_of_the_annealing_continues_bitwise(
    tmp_path: Path, ar: str
) -> None:
    changes: dict[str, Any] = {**of("adapt", ar), "anneal": 6, "keep": (2, 5)}
    chosen = settings(tmp_path / "broken", **changes)
    die_at(("open", r"/metrics\.jsonl a", 6), "train/pretrain.py", chosen)  # of six lines the last
    assert not (tmp_path / "broken/model").exists()
    broken = script.train(chosen)
    whole = script.train(settings(tmp_path / "whole", **changes))
    same_run(whole, broken)
    for step in (2, 5):
        files = [r.parent / f"kept/step-{step}/model.safetensors" for r in (whole, broken)]
        assert (
            files[0].read_bytes() == files[1].read_bytes() != (whole / files[0].name).read_bytes()
        )


def test_two_processes_with_half_a_batch_are_one_with_the_whole(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 3, "muon_rate": 1e-3, "adam_rate": 1e-3, "rows": 1}
    in_two_processes("train/pretrain.py", settings(tmp_path / "two", **changes))
    script.train(settings(tmp_path / "one", **changes))
    one, two = (Run(tmp_path / name).metrics() for name in ("one", "two"))
    assert [row["step"] for row in two] == [1, 2, 3]
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
    apart, together = state(tmp_path / "one"), state(tmp_path / "two")
    for name, values in apart.items():
        torch.testing.assert_close(
            torch.tensor(together[name]), torch.tensor(values), atol=1e-4, rtol=1e-3, msg=name
        )


# --- evaluation and what is saved --------------------------------------------------------------


def test_evaluation_leaves_no_trace_in_the_training(tmp_path: Path) -> None:
    plain = script.train(settings(tmp_path / "plain"))
    watched = script.train(
        settings(tmp_path / "watched", evaluate_every=2, evaluate_problems=3, keep_evaluated=True)
    )
    assert state(plain.parent) == state(watched.parent)
    rows = Run(watched.parent).metrics()
    seen = [row for row in rows if "dev_passed" in row]
    assert [row["step"] for row in seen] == [2, 4, 6]
    assert all(0 <= row["dev_passed"] <= row["dev_valid"] <= 1 for row in seen)
    assert "Solved (pass@1)" in (watched.parent / "run.html").read_text()
    kept = sorted(folder.name for folder in (watched.parent / "kept").iterdir())
    assert kept == ["step-2", "step-4", "step-6"]
    last = (watched.parent / "kept/step-6/model.safetensors").read_bytes()
    assert last == (watched / "model.safetensors").read_bytes()


def test_matrices_are_multiplied_in_the_precision_asked_for(tmp_path: Path) -> None:
    """bfloat16 moves the losses by its rounding, and only by that; weights stay float32."""
    logged = {}
    for precision in ("fp32", "bf16"):
        script.train(settings(tmp_path / precision, precision=precision, steps=4, log_every=1))
        saved = torch.load(tmp_path / precision / "checkpoint.pt", weights_only=True)
        assert {value.dtype for value in saved["model"].values()} == {torch.float32}
        rows = (tmp_path / precision / "metrics.jsonl").read_text().splitlines()
        logged[precision] = [json.loads(row)["loss"] for row in rows]
    assert logged["fp32"] != logged["bf16"] == pytest.approx(logged["fp32"], rel=0.01)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_saved_model_is_what_transformers_and_diffucode_open(
    tmp_path: Path, objective: str, ar: str
) -> None:
    changes = {"steps": 2, **of(objective, ar)}
    if objective != "ar":
        changes |= {"block_length": 8, "threshold": 0.9}
    folder = script.train(settings(tmp_path / "run", **changes))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype is torch.bfloat16 and type(model).__name__ == "Qwen3ForCausalLM"
    assert model.config.is_causal is (objective == "ar")
    assert model.config.mask_token_id == tokenizer.mask_token_id
    assert model.config.eos_token_id == tokenizer.eos_token_id
    loaded = diffucode.load(folder)
    assert loaded.usual == (Usual(96, 96) if objective == "ar" else Usual(96, 48, 8, 0.9))
    assert loaded.decoder == ("ar" if objective == "ar" else "diffusion")
    assert loaded.denoiser.readout_shift is (objective != "diffusion")
    rounded: dict[str, Tensor] = torch.load(tmp_path / "run/checkpoint.pt")["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, rounded[name].bfloat16())


def test_adaptation_starts_from_the_ar_model_and_its_tokenizer(tmp_path: Path, ar: str) -> None:
    chosen = settings(tmp_path, vocabulary=350, **of("adapt", ar))
    _, model, _ = pieces(chosen, tmp_path)
    given = AutoModelForCausalLM.from_pretrained(ar, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())
    names = (Path(ar) / "tokenizer.json", tmp_path / "tokenizer/tokenizer.json")
    assert names[0].read_bytes() == names[1].read_bytes()


def test_what_cannot_be_adapted_is_refused(tmp_path: Path, ar: str) -> None:
    with pytest.raises(ConfigError, match="init=None with objective=adapt"):
        settings(tmp_path, objective="adapt")
    with pytest.raises(ConfigError, match="others=2: expected a share"):
        settings(tmp_path, others=2)
    for objective, name in (("adapt", "mini"), ("ar", "mini"), ("diffusion", "mini-ar")):
        folder = tmp_path / f"{objective}-{name}"
        with pytest.raises(ConfigError, match="its decoder is"):
            pieces(settings(folder, objective=objective, init=name), folder)
    with pytest.raises(ConfigError, match="read one column earlier"):
        folder = tmp_path / "shifted"
        pieces(settings(folder, objective="diffusion", init="mini-adapted"), folder)
    other = script.Architecture(**{**SHAPE, "intermediate": 40})
    with pytest.raises(ConfigError, match=r"is \[.*\] there, \[.*\] under model="):
        pieces(settings(tmp_path / "b", model=other, **of("adapt", ar)), tmp_path / "b")


# --- settings ----------------------------------------------------------------------------------


def test_another_config_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    script.train(settings(tmp_path / "run", steps=1))
    forget()
    with pytest.raises(ResumeError, match=r"config\.steps was 1, now 2"):
        script.train(settings(tmp_path / "run", steps=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_every": 2}, "checkpoint_every=3 is no multiple of log_every=2"),
        ({"decay": 0.0}, "decay=0.0: expected a share"),
        ({"objective": "ar", "block_length": 8}, "block_length=8, .*: an AR model writes one"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, **changes)


@pytest.mark.parametrize("name", ["mini", "mini_ar", "mini_adapted"])
def test_configs_load(name: str) -> None:
    file = ROOT / f"configs/train/pretrain_{name}.yaml"
    assert script.configs.load(script.Pretrain, file).run == "runs/" + name.replace("_", "-")
