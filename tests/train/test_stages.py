"""The four stages one after another, as docs/stages.md goes through them, each from the former's folder."""

import importlib.util
import json
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from diffucode import config
from diffucode.cli import app
from diffucode.models.load import load

ROOT = Path(__file__).parents[2]
WALK = (ROOT / "docs/stages.md").read_text()


def module(path: Path) -> Any:
    loader = SourceFileLoader(f"stages_{path.stem}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    sys.modules[loader.name] = made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    return made


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
    module(ROOT / texts[0]).main([*texts[1:3], "-n", "24"])
    assert len(stages) == 4
    for command in stages:
        assert command[:2] == ["accelerate", "launch"] and command[3] == "--config"
        script, file, overrides = ROOT / command[2], ROOT / command[4], command[5:]
        made = module(script)
        smaller = SMALLER[file.stem].split()
        chosen = config.load(getattr(made, CLASSES[script.stem]), file, [*overrides, *smaller])
        AcceleratorState._reset_state(reset_partial_state=True)
        made.train(chosen)
        rows = (Path(chosen.output_dir) / "metrics.jsonl").read_text().splitlines()
        assert all("loss" in json.loads(row) for row in rows) and rows
    AcceleratorState._reset_state(reset_partial_state=True)
    assert generate[:2] == ["diffucode", "generate"]
    folder = generate[generate.index("--model") + 1]
    loaded = load(folder)
    assert (loaded.decoder, loaded.denoiser.readout_shift) == ("diffusion", True)
    prompt = 'def total(nums):\n    """Return the sum of nums."""'
    asked = ["generate", prompt, "--model", folder, "--max-new-tokens", "8", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["tokens"]) > 0
