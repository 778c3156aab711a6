"""How sure a model is of every position before it has written any: the entropy sink.

Of a canvas that is all open, positions next to the prompt are far more certain than those behind them
(DiffuCoder, arXiv:2506.20639, section 3), which is why an order by confidence begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError
from diffucode.models.load import Loaded
from diffucode.protocols import Positions
from diffucode.sampling.summary import softmax


class FirstStep(NamedTuple):
    """By prompt and position behind it, of the unedited model at temperature 1. Their means over the
    prompts are the profile."""

    confidence_PN: NDArray[np.float64]
    """Largest probability."""
    entropy_PN: NDArray[np.float64]
    """Nats."""


@torch.no_grad()
def first_step(loaded: Loaded, prompts: Sequence[Sequence[int]], canvas: int) -> FirstStep:
    """One forward pass over prompts of tokens, each with so many open positions.

    Raises ConfigError for an AR model, which sees one open position at a time.
    """
    denoiser = loaded.denoiser
    if denoiser.mask_id is None or denoiser.causal:
        raise ConfigError(f"{loaded.name} is autoregressive: it has no canvas to be sure of")
    starts = np.array([len(prompt) for prompt in prompts])
    rows = Canvas.of(
        [[*prompt, *[denoiser.mask_id] * canvas] for prompt in prompts],
        [[False] * len(prompt) + [True] * canvas for prompt in prompts],
        [(0, 0)] * len(prompts),
        fill=denoiser.mask_id,
        device=denoiser.device,
    )
    columns_PN = starts[:, None] + np.arange(canvas)
    row_M = np.repeat(np.arange(len(prompts)), canvas)
    ask = Positions.of(row_M, columns_PN.ravel(), denoiser.device)

    def readout(logits_nV: Tensor, where: slice) -> dict[str, Tensor]:
        soft = softmax(logits_nV, logits_nV.new_ones(len(logits_nV)))
        return {"confidence": 1 / soft.total_n, "entropy": soft.entropy_n}

    found = denoiser(rows, ask, readout)
    shape = (len(prompts), canvas)
    return FirstStep(
        *(found[name].double().cpu().numpy().reshape(shape) for name in ("confidence", "entropy"))
    )
