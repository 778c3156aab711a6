"""What a batch says: the script measures the first updates of a training, and moves nothing."""

import json

import pytest
import torch
from running import ROOT, as_module, forget

noise = as_module("scripts/gradient_noise")
CONFIG = str(ROOT / "configs/train/coupled_grpo_mini.yaml")


def test_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["prompts=8", "rollout.samples=3", "rollout.temperature=1.3", "source.problems=24"]
    noise.main(["--config", CONFIG, "--batches", "3", "--json", *small])
    forget()
    found = json.loads(capsys.readouterr().out)
    assert (found["batches"], found["rollouts"]) == (3, 24)
    for name in ("raw", "by_coordinate", "sign"):
        value, low, high = found[name]
        assert -1 < low < value < high and value < 1
    assert 0 <= found["zero_variance_groups"] < 1


def test_the_gradient_is_kept_and_no_weight_moves() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    idle = torch.nn.Parameter(torch.ones(2))
    kept = noise.Kept([weight, idle, torch.nn.Parameter(torch.ones(1), requires_grad=False)])
    (weight * torch.arange(3.0)).sum().backward()
    kept.step()
    assert kept.gradient.tolist() == [0, 1, 2, 0, 0]
    assert weight.tolist() == [1, 1, 1]


def test_refusals_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--batches", "2"], "--batches 2: expected at least 3"),
        (["promts=3"], "promts"),
    ):
        with pytest.raises(SystemExit) as exit_:
            noise.main(["--config", CONFIG, *words])
        assert message in str(exit_.value) and "\n" not in str(exit_.value)
