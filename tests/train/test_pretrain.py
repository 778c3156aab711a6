"""Pretraining: the two losses by hand, Muon, process count, and resuming bitwise."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from diffucode.errors import ConfigError, ResumeError

ROOT = Path(__file__).parents[2]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain_script", ROOT / "train/pretrain.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = load_script()
IDS = script.SpecialIds(end=0, mask=1, pad=2)
TINY = script.Architecture(hidden=32, layers=1, heads=2, intermediate=32)


def settings(folder: Path, **changes: object) -> object:
    tiny = {"problems": 24, "canvas": 96, "vocabulary": 400, "model": TINY, "steps": 6, "batch": 4}
    pace = {"warmup": 2, "log_every": 1, "checkpoint_every": 3}
    return script.Pretrain(**{"run": str(folder), **tiny, **pace, **changes})


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_masked_batch_by_hand() -> None:
    """Two rows on canvases of 4 and 2; hidden positions are read in place, weight 1/(t B width)."""
    hide = np.array([[True, False, True, True], [False, True, True, True]])
    rows = [np.array([10, 11, 20, 21]), np.array([12, 22])]
    weight = 1 / (np.array([0.5, 0.25]) * 2)
    batch = script.masked_batch(rows, np.array([2, 1]), np.array([4, 2]), hide, weight, IDS)
    assert batch.tokens_BL.tolist() == [[10, 11, 1, 21, 1, 1], [12, 22, 1, 2, 2, 2]]
    assert batch.real_BL.sum(1).tolist() == [6, 3]
    assert list(zip(batch.row_N.tolist(), batch.col_N.tolist(), strict=True)) == [
        *((0, 2), (0, 4), (0, 5)),
        (1, 2),
    ]
    assert batch.target_N.tolist() == [20, 0, 0, 0]
    assert batch.weight_N.tolist() == [0.25, 0.25, 0.25, 1.0]


def test_the_causal_batch_by_hand() -> None:
    """Answer and one end of text, each read one position earlier, mean over all targets."""
    rows = [np.array([10, 11, 20, 21]), np.array([12, 22])]
    batch = script.causal_batch(rows, np.array([2, 1]), 5, IDS)
    assert batch.tokens_BL.tolist() == [[10, 11, 20, 21, 0], [12, 22, 0, 2, 2]]
    assert batch.row_N.tolist() == [0, 0, 0, 1, 1]
    assert batch.col_N.tolist() == [1, 2, 3, 0, 1]
    assert batch.target_N.tolist() == [20, 21, 0, 22, 0]
    assert batch.weight_N.tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("objective", ["diffusion", "ar"])
def test_the_loss_by_hand(tmp_path: Path, objective: str) -> None:
    """Row by row without padding, through the stock forward and a loop over positions."""
    chosen = settings(tmp_path, objective=objective)
    data, tokenizer = script.prepare(chosen, tmp_path)
    ids = script.SpecialIds(tokenizer.eos_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id)
    model = script.build_model(chosen, tokenizer).eval()
    batch = script.Batches(chosen, data, ids).at(0)
    loss = script.Objective(model, objective == "ar")(batch)

    expected = 0.0
    for b in range(4):
        here = batch.row_N == b
        row = batch.tokens_BL[b, batch.real_BL[b]][None]
        logits_LV = model(input_ids=row, is_causal=objective == "ar").logits[0].detach().double()
        parts = zip(batch.col_N[here], batch.target_N[here], batch.weight_N[here], strict=True)
        for col, target, weight in parts:
            expected -= float(weight * logits_LV[col].log_softmax(-1)[target])
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert 0.5 * math.log(400) < expected < 2.5 * math.log(400)


def test_a_diffusion_row_sees_to_its_right_and_an_ar_row_does_not(tmp_path: Path) -> None:
    for objective in ("diffusion", "ar"):
        chosen = settings(tmp_path / objective, objective=objective)
        _, tokenizer = script.prepare(chosen, tmp_path / objective)
        model = script.build_model(chosen, tokenizer).eval()
        losses = []
        for last in (50, 60):
            tokens = torch.tensor([[40, 41, 42, last]])
            one = torch.zeros(1, dtype=torch.long)
            real = torch.ones_like(tokens, dtype=torch.bool)
            batch = script.Batch(tokens, real, one, one + 1, one + 45, torch.ones(1))
            losses.append(float(script.Objective(model, objective == "ar")(batch).detach()))
        assert (losses[0] == losses[1]) == (objective == "ar")


@pytest.mark.parametrize("objective", ["diffusion", "ar"])
def test_the_process_count_changes_nothing(tmp_path: Path, objective: str) -> None:
    """The shares of a batch together hold its rows, positions and weights."""
    chosen = settings(tmp_path, objective=objective)
    data, _ = script.prepare(chosen, tmp_path)
    batches = script.Batches(chosen, data, IDS)

    def scored(batch: object) -> list[tuple[float, ...]]:
        sums = batch.tokens_BL.where(batch.real_BL, 0).sum(1)[batch.row_N]  # type: ignore[attr-defined]
        columns = (sums, batch.col_N, batch.target_N, batch.weight_N)  # type: ignore[attr-defined]
        return sorted(zip(*(c.tolist() for c in columns), strict=True))

    for step in (0, 7):
        whole = scored(batches.at(step))
        shares = [scored(batches.at(step, rank, world=2)) for rank in (0, 1)]
        assert whole == sorted(shares[0] + shares[1]) and all(shares)


def test_an_epoch_visits_every_problem_once_and_epochs_differ(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    data, _ = script.prepare(chosen, tmp_path)
    batches = script.Batches(chosen, data, IDS)
    (width_n, plan), (_, second) = batches._epoch(0), batches._epoch(1)
    assert sorted(plan.flatten()) == list(range(24)) == sorted(second.flatten())
    assert plan.tolist() != second.tolist()
    assert (width_n > data.answer_n).all() and (width_n <= 96).all()


def test_every_position_is_hidden_at_the_rate_of_its_time(tmp_path: Path) -> None:
    """E[weight x hidden] = 1 / (B width) per canvas position, so the loss estimates the bound."""
    chosen = settings(tmp_path, problems=64, batch=64, full_canvas=1.0)
    data, _ = script.prepare(chosen, tmp_path)
    batches = script.Batches(chosen, data, IDS)
    totals = [float(batches.at(step).weight_N.sum()) for step in range(300)]
    # Each total has mean 1; the variance of a row is at most mean(1/t) / 64, about 6 / 64.
    assert np.mean(totals) == pytest.approx(1.0, abs=4 * np.std(totals) / math.sqrt(300))
    assert np.std(totals) < 0.15


def test_muon_orthogonalizes() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 8), (2, 4, 9), (2, 9, 4)):
        values = torch.linalg.svdvals(
            script.orthogonalize(torch.randn(shape, generator=generator), iterations=5)
        )
        assert values.min() > 0.5 and values.max() < 1.3
    u, s, v = torch.linalg.svd(torch.randn(1, 5, 5, generator=generator))
    tall = script.orthogonalize(u @ torch.diag_embed(s) @ v)
    assert (u.mT @ tall @ v.mT).diagonal(dim1=1, dim2=2).min() > 0.5


def test_muon_first_step_by_hand() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 2))
    weight.grad = torch.arange(8.0).reshape(4, 2)
    script.Muon([weight], lr=0.1).step()
    expected = -0.1 * math.sqrt(2) * script.orthogonalize(weight.grad[None])[0]
    torch.testing.assert_close(weight.detach(), expected, atol=1e-4, rtol=1e-3)


def test_every_parameter_has_one_optimizer(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    _, tokenizer = script.prepare(chosen, tmp_path)
    model = script.build_model(chosen, tokenizer)
    held = [
        id(p)
        for optimizer in script.build_optimizers(chosen, model)
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(set(held)) == len(held)
    assert set(held) == {id(p) for p in model.parameters()}


def test_the_rate_rises_then_falls_to_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path, steps=100, warmup=10)
    rates = [script.rate_at(chosen, step) for step in range(101)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3]) and rates[100] == 0
    assert rates[50:52] == pytest.approx([0.5, 0.49])


@pytest.mark.parametrize("objective", ["diffusion", "ar"])
def test_a_resumed_run_repeats_the_unbroken_one_bitwise(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = script.pretrain(settings(tmp_path / "whole", objective=objective))

    class Killed(BaseException):
        pass

    log = script.Run.log

    def dying(run: object, row: dict[str, float]) -> None:
        log(run, row)
        if row["step"] == 4:  # after the checkpoint of step 3, which is what the run goes back to
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(script.Run, "log", dying)
        with pytest.raises(Killed):
            script.pretrain(settings(tmp_path / "broken", objective=objective))
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    broken = script.pretrain(settings(tmp_path / "broken", objective=objective))

    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    assert state(whole.parent) == state(broken.parent)
    logs = [folder.parent / "metrics.jsonl" for folder in (whole, broken)]
    assert logs[0].read_text() == logs[1].read_text() and logs[0].read_text().count("\n") == 6


def state(folder: Path) -> dict[str, list[float]]:
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {name: value.flatten().tolist() for name, value in saved["model"].items()}


def test_the_exported_model_is_what_transformers_opens(tmp_path: Path) -> None:
    folder = script.pretrain(settings(tmp_path / "run", steps=2))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype is torch.bfloat16 and type(model).__name__ == "Qwen3ForCausalLM"
    assert model.config.is_causal is False
    assert model.config.mask_token_id == tokenizer.mask_token_id
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.diffucode == {
        "family": "native",
        "decoder": "diffusion",
        "readout_shift": False,
        "canvas": 96,
        "steps": 96,
    }
    rounded: dict[str, Tensor] = torch.load(tmp_path / "run/checkpoint.pt")["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, rounded[name].bfloat16())


@pytest.mark.parametrize(
    "text",
    ["def f(x):\n\treturn x  # ünïcödé 🦜\r\n", "\x00\x7f", "  a   b\n\n\n    c ", "日本語", ""],
)
def test_the_tokenizer_loses_nothing(text: str) -> None:
    shipped = AutoTokenizer.from_pretrained(ROOT / "diffucode/models/weights/mini")
    for tokenizer in (shipped, script.train_tokenizer(["x = 1\n"], 300)):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_quoted_letters_and_numbers_are_tokens_of_their_own() -> None:
    """What has to be copied from the prompt reads the same in both places, contractions or not."""
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "diffucode/models/weights/mini")
    for letter in "aeorst":
        id = tokenizer.convert_tokens_to_ids(letter)
        for text in (f"contain '{letter}'.", f"w.startswith('{letter}')"):
            assert id in tokenizer(text)["input_ids"]
    assert tokenizer.tokenize(" 7.") == ["Ġ7", "."]


def test_mini_and_mini_ar_share_a_tokenizer_with_reserved_ids() -> None:
    one, two = (ROOT / "diffucode/models/weights" / name for name in ("mini", "mini-ar"))
    assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(one)
    specials = ["<|endoftext|>", "<|mask|>", "<|pad|>", "<|reserved_0|>", "<|reserved_12|>"]
    assert tokenizer.convert_tokens_to_ids(specials) == [0, 1, 2, 3, 15]
    assert tokenizer.eos_token_id == 0 and tokenizer.pad_token_id == 2


def test_another_config_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    script.pretrain(settings(tmp_path / "run", steps=1))
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ResumeError, match=r"config\.steps was 1, now 2"):
        script.pretrain(settings(tmp_path / "run", steps=2))


def test_fewer_problems_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"problems.*batch=64"):
        script.pretrain(settings(tmp_path / "run", batch=64))


def test_checkpoints_fall_on_logged_steps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoint_every=3 is no multiple of log_every=2"):
        settings(tmp_path, log_every=2)


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(ROOT / "configs/train/pretrain_mini.yaml")
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "--config", config, "modle.layers=2"])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2
    assert "unknown key 'modle'" in capsys.readouterr().err
