"""What a launch may and may not ask for, and what a training step asks of accelerate."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator, DistributedType
from running import forget
from torch import nn

from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError
from diffucode.models.build import recompute_layers
from diffucode.models.lora import Lora, add_lora
from diffucode.models.toy import tiny_transformer
from diffucode.optimizer import Optimizer
from diffucode.processes import Processes, _deepspeed, distribute, start
from diffucode.protocols import Positions
from diffucode.rl.reference import ReferencePolicy


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """accelerate keeps its state in class attributes, and FSDP's plugin writes to the environment."""
    before = dict(os.environ)
    forget()
    yield
    forget()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "launched with mixed_precision bf16.*precision=bf16"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "launched with mixed_precision fp16"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "compile=true"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "gradient_accumulation_steps 4"),
        ({"WORLD_SIZE": "2"}, "2 processes were launched, .* each of them alone"),
        (FSDP, "launched with FSDP, and accelerate runs NO on 1 process"),
        (FSDP | {"FSDP_VERSION": "1"}, "fsdp_version 1: expected 2"),
        (FSDP | {"FSDP_AUTO_WRAP_POLICY": "NO_WRAP"}, "all weights at once"),
        (FSDP | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fsdp_cpu_ram_efficient_loading"),
        (FSDP | {"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        (FSDP | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "gradient_checkpointing=true"),
    ],
)  # fmt: skip
def test_a_launch_that_would_be_forgotten_is_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        start("no", 1.0)


def test_a_plain_launch_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert start("bf16", 1.0).mixed_precision == "bf16"


def test_deepspeed_steps_in_the_last_backward_pass_and_clips_as_the_run_says() -> None:
    """Its engine steps in every backward pass that is not announced as one of several."""
    told: list[bool] = []
    accelerator: Any = SimpleNamespace(
        distributed_type=DistributedType.DEEPSPEED,
        num_processes=2,
        gradient_state=SimpleNamespace(_set_sync_gradients=told.append),
        clip_grad_norm_=lambda parameters, norm: 1.5,
        state=SimpleNamespace(
            deepspeed_plugin=SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}})
        ),
    )
    sync = Processes(accelerator, nn.Linear(1, 1))
    for last in (False, False, True):
        with sync.accumulating(last):
            pass
    assert told == [False, False, True]
    assert float(sync.clip(sync.model.parameters(), 0.2)) == 1.5
    _deepspeed(accelerator, 0.2)
    config = accelerator.state.deepspeed_plugin.deepspeed_config
    assert config["gradient_clipping"] == 0.2
    assert config["train_batch_size"] == 2 * config["train_micro_batch_size_per_gpu"]
    for wrong in (
        {"optimizer": {}, "zero_optimization": {}},
        {"zero_optimization": {"offload_param": {"device": "cpu"}}},
    ):
        accelerator.state.deepspeed_plugin.deepspeed_config = wrong
        with pytest.raises(ConfigError):
            _deepspeed(accelerator, 0.2)


def loss(policy: nn.Module) -> torch.Tensor:
    canvas = Canvas.of([[7, 8, 9, 1]], [[False, True, False, True]], [(0, 0)], fill=31)
    row, col = torch.tensor([0, 0]), torch.tensor([1, 3])
    ask = Positions.of(row.numpy(), col.numpy())

    def readout(logits_nV: torch.Tensor, _: slice) -> dict[str, torch.Tensor]:
        return {"p": logits_nV.log_softmax(1)[:, 5]}

    found: torch.Tensor = policy(canvas, ask, readout)["p"].sum()
    return found


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.filterwarnings("ignore")  # dynamo's own
def test_compiled_layers_train_alike_and_decode_uncompiled(
    recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced by dynamo and run without a compiler."""
    frames: list[int] = []

    def backend(graph: Any, _: Any) -> Any:
        frames.append(1)
        return graph.forward

    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile(self, backend=backend))
    gradients = []
    for compiled in (False, True):
        torch._dynamo.reset()
        denoiser = tiny_transformer(32)
        if recompute:
            recompute_layers(denoiser.model)
        policy, _, weights = distribute(Accelerator(), denoiser, Optimizer(1.0), compiled=compiled)
        assert not frames
        with weights.whole() as whole, torch.no_grad():
            before = loss(whole)
        assert not frames, "decoding does not compile"
        value = loss(policy)
        value.backward()  # type: ignore[no-untyped-call]
        assert bool(frames) == compiled
        assert value.item() == pytest.approx(before.item(), rel=1e-6)
        gradients.append([p.grad for p in denoiser.parameters()])
        frames.clear()
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_a_reference_stays_follows_and_is_restored() -> None:
    denoiser = tiny_transformer(32)
    denoiser.model.model.embed_tokens.requires_grad_(False)
    _, _, weights = distribute(Accelerator(), denoiser, Optimizer(1.0))
    reference, first = ReferencePolicy(weights), loss(denoiser).item()
    assert loss(reference.whole()).item() == first
    frozen = reference.whole().model.model.embed_tokens.weight
    assert frozen.data_ptr() == denoiser.model.model.embed_tokens.weight.data_ptr()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)
    moved = loss(denoiser).item()
    assert loss(reference.whole()).item() == first != moved
    state = [value.clone() for value in reference.state()]
    assert len(state) == len(list(denoiser.parameters())) - 1
    reference.follow(0.5)
    assert loss(reference.whole()).item() not in (first, moved)
    reference.follow(1.0)
    assert loss(reference.whole()).item() == pytest.approx(moved, rel=1e-6)
    reference.load(state)
    assert loss(reference.whole()).item() == first


def test_with_adapters_the_reference_is_the_model_without_them() -> None:
    denoiser = tiny_transformer(32)
    first = loss(denoiser).item()
    add_lora(denoiser.model, Lora(rank=2), seed=0)
    _, _, weights = distribute(Accelerator(), denoiser, Optimizer(1.0))
    base, earlier = ReferencePolicy(weights, base=True), ReferencePolicy(weights)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    moved = loss(denoiser).item()
    assert loss(base.whole()).item() == loss(earlier.whole()).item() == first != moved
    assert base.state() == []
    earlier.follow(1.0)
    assert loss(earlier.whole()).item() == pytest.approx(moved, rel=1e-6)
    assert loss(base.whole()).item() == first


def test_bfloat16_reaches_a_reference_too() -> None:
    """It is no model that accelerate has wrapped, and must round as the policy does."""
    accelerator = start("bf16", 1.0)
    denoiser = tiny_transformer(32)
    exact = loss(denoiser).item()
    policy, _, weights = distribute(accelerator, denoiser, Optimizer(1.0))
    reference = ReferencePolicy(weights)
    with weights.autocast():
        assert loss(reference.whole()).item() == loss(policy).item() != exact
    assert not isinstance(weights.autocast(), nullcontext)
