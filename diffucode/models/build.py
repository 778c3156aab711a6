"""Models without their weights: built on the meta device, filled tensor by tensor."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def skeleton(model_class: Any, config: Any, implementation: str = "sdpa") -> Any:
    """``model_class(config)`` on the meta device: no memory, no random numbers."""
    config._attn_implementation = implementation
    with torch.device("meta"):
        model = model_class(config)
    return model.eval()


def parameter_shapes(model: Any) -> dict[str, torch.Size]:
    """Names and shapes of the weights a checkpoint holds; a tied head is not among them."""
    tied = set(model.all_tied_weights_keys)
    return {name: p.shape for name, p in model.named_parameters() if name not in tied}


def put(model: nn.Module, name: str, value: Tensor) -> None:
    """Make ``value`` the parameter ``name``."""
    owner, _, leaf = name.rpartition(".")
    model.get_submodule(owner).register_parameter(leaf, nn.Parameter(value))


def recompute_layers(model: Any) -> None:
    """Make the layers of a stock model again in the backward pass instead of keeping what they computed.

    transformers does so in training mode alone, which switches dropout on too: only the layers themselves
    are put into it, not what is inside them.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = module.training = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def compile_layers(model: Any) -> None:
    """Let torch.compile make one kernel sequence that all layers of a stock model share.

    Layers and not the model: they are compiled once, and the hooks of DDP and FSDP stay between them.
    """
    names = set(model._no_split_modules)
    for module in model.modules():
        if names & {cls.__name__ for cls in type(module).__mro__}:  # FSDP puts a class before it
            module.compile()


def finish(model: Any, device: torch.device | str) -> Any:
    """Tie the head; recompute what checkpoints do not hold, the float32 rotary frequencies."""
    model.tie_weights()
    body = model.base_model
    with torch.device(device):
        body.rotary_emb = type(body.rotary_emb)(model.config)
    left = [n for n, t in [*model.named_parameters(), *model.named_buffers()] if t.is_meta]
    assert not left, f"tensors without values: {left}"
    return model
