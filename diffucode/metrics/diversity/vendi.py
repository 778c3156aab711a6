"""The Vendi score (Friedman and Dieng 2023): how many programs a set is worth, similar ones in part."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from diffucode.metrics.diversity.undefined import Figure, Undefined

TOLERATED = 0.01
"""Share of the eigenvalues' mass that may be negative."""


def vendi(kernel_NN: ArrayLike, q: float = 1.0) -> Figure:
    """Hill's number of order ``q`` of the eigenvalues of ``kernel / N``.

    The kernel holds similarities: symmetric, ones on the diagonal. Copies give 1, N programs with nothing in
    common N; a kernel of zeros and ones that says who shares a cluster gives ``hill`` of the cluster sizes.
    Negative eigenvalues are cut off; Undefined where they are more than ``TOLERATED`` of the mass, as with a
    kernel made of edit distances. Raises ValueError for what is no kernel and for q < 0.
    """
    kernel_NN = np.asarray(kernel_NN, dtype=np.float64)
    if kernel_NN.size == 0:
        return Undefined("no program")
    if (
        kernel_NN.ndim != 2
        or kernel_NN.shape[0] != kernel_NN.shape[1]
        or not np.allclose(kernel_NN, kernel_NN.T)
        or not np.allclose(np.diag(kernel_NN), 1.0)
    ):
        raise ValueError(
            f"kernel of shape {kernel_NN.shape}: expected a symmetric matrix with ones on its diagonal"
        )
    if not q >= 0:
        raise ValueError(f"order {q}: expected a number >= 0")
    value_N = np.linalg.eigvalsh(kernel_NN / len(kernel_NN))
    negative = -float(value_N[value_N < 0].sum())
    if negative > TOLERATED * float(np.abs(value_N).sum()):
        return Undefined("the similarity is not positive semi-definite")
    share_N = value_N[value_N > 1e-12]
    share_N = share_N / share_N.sum()
    if q == 1:
        return math.exp(-float((share_N * np.log(share_N)).sum()))
    if math.isinf(q):
        return 1 / float(share_N.max())
    return float((share_N**q).sum() ** (1 / (1 - q)))
