"""Clusters by average linkage (Sokal and Michener 1958)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_linkage(distance_NN: NDArray[np.float64], cut: float) -> list[int]:
    """The cluster of each of N things: the two nearest clusters, by the mean distance of their members, are
    joined until none are nearer than ``cut``. Of equally near ones the first are."""
    clusters = [[n] for n in range(len(distance_NN))]
    while len(clusters) > 1:
        nearest = min(
            (float(distance_NN[np.ix_(clusters[a], clusters[b])].mean()), a, b)
            for b in range(len(clusters))
            for a in range(b)
        )
        if nearest[0] >= cut:
            break
        clusters[nearest[1]] += clusters.pop(nearest[2])
    label = {n: number for number, members in enumerate(clusters) for n in members}
    return [label[n] for n in range(len(distance_NN))]
