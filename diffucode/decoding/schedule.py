"""Schedules: how many positions a step commits.

Some know the number beforehand (``count``); tokens are then drawn for the chosen positions alone.
Others decide from what the model says (``accept``). A step that would commit nothing is skipped
without asking the model; only ``origin`` may ask it in vain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffucode.errors import PlanError


class Pace(NamedTuple):
    """Where a row (or the block it is in) stands."""

    step: int
    total: int
    """Positions that were open when it began."""
    steps: int
    """Steps it was given."""
    open_mean: float
    """Open positions now: the row's own, or for the published loop the mean over its batch."""


class Candidates(NamedTuple):
    """R rows of L columns; entries that are not eligible are never accepted."""

    eligible_RL: Tensor
    rank_RL: Tensor
    probability_RL: Tensor
    """Of the most likely token, under the order's distribution."""
    entropy_RL: Tensor
    uniform_RL: Tensor
    step_R: Tensor


def _check(steps: int | None) -> None:
    if steps is not None and steps < 1:
        raise PlanError(f"steps {steps}: expected at least 1, or none for one commit a step")


@dataclass(frozen=True)
class Quota:
    """Exact integers: L = base * steps + remainder, the first ``remainder`` steps commit one more.

    LLaDA's rule. ``steps=None`` or steps >= L commits one position a step and takes L steps.
    """

    steps: int | None = None
    kind: Literal["quota"] = "quota"

    def __post_init__(self) -> None:
        _check(self.steps)

    def count(self, at: Pace) -> int:
        base, remainder = divmod(at.total, at.steps)
        return base + (at.step < remainder)


@dataclass(frozen=True)
class CosineQuota:
    """MaskGIT's cosine: ceil(L * cos(pi / 2 * i / steps)) positions are open after i steps."""

    steps: int | None = None
    kind: Literal["cosine"] = "cosine"

    def __post_init__(self) -> None:
        _check(self.steps)

    def count(self, at: Pace) -> int:
        return self._open(at, at.step) - self._open(at, at.step + 1)

    @staticmethod
    def _open(at: Pace, step: int) -> int:
        if step >= at.steps:
            return 0
        return math.ceil(at.total * math.cos(math.pi / 2 * step / at.steps) - 1e-9)


@dataclass(frozen=True)
class Threshold:
    """Every position whose most likely token has at least this probability, and always the first.

    Fast-dLLM's confidence threshold.
    """

    probability: float = 0.9
    kind: Literal["threshold"] = "threshold"

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise PlanError(f"threshold {self.probability}: expected a probability in (0, 1]")

    def accept(self, at: Candidates) -> Tensor:
        return at.eligible_RL & ((at.probability_RL >= self.probability) | (at.rank_RL == 0))


@dataclass(frozen=True)
class EntropyBound:
    """In ascending entropy, while the sum of entropies minus the largest stays within ``nats``.

    Ben-Hamu et al. 2025 (EB-Sampler); transformers' EntropyBoundSampler. The bound limits the total
    correlation that a step ignores, under the model's own marginals. Walks the entropies itself,
    whatever the order policy; the order policy's distribution provides them.
    """

    nats: float = 0.1
    kind: Literal["entropy_bound"] = "entropy_bound"

    def __post_init__(self) -> None:
        if not self.nats >= 0:
            raise PlanError(f"entropy bound {self.nats}: expected at least 0 nats")

    def accept(self, at: Candidates) -> Tensor:
        entropy_RL = at.entropy_RL.where(at.eligible_RL, math.inf).double()
        sorted_RL, column_RL = entropy_RL.sort(dim=1, stable=True)
        finite_RL = sorted_RL.where(sorted_RL < math.inf, 0.0)
        within_RL = finite_RL.cumsum(1) - finite_RL <= self.nats
        within_RL[:, 0] = True
        return torch.zeros_like(within_RL).scatter_(1, column_RL, within_RL) & at.eligible_RL


@dataclass(frozen=True)
class DreamGrid:
    """The published Dream/DiffuCoder count: trunc(mean open * (1 - s / t)) on linspace(1, eps).

    In float32, with its quirks: at steps = L the first step commits nothing and the last one two,
    and the number is a batch mean (``_sample`` in Dream's generation_utils). Here it is capped at
    what a row has open, and rows that the last step leaves behind are finished in one more, where the
    published loop writes the mask over given tokens or leaves masks in the output.
    """

    steps: int = 512
    eps: float = 1e-3
    kind: Literal["dream"] = "dream"

    def __post_init__(self) -> None:
        _check(self.steps)
        _check_eps(self.eps)

    def count(self, at: Pace) -> int:
        if at.step >= self.steps:
            return at.total
        share = 1.0 if at.step == self.steps - 1 else reveal_share(self.steps, self.eps)[at.step]
        return int(np.float32(at.open_mean) * np.float32(share))


@dataclass(frozen=True)
class DreamOrigin:
    """The published ``origin``: every open position opens by itself with probability 1 - s / t.

    All of them at the last step. Order log-probabilities are ln(1 - s / t) of the positions opened.
    """

    steps: int = 512
    eps: float = 1e-3
    kind: Literal["dream_origin"] = "dream_origin"

    def __post_init__(self) -> None:
        _check(self.steps)
        _check_eps(self.eps)

    def probability(self, step_R: Tensor) -> Tensor:
        """1 - s / t at each row's own step, 1 from the last step on."""
        share = (*reveal_share(self.steps, self.eps)[:-1], 1.0)
        shares = torch.tensor(share, device=step_R.device)
        return shares[step_R.clamp(max=self.steps - 1)]

    def accept(self, at: Candidates) -> Tensor:
        return at.eligible_RL & (at.uniform_RL < self.probability(at.step_R)[:, None])


Schedule = Quota | CosineQuota | Threshold | EntropyBound | DreamGrid | DreamOrigin
Counted = Quota | CosineQuota | DreamGrid


def _check_eps(eps: float) -> None:
    if not 0 < eps < 1:
        raise PlanError(f"eps {eps}: expected the last timestep in (0, 1); published 1e-3")


@lru_cache(maxsize=64)
def reveal_share(steps: int, eps: float) -> tuple[float, ...]:
    """1 - s / t of every step of the published float32 grid (values exact in float32)."""
    grid = torch.linspace(1, eps, steps + 1)
    return tuple((1 - grid[1:] / grid[:-1]).tolist())
