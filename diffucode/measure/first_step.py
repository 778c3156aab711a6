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
from diffucode.errors import ConfigError, TraceError
from diffucode.generate.traces import TraceFile
from diffucode.measure.orders import by_prompt
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


def first_steps(
    loaded: Loaded, recorded: TraceFile, place: str, batch: int = 16
) -> tuple[FirstStep, int]:
    """The first-step profile over the prompts of a trace file, and how long its canvas is: the shortest
    of theirs.

    Raises TraceError for traces whose prompts continue behind a hole, ConfigError for an AR model.
    """
    firsts = [some[0] for some in by_prompt(recorded.traces).values()]
    for one in firsts:
        if one.given[one.start :].any():
            raise TraceError(
                f"{place}: {one.id} has given text behind a hole; the first-step profile is of "
                "completions, whose canvas begins where the prompt ends"
            )
    canvas = min(len(one.token) - one.start for one in firsts)
    tokens = [one.token[: one.start].tolist() for one in firsts]
    found = [
        first_step(loaded, tokens[at : at + batch], canvas) for at in range(0, len(tokens), batch)
    ]
    return FirstStep(*(np.concatenate(column) for column in zip(*found, strict=True))), canvas
