"""How far the gradients of independent batches agree: what a batch of rollouts says, and how many it takes.

Gradients g_k of batches that know nothing of each other share their expectation alone, so the mean cosine of
two, rho, is how much of a batch is signal. The sum of N of them has with the expected gradient the cosine

    sqrt(N rho / (1 + (N - 1) rho))            (one length of all, and noise that shares nothing)

which is 0.7 at N = (1 - rho) / rho: with fewer, a step is mostly noise. An optimiser that divides every
coordinate by its own size (Adam) listens to all of them alike, so it is asked about such gradients, too.
Compare McCandlish et al. 2018 (arXiv 1812.06162), whose noise scale is batch size / rho for small rho.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffucode.metrics.jackknife import jackknife
from diffucode.metrics.passk import Estimate

_FLOOR = 0.1
"""Of the mean size of a coordinate, added to each: a coordinate that hardly moves is not made loud."""


class Agreement(NamedTuple):
    """Mean cosines of two batches' gradients, with the jackknife's intervals over batches."""

    raw: Estimate
    by_coordinate: Estimate
    """Each coordinate divided by its root mean square over the batches, as Adam does."""
    sign: Estimate


def batches_needed(cosine: Estimate) -> float:
    """Batches whose sum has cosine 0.7 with the expected gradient; infinite where two do not agree."""
    return max(1.0, (1 - cosine.value) / cosine.value) if cosine.value > 0 else math.inf


def agreement(gradient_KP: Tensor) -> Agreement:
    """Of K batches' gradients of P parameters. Raises ValueError for fewer than three batches, or where one
    is all zero."""
    many = len(gradient_KP)
    if many < 3:
        raise ValueError(f"{many} batches: expected at least three")
    if (flat_K := gradient_KP.norm(dim=1) == 0).any():
        raise ValueError(
            f"batch {int(flat_K.int().argmax())} has no gradient: none of it was learnt from"
        )
    size_P = gradient_KP.square().mean(0).sqrt()
    scaled_KP = gradient_KP / (size_P + _FLOOR * size_P.mean())
    return Agreement(*(_mean_cosine(x) for x in (gradient_KP, scaled_KP, gradient_KP.sign())))


def _mean_cosine(gradient_KP: Tensor) -> Estimate:
    unit_KP = torch.nn.functional.normalize(gradient_KP, dim=1)
    cosine_KK = (unit_KP @ unit_KP.T).double().numpy()

    def mean(kept: NDArray[np.intp]) -> float:
        return float(np.mean([cosine_KK[a, b] for a, b in combinations(kept, 2)]))

    return jackknife(mean, len(gradient_KP))
