"""A denoiser again, with other values for its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffucode.models.transformer import TransformerDenoiser


def replica(
    denoiser: TransformerDenoiser, value: Callable[[nn.Parameter], Tensor]
) -> TransformerDenoiser:
    """A copy whose parameters hold ``value(parameter)``, without gradients and without a copy of their own.

    Tied parameters stay tied, buffers are copied. ``lambda p: p`` shares the weights.
    """
    memo: dict[int, Any] = {
        id(p): nn.Parameter(value(p).detach(), requires_grad=False) for p in denoiser.parameters()
    }
    return copy.deepcopy(denoiser, memo)


def hollow(denoiser: TransformerDenoiser) -> TransformerDenoiser:
    """A copy without weights: on the meta device, to be filled by ``replica``."""
    return replica(denoiser, lambda p: torch.empty_like(p, device="meta"))
