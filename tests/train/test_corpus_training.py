"""Training on corpora: loss and gradient of any sharing, resuming bitwise without reading again, refusals."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import killed_after
from running import as_module, forget
from safetensors.torch import load_file
from torch import Tensor

from diffucode import config as configs
from diffucode.data import rows as tables
from diffucode.errors import ConfigError, TaskError
from diffucode.models.load import load
from diffucode.models.toy import tiny_model, tiny_tokenizer
from diffucode.runs import Run, checkpoints
from diffucode.training import score

TEXTS = {
    "a": [f"def f{n}(x):\n    return x + {n}\n" for n in range(20)],
    "b": [f"Name the number {n}." for n in range(30)],
}


script = as_module("train/corpus.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stock AR model (ar), corpora (a.jsonl, b.jsonl) and a folder for their tokens."""
    folder = tmp_path_factory.mktemp("place")
    model = tiny_model(264)
    model.config.eos_token_id = 256
    model.save_pretrained(folder / "ar")
    tiny_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>")).save_pretrained(folder / "ar")
    for name, texts in TEXTS.items():
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return folder


def settings(folder: Path, place: Path, *overrides: str) -> Any:
    given = [f"output_dir={folder}", f"model={place / 'ar'}", f"tokens={place / 'tokens'}"]
    given += [f"sources=[{{files: {place}/a.jsonl, weight: 2}}, {{files: {place}/b.jsonl}}]"]
    given += ["length=24", "steps=6", "batch=6", "rows=2", "log_every=1", "checkpoint_every=2"]
    given += ["anneal=4", "short=0.2", "clean=0.2"]
    given += ["optimizer={rate: 3.0e-3, betas: [0.9, 0.95], weight_decay: 0.0}"]
    return configs.load(script.CorpusTraining, None, [*given, *overrides])


def test_rows_at_a_time_and_processes_change_neither_loss_nor_gradient(
    place: Path, tmp_path: Path
) -> None:
    """While attention opens, and after."""

    def whole(step: int, rows: int, world: int) -> tuple[float, Tensor]:
        chosen = settings(tmp_path, place, f"rows={rows}")
        loaded = script.open_model(chosen, torch.device("cpu"))
        data = script.prepare_data(chosen, loaded, script.tokens_folder(chosen), False)
        batches, loss = script.batches_of(chosen, loaded, data), 0.0
        for rank in range(world):
            for part in batches.at(step, rank, world):
                found = score(loaded.denoiser, part)
                found.loss.backward()
                loss += found.loss.item()
        gradients = [p.grad.flatten().double() for p in loaded.denoiser.parameters()]
        return loss, torch.cat(gradients)

    for step in (1, 5):
        loss, gradient = whole(step, 6, 1)
        for rows, world in ((1, 1), (4, 1), (2, 2), (1, 4)):
            other, its = whole(step, rows, world)
            assert other == pytest.approx(loss, rel=1e-6)
            assert float((its - gradient).norm() / gradient.norm()) < 1e-6


def test_the_loss_by_hand(place: Path, tmp_path: Path) -> None:
    """Row by row without padding, through the stock forward; read one column earlier; the mask is 259."""
    chosen = settings(tmp_path, place, "normaliser=batch", "short=0.5", "rows=6")
    loaded = script.open_model(chosen, torch.device("cpu"))
    data = script.prepare_data(chosen, loaded, script.tokens_folder(chosen), False)
    for step in (0, 5):
        (part,) = script.batches_of(chosen, loaded, data).at(step)
        expected = 0.0
        for b in range(6):
            real = int(part.canvas.real_BL[b].sum())
            row = part.canvas.tokens_BL[b, :real].clone()
            row[part.canvas.open_BL[b, :real]] = 259
            see = torch.ones(24, 24).bool() if part.see_LL is None else part.see_LL
            model = tiny_model(264)
            model.config.is_causal = False
            output = model(input_ids=row[None], attention_mask=see[None, None, :real, :real])
            logits_LV = output.logits[0].detach().double()
            here = part.ask.row_N == b
            for col, target, weight in zip(
                part.ask.col_N[here], part.target_N[here], part.weight_N[here], strict=True
            ):
                expected -= float(weight * logits_LV[col - 1].log_softmax(-1)[target])
        assert score(loaded.denoiser, part).loss.item() == pytest.approx(expected, rel=1e-5)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_killed_run_continues_bitwise_and_reads_nothing_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    script.train(settings(whole, place))
    monkeypatch.setattr(tables, "read", lambda *_: pytest.fail("the corpora are read again"))
    # after the checkpoint of step 2; attention is still opening
    with killed_after(Run, "log", lambda _, row: row["step"] == 3):
        script.train(settings(broken, place))
    assert [c.name for c in checkpoints(broken)] == ["checkpoint-2"]
    script.train(settings(broken, place))
    assert metrics(broken) == metrics(whole)
    assert [row["tokens"] for row in metrics(whole)] == [144.0 * n for n in range(1, 7)]
    one, two = (load_file(f / "model/model.safetensors") for f in (whole, broken))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_diffusion_model_goes_on_in_its_layout_and_the_corpus_is_learnt(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = ["precision=bf16", "gradient_checkpointing=true", "steps=2"]
    first = script.train(settings(tmp_path / "1", place, *half))
    forget()
    onwards = [f"model={first}", "anneal=0", "saved_as=bfloat16", "steps=40"]
    capsys.readouterr()
    second = script.train(settings(tmp_path / "2", place, *onwards, "checkpoint_every=40"))
    assert "a.jsonl: 600 tokens, 20 documents; left out: nothing" in capsys.readouterr().out
    loaded = load(second)
    assert (loaded.family, loaded.denoiser.mask_id) == ("dream", 259)
    assert json.loads((second / "config.json").read_text())["torch_dtype"] == "bfloat16"
    nats = [row["cross_entropy"] for row in metrics(tmp_path / "2")]
    assert sum(nats[-10:]) < 0.8 * sum(nats[:10])


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["sources=[]"], ConfigError, "sources: expected at least one"),
        (["sources=[{files: none.jsonl}]"], TaskError, "files none.jsonl: no such file"),
        (["length=5000"], ConfigError, "length 5000: .*/ar was built for 4096 positions"),
        (["length=1"], ConfigError, "length 1, anneal 4: expected at least 2 positions"),
        (["length=700"], ConfigError, "length 700: .*/a.jsonl has 600 tokens, not one row"),
        (["short=1.5"], ConfigError, "short 1.5: expected a share"),
        (["checkpoint_every=3", "log_every=2"], ConfigError, "no multiple of log_every"),
        (["saved_as=fp8"], ConfigError, "saved_as 'fp8': expected one of"),
        (["end=<|no|>"], ConfigError, r"end '<\|no\|>': no token of"),
        (["usual={canvas: 8}"], ConfigError, "the layout of dream cannot hold it"),
        (["model=mini"], ConfigError, "anneal 4, .* mini is a diffusion model already"),
        (["added=[a1, a2, a3, a4, a5]"], ConfigError, "no row to spare"),
        (["batch=0"], ConfigError, "batch 0: expected at least 1"),
    ],
)
def test_what_cannot_be_done_is_said(
    overrides: list[str], error: type[Exception], message: str, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        script.train(settings(tmp_path / "run", place, *overrides))


def test_tokens_alone_and_an_error_in_one_line(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, asked = tmp_path / "run", f"sources=[{{files: {place}/b.jsonl, text: body}}]"
    command = ["corpus.py", "--tokens", f"model={place / 'ar'}", f"output_dir={run}"]
    monkeypatch.setattr(sys, "argv", [*command, f"sources=[{{files: {place}/b.jsonl}}]"])
    script.main()
    assert [file.name for file in run.rglob("*.*")] != [] and not (run / "run.json").exists()
    assert "b.jsonl: 590 tokens, 30 documents" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, asked])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "b.jsonl: no document in it; left out: 30 x no column 'body' beside 'text'" in last
