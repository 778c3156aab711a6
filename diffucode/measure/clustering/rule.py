"""From features to one distance: a weighted sum, its weights fitted on programs whose algorithm is known.

    distance = sum of weight x feature          two clusters are one where it is below ``cut`` on average

What counts as another algorithm is a convention, and there are two of them here. ``idea``: what is done,
however it is spelled (the hand-written programs). ``form``: a loop and a composition of built-in functions
are two, as minicode's generator has it. ``scripts/calibrate_clusters fit`` writes the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffucode.measure.clustering.prints import FEATURES

Grain = Literal["idea", "form"]
SPELLING = ("code", "names", "form")
"""Features that say how a program is spelled; an idea is not told by them."""
STEPS, RATE, PENALTY = 4000, 2.0, 0.1


@dataclass(frozen=True)
class Rule:
    """Weights of ``FEATURES``, none negative, and how near clusters must be to be joined."""

    weights: tuple[float, ...]
    cut: float

    def distance(self, apart_PF: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distance of P pairs."""
        distance: NDArray[np.float64] = apart_PF @ np.array(self.weights)
        return distance


def fit(
    apart_PF: NDArray[np.float64], same_P: NDArray[np.bool_], grain: Grain
) -> tuple[float, ...]:
    """Weights by logistic regression: P(same) = sigmoid(bias - weights . features), scaled to bias 1.

    Pairs of the same and of different algorithms count equally in total, weights stay non-negative, and
    their squares are penalised. Plain projected gradient descent: the same everywhere.
    """
    sign_P = np.where(same_P, 1.0, -1.0)
    share_P = np.where(same_P, 0.5 / same_P.sum(), 0.5 / (~same_P).sum())
    bias, weight_F = 0.0, np.zeros(len(FEATURES))
    used_F = np.array([grain == "form" or name not in SPELLING for name in FEATURES])
    for _ in range(STEPS):
        margin_P = sign_P * (bias - apart_PF @ weight_F)
        pull_P = share_P * sign_P / (1 + np.exp(margin_P))
        bias += RATE * float(pull_P.sum())
        slope_F = -(apart_PF.T @ pull_P) - PENALTY * weight_F
        weight_F = used_F * np.maximum(0.0, weight_F + RATE * slope_F)
    return tuple(round(float(w), 3) for w in weight_F / bias)
