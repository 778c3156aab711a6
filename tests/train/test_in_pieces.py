"""Weights in pieces: FSDP2 on two processes gives what one process gives, and continues bitwise."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from launching import metrics
from running import as_module, forget, python
from safetensors.torch import load_file

from diffucode import config as configs
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import tiny_model, tiny_tokenizer
from diffucode.models.transformer import TransformerDenoiser

PAIRS = [{"q": f"Name {name}.", "a": f"It is {name}{name}."} for name in "abcdefgh"]


script = as_module("train/sft.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied model, pairs, and a config: five rows, so that one process has more passes than the other."""
    folder, tokenizer = tmp_path_factory.mktemp("pieces"), tiny_tokenizer()
    denoiser = TransformerDenoiser(
        tiny_model(264, tied=True),
        mask_id=tokenizer.mask_token_id,
        terminator_ids=(tokenizer.eos_token_id,),
        readout_shift=True,
    )
    save(Loaded("tied", denoiser, tokenizer, "dream", "diffusion", 0), folder / "tied")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    source = {
        "kind": "table",
        "file": str(folder / "pairs.jsonl"),
        "columns": {"prompt": "q", "answer": "a"},
    }
    config = {
        "model": str(folder / "tied"), "source": source, "prompt_style": "raw", "length": 200, "steps": 4,
        "batch": 5, "rows": 2, "log_every": 1, "checkpoint_every": 2, "grad_norm": 5.0,
        "optimizer": {"rate": 3e-3, "weight_decay": 0.0},
    }  # fmt: skip
    (folder / "sft.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The runs on one process."""
    for name, overrides in (
        ("whole", []),
        ("lora", ["lora={rank: 2, alpha: 8}", "gradient_checkpointing=true"]),
    ):
        forget()
        given = [f"output_dir={folder / 'alone' / name}", *overrides]
        script.train(configs.load(script.Sft, folder / "sft.yaml", given))
    forget()
    return folder / "alone"


@pytest.fixture(scope="module")
def pieces(folder: Path) -> Path:
    """The same on two, with all that ``in_pieces.py`` checks."""
    launch = ["-m", "accelerate.commands.launch", "--config_file"]
    launch += ["configs/accelerate/fsdp2_cpu.yaml", "tests/train/in_pieces.py"]
    python(*launch, folder / "pieces", folder / "sft.yaml")
    return folder / "pieces"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model/model.safetensors")


@pytest.mark.parametrize("name", ["whole", "lora"])
def test_two_processes_in_pieces_are_one(name: str, alone: Path, pieces: Path) -> None:
    one, two = metrics(alone / name), metrics(pieces / name)
    assert len(one) == len(two) == 4
    for mine, its in zip(one, two, strict=True):
        for key in ("loss", "cross_entropy", "grad_norm"):
            assert its[key] == pytest.approx(mine[key], rel=1e-5), key
    before = {n: p.detach() for n, p in load(alone.parent / "tied").denoiser.named_parameters()}
    wanted = weights(alone / name)
    for key, value in weights(pieces / name).items():
        # AdamW's first steps are signs: where a gradient is near 0, rounding may turn one
        moved = (wanted[key] - before[f"model.{key}"]).abs().mean()
        assert (value - wanted[key]).abs().mean() <= 1e-3 * moved, key
    assert wanted.keys() == weights(pieces / name).keys()


def test_a_killed_run_in_pieces_continues_bitwise(pieces: Path) -> None:
    assert metrics(pieces / "killed") == metrics(pieces / "whole")
    wanted = weights(pieces / "whole")
    assert all(torch.equal(value, wanted[key]) for key, value in weights(pieces / "killed").items())


def test_bfloat16_in_pieces_rounds_products_and_not_losses(alone: Path, pieces: Path) -> None:
    mine, its = metrics(alone / "whole")[0], metrics(pieces / "bf16")[0]
    assert its["loss"] != mine["loss"] and its["loss"] == pytest.approx(mine["loss"], rel=0.02)
    assert {value.dtype for value in weights(pieces / "bf16").values()} == {torch.float32}


def test_adapters_are_gathered_merged_and_saved(folder: Path, pieces: Path) -> None:
    merged = load(pieces / "lora" / "model").denoiser
    adapted = load(folder / "tied", adapter=pieces / "lora" / "adapter").denoiser
    for (name, one), two in zip(merged.named_parameters(), adapted.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7, msg=name)
