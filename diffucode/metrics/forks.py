"""Whether a model hesitates where its answer may go one way or another.

The *fork token* of a problem is the first at which two of its known answers differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.metrics.passk import bootstrap


class Fork(NamedTuple):
    """Entropies, in nats, along one answer to a problem."""

    signature: str
    at: float
    """At the fork token."""
    others: Sequence[float]
    """At its other tokens."""


def first_fork(answers: Sequence[Sequence[int]]) -> int | None:
    """The first position at which two of the answers differ; None where they do not.

    One of them must not begin another: end each with a token of its own.
    """
    for at, tokens in enumerate(zip(*answers, strict=False)):
        if len(set(tokens)) > 1:
            return at
    return None


def contrast(forks: Sequence[Fork], seed: int) -> dict[str, Any]:
    """Median entropy at forks over the median at all other tokens, as JSON."""
    if not forks:
        return {"forks": 0, "ratio": None}
    at_P = np.array([fork.at for fork in forks])
    others_P = [np.array(fork.others) for fork in forks]

    def ratio(index_N: NDArray[np.intp]) -> float:
        others = np.concatenate([others_P[index] for index in index_N])
        return float(np.median(at_P[index_N]) / max(np.median(others), 1e-9))

    others = np.concatenate(others_P)
    signatures = [fork.signature for fork in forks]
    return {
        "forks": len(forks),
        "signatures": len(set(signatures)),
        "fork_median": float(np.median(at_P)),
        "fork_mean": float(at_P.mean()),
        "other_median": float(np.median(others)),
        "other_mean": float(others.mean()),
        "ratio": bootstrap(ratio, signatures, seed).to_json(),
    }
