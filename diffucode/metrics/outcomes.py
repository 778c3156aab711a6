"""What came of a problem's samples, and the figures that many problems give.

    solved     one sample a problem: the share that pass, in all and by kind of problem
    sampled    many samples a problem: pass@1 and pass@k
    grouped    groups as reinforcement learning draws them: how often some pass and some fail

Figures are JSON. Every estimate in them has its interval from resampled signatures (``metrics.passk``);
it is None where no problem is of that kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from diffucode.metrics.passk import clustered, clustered_share, pass_at_k

Figures = dict[str, Any]
"""Plain JSON."""


@dataclass(frozen=True)
class Outcome:
    """Counts over the samples of one problem."""

    id: str
    signature: str
    domain: str
    band: int
    trap: bool
    n: int
    """Samples."""
    valid: int
    """That are Python."""
    reward: int
    """That pass the tests which reinforcement learning sees."""
    plus: int
    """That pass the full tests."""
    hollow: int
    """That pass ``reward`` and fail ``plus``."""
    distinct: int
    """Canonical programs; those that do not parse count for nothing."""
    distinct_right: int
    """Canonical programs of those that pass ``plus``."""
    passes: int = 0
    """Forward passes of all samples."""
    ended: int | None = None
    """That ended before the canvas was full. None here and below: not recorded."""
    local: float | None = None
    """Mean local AR-ness@1 (``metrics.arness``) up to the terminator, of the samples that have a token."""
    leftmost: float | None = None
    """Mean global AR-ness@1."""


def solved(outcomes: Sequence[Outcome], seed: int) -> Figures:
    """Solved problems, in all and by kind; several samples of a problem count by their mean."""

    def by(kind: Callable[[Outcome], str]) -> Figures:
        return {
            name: _passed([one for one in outcomes if kind(one) == name], seed)
            for name in sorted({kind(one) for one in outcomes})
        }

    rewarded = [one for one in outcomes if one.reward]
    return {
        **_size(outcomes),
        "passes": sum(one.passes for one in outcomes) / max(1, sum(one.n for one in outcomes)),
        "pass": _passed(outcomes, seed),
        "valid": _valid(outcomes, seed),
        "reward": _share(outcomes, lambda one: one.reward / one.n, seed),
        "hollow": _share(rewarded, lambda one: one.hollow / one.reward, seed),
        "bands": by(lambda one: str(one.band)),
        "domains": by(lambda one: one.domain),
        "traps": _passed([one for one in outcomes if one.trap], seed),
        "others": _passed([one for one in outcomes if not one.trap], seed),
    }


def sampled(outcomes: Sequence[Outcome], k: int, seed: int) -> Figures:
    """pass@1 and pass@k over problems with at least ``k`` samples each."""
    return {
        **_size(outcomes),
        "samples": min(one.n for one in outcomes),
        "k": k,
        "pass": _passed(outcomes, seed),
        "pass_k": _share(outcomes, lambda one: pass_at_k(one.n, one.plus, k), seed),
        "valid": _valid(outcomes, seed),
        "distinct": _mean(outcomes, lambda one: one.distinct, seed),
    }


def grouped(outcomes: Sequence[Outcome], seed: int) -> Figures:
    """How much reinforcement learning could learn from groups, one a problem.

    A group is mixed where some of its programs pass and some fail: by ``reward``, and by ``plus``.
    """
    return {
        **_size(outcomes),
        "samples": min(one.n for one in outcomes),
        "mixed": _share(outcomes, lambda one: 0 < one.reward < one.n, seed),
        "mixed_plus": _share(outcomes, lambda one: 0 < one.plus < one.n, seed),
        "pass": _passed(outcomes, seed),
        "valid": _valid(outcomes, seed),
        "distinct": _mean(outcomes, lambda one: one.distinct, seed),
        "distinct_right": _mean(outcomes, lambda one: one.distinct_right, seed),
    }


Value = Callable[[Outcome], float]


def _size(outcomes: Sequence[Outcome]) -> Figures:
    return {"scored": len(outcomes), "signatures": len({one.signature for one in outcomes})}


def _passed(outcomes: Sequence[Outcome], seed: int) -> Figures | None:
    return _share(outcomes, lambda one: one.plus / one.n, seed)


def _valid(outcomes: Sequence[Outcome], seed: int) -> Figures | None:
    return _share(outcomes, lambda one: one.valid / one.n, seed)


def _share(outcomes: Sequence[Outcome], value: Value, seed: int) -> Figures | None:
    """The mean of a value from 0 to 1."""
    if not outcomes:
        return None
    signatures = [one.signature for one in outcomes]
    return clustered_share([value(one) for one in outcomes], signatures, seed).to_json()


def _mean(outcomes: Sequence[Outcome], value: Value, seed: int) -> Figures:
    signatures = [one.signature for one in outcomes]
    return clustered([value(one) for one in outcomes], signatures, seed).to_json()
