"""The four stages one after another, as docs/stages.md goes through them, each from the former's folder."""

import json
import re
from pathlib import Path

import pytest
from launching import metrics
from running import ROOT, as_module, forget
from typer.testing import CliRunner

from diffucode import config
from diffucode.cli import app
from diffucode.models.load import load

WALK = (ROOT / "docs/stages.md").read_text()


CLASSES = {"corpus": "CorpusTraining", "sft": "Sft", "coupled_grpo": "CoupledGrpo"}
SMALLER = {
    "adapt_mini": "steps=2 batch=4 rows=2 length=64 anneal=2 checkpoint_every=10",
    "midtrain_mini": "steps=1 batch=4 rows=2 length=64 checkpoint_every=10",
    "sft_mini": "steps=1 batch=4 rows=4 source.examples=8",
    "coupled_grpo_mini": "updates=1 source.problems=3 prompts=2 rollout.samples=2 evaluate_every=0",
}


def commands() -> list[list[str]]:
    """The walk's commands, their lines joined."""
    (block,) = re.findall(r"^```bash walk\n(.*?)^```$", WALK, re.MULTILINE | re.DOTALL)
    return [line.split() for line in block.replace("\\\n", " ").splitlines() if line]


def test_each_stage_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, *stages, generate = commands()
    monkeypatch.chdir(tmp_path)
    assert texts[:2] == ["scripts/train_mini", "texts"]
    as_module(texts[0]).main([*texts[1:3], "-n", "24"])
    assert len(stages) == 4
    for command in stages:
        assert command[:2] == ["accelerate", "launch"] and command[3] == "--config"
        script, file, overrides = as_module(command[2]), ROOT / command[4], command[5:]
        smaller = SMALLER[file.stem].split()
        reader = getattr(script, CLASSES[Path(command[2]).stem])
        chosen = config.load(reader, file, [*overrides, *smaller])
        forget()
        script.train(chosen)
        rows = metrics(Path(chosen.output_dir))
        assert all("loss" in row for row in rows) and rows
    forget()
    assert generate[:2] == ["diffucode", "generate"]
    folder = generate[generate.index("--model") + 1]
    loaded = load(folder)
    assert (loaded.decoder, loaded.denoiser.readout_shift) == ("diffusion", True)
    prompt = 'def total(nums):\n    """Return the sum of nums."""'
    asked = ["generate", prompt, "--model", folder, "--max-new-tokens", "8", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["tokens"]) > 0
