"""The policy that a divergence is measured from: earlier weights of the one that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from diffucode.models.lora import without_lora
from diffucode.models.transformer import TransformerDenoiser
from diffucode.processes import Weights, whole_tensor


class ReferencePolicy:
    """What the trained parameters were; frozen ones are shared with the policy.

    ``base``: the model without its adapters, of which nothing is kept. Of a policy in pieces FSDP2 keeps
    pieces; under ZeRO-3 each process keeps whole tensors in its host's memory.
    """

    def __init__(self, weights: Weights, *, base: bool = False) -> None:
        self._weights = weights
        self._base = base
        self._values = [
            p if base or not p.requires_grad else _kept(p) for p in weights.denoiser.parameters()
        ]

    def whole(self) -> TransformerDenoiser:
        """To score with. In pieces all processes must ask, and it is a copy: drop it after use."""
        denoiser = self._weights.filled(self._values)
        if self._base:
            without_lora(denoiser.model)
        return denoiser

    @torch.no_grad()
    def follow(self, mix: float) -> None:
        """Take a share of the policy's present weights; 1 is a copy."""
        for own, parameter in self._pairs():
            new = _current(parameter).to(own.device)
            own.copy_(new) if mix == 1 else own.lerp_(new, mix)

    def state(self) -> list[Tensor]:
        """What this process keeps, for a checkpoint."""
        return [_local(own) for own, _ in self._pairs()]

    @torch.no_grad()
    def load(self, state: Sequence[Tensor]) -> None:
        for (own, _), saved in zip(self._pairs(), state, strict=True):
            _local(own).copy_(saved)

    def _pairs(self) -> list[tuple[Tensor, nn.Parameter]]:
        pairs: Any = zip(self._values, self._weights.denoiser.parameters(), strict=True)
        return [(own, p) for own, p in pairs if own is not p]


def _current(parameter: nn.Parameter) -> Tensor:
    """A parameter's value: this process' piece of it under FSDP2, else all of it."""
    return (
        parameter.detach() if isinstance(parameter, DTensor) else whole_tensor(parameter).detach()
    )


def _kept(parameter: nn.Parameter) -> Tensor:
    copied = _current(parameter).clone()
    return copied.cpu() if hasattr(parameter, "ds_id") else copied


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value
