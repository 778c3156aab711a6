"""Raw entropy along a known answer: position by position, all before it given, all behind it hidden.

The same question to a diffusion model and to an AR one, whatever their decoding order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.metrics.forks import Fork, first_fork
from diffucode.models.load import Loaded
from diffucode.protocols import Positions
from diffucode.sampling.summary import softmax
from diffucode.tasks.problem import Problem


def fork_of(loaded: Loaded, problem: Problem, canvas: int) -> Fork | None:
    """Entropies along the most frequent reference, on a canvas of so many positions.

    None where all references are one, or that one does not fit.
    """
    tokenizer, end = loaded.tokenizer, loaded.denoiser.terminator_ids[0]
    answers = [
        [*tokenizer.encode(reference.body, add_special_tokens=False), end]
        for reference in problem.references
    ]
    at = first_fork(answers)
    if at is None or len(answers[0]) > canvas:
        return None
    entropy_J = entropies(loaded, tokenizer.encode(problem.prompt), answers[0], canvas)
    return Fork(problem.signature, entropy_J[at], entropy_J[:at] + entropy_J[at + 1 :])


@torch.no_grad()
def entropies(
    loaded: Loaded, prompt: Sequence[int], answer: Sequence[int], canvas: int
) -> list[float]:
    """In nats, at each of the J positions of ``answer``: of the unedited model at temperature 1.

    A row of the batch for each position. An AR model sees nothing behind a position; a diffusion model
    sees the open positions of the whole canvas there, as when it decodes.
    """
    denoiser, start, count = loaded.denoiser, len(prompt), len(answer)
    width = start + (count if denoiser.causal else canvas)
    columns_J = np.arange(start, start + count)
    tokens = [*prompt, *answer, *[0] * (width - start - count)]
    rows = Canvas.of(
        [tokens] * count,
        [[at >= column for at in range(width)] for column in columns_J.tolist()],
        [(0, 0)] * count,
        fill=denoiser.terminator_ids[0],
        device=denoiser.device,
    )
    ask = Positions.of(np.arange(count), columns_J, denoiser.device)

    def readout(logits_nV: Tensor, where: slice) -> dict[str, Tensor]:
        return {"entropy": softmax(logits_nV, logits_nV.new_ones(len(logits_nV))).entropy_n}

    found: list[float] = denoiser(rows, ask, readout)["entropy"].tolist()
    return found
