"""Instruction tuning: the loss by hand, shares of a batch, resuming bitwise, what is saved and refused."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from accelerate import tracking
from launching import in_two_processes, killed_after, metrics
from running import ROOT, as_module, forget
from safetensors.torch import load_file
from torch import Tensor

from diffucode import config as configs
from diffucode import training
from diffucode.data.answers import AnswerBatches, Ids, Normaliser, room
from diffucode.data.batches import NEAR, Weighting
from diffucode.data.packed import pack_ids
from diffucode.errors import ConfigError, DiffucodeError, TaskError
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare, speaker_of
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import stream
from diffucode.models.build import recompute_layers
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import tiny_model, tiny_tokenizer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.runs import Run, checkpoints

PAIRS = [{"q": f"Name {name}.", "a": f"It is {name}{name}."} for name in "abcdefgh"]


script = as_module("train/sft.py")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random models: one that is read a column earlier and chats, one that is read in place, one that
    reads to the left. The tokenizer has 260 tokens, the embedding 264 rows."""
    folder, tokenizer = tmp_path_factory.mktemp("models"), tiny_tokenizer()
    mask, end = tokenizer.mask_token_id, tokenizer.eos_token_id
    kinds = {"dream": ("qwen2", "full"), "llada": ("llama", "full"), "ar": ("qwen2", "causal")}
    for name, (family, attention) in kinds.items():
        denoiser = TransformerDenoiser(
            tiny_model(264, family=family),
            mask_id=mask,
            terminator_ids=(end,),
            readout_shift=name != "llada",
            attention=attention,
        )
        decoder = "ar" if name == "ar" else "diffusion"
        layout = "native" if name == "ar" else name
        loaded = Loaded(name, denoiser, tokenizer, layout, decoder, 0)
        save(loaded, folder / name)
    return {name: folder / name for name in kinds}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return file


def settings(folder: Path, model: Path, table: Path, *overrides: str) -> Any:
    given = [f"output_dir={folder}", f"model={model}", "prompt_style=raw", "length=200"]
    given += [f"source={{kind: table, file: {table}, columns: {{prompt: q, answer: a}}}}"]
    given += ["steps=6", "batch=4", "rows=2", "log_every=1", "checkpoint_every=2"]
    given += ["optimizer={rate: 3.0e-3, betas: [0.9, 0.95], weight_decay: 0.0}"]
    if model.name == "ar":
        given += ["width=answer", "weighting=even"]
    return configs.load(script.Sft, None, [*given, *overrides])


# --- one step ----------------------------------------------------------------------------------


FILLS: list[tuple[Any, bool]] = [("answer", True), ("batch", True), ("batch", False), (16, True)]
SEED, BATCH, LEAST = 3, 4, 0.01


def made(loaded: Loaded, width: Any, score_fill: bool, **changes: Any) -> AnswerBatches:
    """Random rows of a model's tokens; the end is 44, the fill 45."""
    rng, rows = np.random.default_rng(1), []
    for _ in range(6):
        prompt, answer = (rng.integers(0, 256, rng.integers(2, 9)).tolist() for _ in range(2))
        given = room(width, len(prompt), len(answer) + 1, 40)
        assert given is not None
        rows.append((prompt, answer, given))
    mask = None if loaded.decoder == "ar" else loaded.denoiser.mask_id
    chosen = {"weighting": "even", "normaliser": "batch", "rows": BATCH, **changes}
    return AnswerBatches(
        pack_ids(rows), Ids(44, 45, mask), width=width, score_fill=score_fill, least_time=LEAST,
        batch=BATCH, seed=SEED, **chosen,
    )  # fmt: skip


def by_hand(loaded: Loaded, batches: AnswerBatches, step: int) -> list[list[tuple[int, Any]]]:
    """Of each row what is hidden of it behind the prompt, as ``(column, -log p of what stood there)``: the
    row alone, through the stock forward, its masks drawn here once more."""
    rng = np.random.default_rng([SEED, 5, step])
    offset = rng.random()
    level_B = rng.permutation([1 - (b + offset) / BATCH for b in range(BATCH)])
    chosen, data = batches._epoch(0)[step], batches.data
    starts, answers = data.prompt_n[chosen], data.answer_n[chosen] + 1
    widths = {
        "answer": answers,
        "batch": (starts + answers).max() - starts,
        16: np.full(BATCH, 16),
    }[batches.width]
    noise_BC = rng.random((BATCH, widths.max()))
    shift, found = loaded.denoiser.readout_shift, []
    for b, n in enumerate(chosen):
        row = [*data.row(n).tolist(), 44] + [45] * int(widths[b] - answers[b])
        time = LEAST + (1 - LEAST) * level_B[b]
        hidden = [int(c) for c in range(widths[b]) if noise_BC[b, c] < time]
        shown = list(row)
        for c in hidden:
            shown[starts[b] + c] = loaded.denoiser.mask_id
        logits_LV = loaded.denoiser.model(input_ids=torch.tensor([shown])).logits[0].double()
        nats = []
        for c in hidden:
            at = int(starts[b]) + c
            nats.append((c, -logits_LV[at - shift].log_softmax(-1)[row[at]]))
        found.append(nats)
        batches.facts.append((time, int(widths[b]), int(answers[b])))  # type: ignore[attr-defined]
    return found


def weighed(
    rows: list[list[tuple[int, Any]]],
    facts: list[tuple[float, int, int]],
    score_fill: bool,
    weighting: str,
    normaliser: str,
) -> Any:
    """The loss in loops over rows and positions."""
    total: Any = 0.0
    sizes = [width if score_fill else answer for _, width, answer in facts]
    targets = [[c for c, _ in row if c < size] for row, size in zip(rows, sizes, strict=True)]
    for row, (time, width, _), size, scored in zip(rows, facts, sizes, targets, strict=True):
        hidden = {c for c, _ in row}
        near = {}
        for c in scored:
            known = [k for k in range(width) if k not in hidden]
            terms = [0.5 * NEAR * (1 - NEAR) ** (abs(c - k) - 1) for k in known]
            # all columns to the left of the canvas, for ever: a geometric series
            near[c] = sum(terms) + 0.5 * (1 - NEAR) ** c
        for c, nats in row:
            if c not in scored:
                continue
            u = {
                "bound": 1 / time,
                "clipped": 1 / (max(time, 0.2) * 0.9),
                "even": 1.0,
                "near": size * near[c] / sum(near.values()),
            }[weighting]
            n = {"answer": BATCH * size, "batch": sum(sizes), "masked": sum(map(len, targets))}
            total = total + u / n[normaliser] * nats
    return total


def gradients(loaded: Loaded) -> Tensor:
    found = [p.grad.flatten().double() for p in loaded.denoiser.parameters() if p.grad is not None]
    loaded.denoiser.zero_grad()
    return torch.cat(found)


def apart(one: Tensor, two: Tensor) -> float:
    return float((one - two).norm() / two.norm())


@pytest.mark.parametrize("name", ["dream", "llada"])
@pytest.mark.parametrize(("width", "score_fill"), FILLS)
def test_the_loss_by_hand(name: str, width: Any, score_fill: bool, models: dict[str, Path]) -> None:
    loaded, step = load(models[name]), 0
    drawn = made(loaded, width, score_fill)
    drawn.facts = []  # type: ignore[attr-defined]
    rows = by_hand(loaded, drawn, step)
    facts = drawn.facts  # type: ignore[attr-defined]
    for weighting, normaliser in product(get_args(Weighting), get_args(Normaliser)):
        batches = made(loaded, width, score_fill, weighting=weighting, normaliser=normaliser)
        (part,) = batches.at(step)
        found = training.score(loaded.denoiser, part)
        expected = weighed(rows, facts, score_fill, weighting, normaliser)
        assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5), weighting
        sizes = [w if score_fill else a for _, w, a in facts]
        plain = [v for row, size in zip(rows, sizes, strict=True) for c, v in row if c < size]
        assert found.cross_entropy.item() == pytest.approx(sum(plain).item(), rel=1e-5)
        assert len(part.target_N) == len(plain), "nothing else goes through the head"
    found.loss.backward()
    mine = gradients(loaded)
    expected.backward()
    assert apart(mine, gradients(loaded)) < 1e-5


def test_the_loss_of_a_model_that_reads_to_the_left_by_hand(models: dict[str, Path]) -> None:
    loaded = load(models["ar"])
    for normaliser in get_args(Normaliser):
        batches = made(loaded, "answer", True, normaliser=normaliser)
        (part,) = batches.at(0)
        expected, total = 0.0, int(batches.data.answer_n[batches._epoch(0)[0]].sum()) + BATCH
        for n in batches._epoch(0)[0]:
            row, start = [*batches.data.row(n).tolist(), 44], int(batches.data.prompt_n[n])
            logits_LV = loaded.denoiser.model(input_ids=torch.tensor([row])).logits[0].detach()
            each = BATCH * (len(row) - start) if normaliser == "answer" else total
            for at in range(start, len(row)):
                expected -= float(logits_LV[at - 1].double().log_softmax(-1)[row[at]]) / each
        assert training.score(loaded.denoiser, part).loss.item() == pytest.approx(
            expected, rel=1e-5
        )


@pytest.mark.parametrize("name", ["dream", "ar"])
def test_rows_at_a_time_and_processes_change_neither_loss_nor_gradient(
    name: str, models: dict[str, Path]
) -> None:
    loaded = load(models[name])
    width = "answer" if name == "ar" else "batch"
    for normaliser in get_args(Normaliser):

        def whole(rows: int, world: int, normaliser: Any = normaliser) -> tuple[float, Tensor]:
            batches = made(loaded, width, True, normaliser=normaliser, rows=rows)
            loss = 0.0
            for rank in range(world):
                for part in batches.at(1, rank, world):
                    found = training.score(loaded.denoiser, part)
                    found.loss.backward()
                    loss += found.loss.item()
            return loss, gradients(loaded)

        loss, gradient = whole(BATCH, 1)
        for rows, world in ((1, 1), (3, 1), (1, 2), (2, 3)):
            other, its = whole(rows, world)
            assert other == pytest.approx(loss, rel=1e-6)
            assert apart(its, gradient) < 1e-6


def test_a_part_with_nothing_hidden_is_a_zero_with_gradients(models: dict[str, Path]) -> None:
    """Other processes wait for them."""
    loaded = load(models["dream"])
    batches = made(loaded, "answer", True, rows=1)
    batches.least_time = 0.0
    empty = [p for step in range(40) for p in batches.at(step) if not len(p.target_N)]
    found = training.score(loaded.denoiser, empty[0])
    found.loss.backward()
    assert found.loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in loaded.denoiser.parameters())


def test_recomputed_layers_give_the_same_gradients(models: dict[str, Path]) -> None:
    calls, results = [], []
    for recompute in (False, True):
        loaded = load(models["dream"])
        if recompute:
            recompute_layers(loaded.denoiser.model)
        layer, seen = loaded.denoiser.model.base_model.layers[0].self_attn, []
        layer.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        (part,) = made(loaded, "batch", True).at(0)
        training.score(loaded.denoiser, part).loss.backward()
        calls.append(len(seen))
        results.append(gradients(loaded))
        assert not layer.training, "dropout stays off"
    assert calls == [1, 2] and apart(*results) < 1e-6


# --- data --------------------------------------------------------------------------------------


def test_prompts_are_rendered_as_they_are_in_generation(
    models: dict[str, Path], table: Path, tmp_path: Path
) -> None:
    loaded = load(models["dream"])
    chosen = settings(tmp_path, models["dream"], table, "prompt_style=chat", "width=batch")
    ids = script.special_ids(chosen, loaded)
    text = loaded.tokenizer.decode
    assert (text([ids.end]), text([ids.fill])) == ("<|im_end|>", "<|endoftext|>")
    data = script.prepare_data(chosen, loaded, ids, tmp_path, False)
    prompts = [Prompt(row["q"], row["q"]) for row in PAIRS]
    shown = prepare(loaded, prompts, GenerateConfig(prompt_style="chat")).kept
    for n, (_, rendered, tokens, _) in enumerate(shown):
        assert data.row(n)[: data.prompt_n[n]].tolist() == list(tokens)
        assert text(data.row(n)) == rendered.text + PAIRS[n]["a"]
    assert speaker_of(loaded).end == "<|im_end|>"


def test_what_does_not_fit_or_spells_the_mask_is_counted(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*PAIRS, {"q": "long", "a": "x" * 16}, {"q": "q<|mask|>", "a": "a"}, {"q": "q"}]
    rows += [{"q": "q", "a": "a<|mask|>"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = settings(tmp_path, models["llada"], file, "width=16")
    loaded = load(models["llada"])
    ids = script.special_ids(chosen, loaded)
    data = script.prepare_data(chosen, loaded, ids, tmp_path, True)
    assert len(data) == len(PAIRS) and set(data.canvas_n) == {16}
    said = capsys.readouterr().out
    assert said == (
        "8 examples; left out: 2 x spells the mask token; 1 x too long; 1 x no column 'a' beside 'q'\n"
    )


# --- runs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], table: Path) -> Path:
    """An unbroken run."""
    forget()
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert script.train(settings(folder, models["dream"], table)) == folder / "model"
    return folder


def test_a_killed_run_continues_bitwise(
    whole: Path,
    models: dict[str, Path],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []

    class Told(tracking.GeneralTracker):
        name, requires_logging_directory, tracker = "tensorboard", True, None

        def __init__(self, run_name: str, logging_dir: str, **_: Any) -> None:
            super().__init__(_blank=True)

        def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
            told.append({"step": step, **values})

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Told)
    asked = settings(tmp_path / "broken", models["dream"], table, "trackers=[tensorboard]")
    # after the checkpoint of step 4, which is what the run goes back to
    with killed_after(Run, "log", lambda _, row: row["step"] == 5):
        script.train(asked)
    assert not (tmp_path / "broken/model").exists()
    assert [c.name for c in checkpoints(tmp_path / "broken")] == ["checkpoint-4"]
    script.train(asked)
    assert [row["step"] for row in metrics(whole)] == [1, 2, 3, 4, 5, 6]
    assert metrics(tmp_path / "broken") == metrics(whole) == told, "a tracker gets each row once"
    one, two = (
        (folder / "model/model.safetensors").read_bytes() for folder in (whole, tmp_path / "broken")
    )
    assert one == two
    before = load_file(models["dream"] / "model.safetensors")
    after = load_file(whole / "model/model.safetensors")
    assert all(not torch.equal(after[name], before[name]) for name in before)


def test_a_finished_run_is_not_repeated(
    whole: Path, models: dict[str, Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "open_model", lambda *_: pytest.fail("opened again"))
    assert script.train(settings(whole, models["dream"], table)) == whole / "model"


def test_two_processes_are_one(
    whole: Path, models: dict[str, Path], table: Path, tmp_path: Path
) -> None:
    in_two_processes("train/sft.py", settings(tmp_path / "two", models["dream"], table, "rows=1"))
    one, two = metrics(whole), metrics(tmp_path / "two")
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], rel=1e-6)
    assert two[0]["grad_norm"] == pytest.approx(one[0]["grad_norm"], rel=1e-5)
    for mine, its in zip(one, two, strict=True):
        # AdamW's first steps are signs: where a gradient is near 0, rounding may turn one
        for name in ("loss", "cross_entropy", "grad_norm"):
            assert its[name] == pytest.approx(mine[name], rel=1e-3), name


@pytest.mark.parametrize("name", ["dream", "llada", "ar"])
def test_a_tuned_model_says_what_it_was_taught(
    name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """Loss falls, and the saved model answers by its usual decoder, in its family's layout."""
    file = tmp_path / "yes.jsonl"
    rows = [{"q": f"{a}?", "a": "yes"} for a in "abcd"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = ["steps=50", "log_every=10", "checkpoint_every=50", "saved_as=bfloat16"]
    changes += [] if name == "ar" else ["width=8", "fill=<|dlm_pad|>", "weighting=clipped"]
    folder = script.train(settings(tmp_path / "run", models[name], file, *changes))
    found = metrics(tmp_path / "run")
    assert [row["step"] for row in found] == [10, 20, 30, 40, 50]
    assert found[-1]["cross_entropy"] < 0.2 * found[0]["cross_entropy"]
    assert found[-1]["loss"] < 0.2 * found[0]["loss"] and math.isfinite(found[-1]["grad_norm"])
    tensors = load_file(folder / "model.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.bfloat16}
    tuned, before = load(folder), load(models[name])
    assert (tuned.family, tuned.decoder) == (before.family, before.decoder)
    assert tuned.denoiser.readout_shift == before.denoiser.readout_shift
    if name != "ar":
        assert tuned.tokenizer.get_vocab()["<|dlm_pad|>"] == 260
        assert 260 in tuned.denoiser.terminator_ids
    config = GenerateConfig(prompt_style="raw", max_new_tokens=8)
    jobs = prepare(tuned, [Prompt("0", "b?"), Prompt("1", "d?")], config).jobs()
    frames = stream(tuned, jobs, decoder=decoder_of(tuned, config), capacity=2)
    said = [done.text for frame in frames for done in frame.completions]
    assert said == ["yes", "yes"]


def test_autocast_moves_the_loss_by_its_rounding(
    whole: Path, models: dict[str, Path], table: Path, tmp_path: Path
) -> None:
    script.train(settings(tmp_path / "run", models["dream"], table, "steps=1", "precision=bf16"))
    mine, its = metrics(whole)[0]["loss"], metrics(tmp_path / "run")[0]["loss"]
    assert its != mine and its == pytest.approx(mine, rel=0.02)
    saved = load_file(tmp_path / "run/model/model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}


def test_the_config_of_mini_runs(tmp_path: Path) -> None:
    file = ROOT / "configs/train/sft_mini.yaml"
    short = ["source.examples=12", "steps=1", "batch=2", "rows=2", f"output_dir={tmp_path / 'run'}"]
    tuned = load(script.train(configs.load(script.Sft, file, short)))
    assert tuned.usual == load("mini").usual and tuned.family == "native"
    assert metrics(tmp_path / "run")[0]["cross_entropy"] < 2, "mini knows such examples"


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rows=0"], "rows 0: expected at least 1"),
        (["width=0"], "width 0: expected at least 1"),
        (["least_time=2"], "least_time 2.0, grad_norm 1.0: expected a time"),
        (["log_every=4"], "checkpoint_every 2 is no multiple of log_every 4"),
        (["saved_as=fp8"], "saved_as 'fp8': expected one of float32"),
        (["wieghting=near"], "did you mean 'weighting'"),
        (["optimizer.rate=0"], "rate=0.0, warmup=0, .*: expected a rate over 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    overrides: list[str], message: str, models: dict[str, Path], table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, models["dream"], table, *overrides)


@pytest.mark.parametrize(
    ("name", "overrides", "error", "message"),
    [
        ("ar", ["width=batch"], ConfigError, "reads to the left"),
        ("ar", ["weighting=near"], ConfigError, "take width=answer and weighting=even"),
        ("dream", ["length=5000"], ConfigError, "was built for 4096 positions"),
        ("dream", ["end=<|nope|>"], ConfigError, r"end '<\|nope\|>': no token"),
        ("dream", ["end=a"], ConfigError, "end 'a': decoding .* would not stop at it"),
        ("dream", ["batch=9"], ConfigError, "batch 9: only 8 examples"),
        (
            "dream",
            ["source.columns.answer=b"],
            TaskError,
            "no example can be used; .*8 x no column",
        ),
        ("dream", ["source.file=none.jsonl"], TaskError, "none.jsonl: cannot be read"),
        ("llada", ["prompt_style=chat"], DiffucodeError, "pairs.jsonl:1: .*no chat template"),
    ],
)
def test_what_a_run_cannot_use_is_refused(
    name: str,
    overrides: list[str],
    error: type[Exception],
    message: str,
    models: dict[str, Path],
    table: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        script.train(settings(tmp_path / "run", models[name], table, *overrides))
