"""HAPO's adaptive temperature: hotter where the model is uncertain, cooler where it is sure.

    h = (ln H - Q) / sigma          Q the 0.8 quantile of ln H, sigma the root mean square about Q
    scaled    tau = base (1 + tau_scale * clip(h / h_max if h > 0 else h / |h_min|, -1, 1))
    zscore    tau = base (1 + tau_scale * h)

H is the raw entropy in nats. The statistics come from the *previous* rollout batch and are passed
in. Source: Liu et al., arXiv 2509.16591. The signal is signed, as the paper's text intends; the
released code divides by h_min < 0 where it should by |h_min|, so there nothing is ever cooled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.protocols import Control, State, View
from diffucode.sampling.temperature.rows import Memoryless, check_choice, check_number

Form = Literal["scaled", "zscore"]

ENTROPY_FLOOR = 1e-8
"""Nats; keeps the logarithm finite."""
TAU_FLOOR = 0.05
"""The z-score is unbounded; no position gets colder than this."""


@dataclass(frozen=True)
class HapoStats:
    """What one rollout batch says about entropy: quantile and spread of ln H, extremes of h."""

    q: float
    sigma: float
    h_max: float
    h_min: float

    def __post_init__(self) -> None:
        check_number("HapoStats.q", self.q, low=-math.inf)
        check_number("HapoStats.sigma", self.sigma, low=0)
        check_number("HapoStats.h_max", self.h_max, low=0)
        check_number("-HapoStats.h_min", -self.h_min, low=0)

    @classmethod
    def of(cls, entropies: Tensor, rho: float = 0.8) -> Self:
        """Statistics of the raw entropies (nats, any shape) of a batch's committed tokens.

        The quantile is the value of nearest rank round(rho (n - 1)), halves to even. Equal
        entropies give a spread of 0, at which the policy stays at its base. Raises PlanError
        without entropies or with one that is not finite.
        """
        if not 0 <= rho <= 1:
            raise PlanError(f"HapoStats.of: rho is {rho}; expected a quantile in [0, 1]")
        log_h = entropies.double().flatten().clamp(min=ENTROPY_FLOOR).log()
        if not len(log_h) or not log_h.isfinite().all():
            raise PlanError(
                f"HapoStats.of: {len(log_h)} entropies, {int((~log_h.isfinite()).sum())} not "
                "finite; expected at least one and all finite (leave pads out)"
            )
        q = log_h.sort().values[round(rho * (len(log_h) - 1))]
        sigma = (log_h - q).square().mean().sqrt()
        h = (log_h - q) / sigma if sigma > 0 else torch.zeros_like(log_h)
        return cls(float(q), float(sigma), float(h.max()), float(h.min()))

    def deviation(self, entropy: Tensor) -> Tensor:
        """h of raw entropies (nats, any shape)."""
        return (entropy.clamp(min=ENTROPY_FLOOR).log() - self.q) * _inverse(self.sigma)

    def signal(self, entropy: Tensor) -> Tensor:
        """h over the extreme of its own sign: -1 and 1 at the surest and the most uncertain token of the
        batch, beyond them outside it."""
        h = self.deviation(entropy)
        return h * torch.where(h > 0, _inverse(self.h_max), _inverse(-self.h_min))


@dataclass(frozen=True)
class HapoAdaptive(Memoryless):
    """HAPO's adaptive temperature sampling.

    ``stats`` None (the first rollout) is the base temperature everywhere; so is a position whose
    entropy is 0 (one possible token) and a signal of no known scale. ``tau_scale`` None is the
    source's: 0.05 scaled, 0.1 z-score. ``clip`` bounds the signal from both sides; None is the
    source's: 1 scaled, no bound for the z-score. tau never falls below 0.05.
    """

    stats: HapoStats | None = None
    form: Form = "scaled"
    base: float = 1.0
    tau_scale: float | None = None
    clip: float | None = None
    kind: Literal["hapo"] = "hapo"

    def __post_init__(self) -> None:
        check_choice("HapoAdaptive.form", self.form, get_args(Form))
        check_number("HapoAdaptive.base", self.base, low=TAU_FLOOR)
        for name in ("tau_scale", "clip"):
            if getattr(self, name) is not None:
                check_number(f"HapoAdaptive.{name}", getattr(self, name), low=0)

    def control(self, view: View, state: State) -> Control:
        """The temperature by each position's raw entropy."""
        base_N = torch.full_like(view.entropy_N, self.base, dtype=torch.float32)
        if self.stats is None:
            return Control(base_N)
        scaled = self.form == "scaled"
        scale = (0.05 if scaled else 0.1) if self.tau_scale is None else self.tau_scale
        clip = (1.0 if scaled else math.inf) if self.clip is None else self.clip
        entropy_N = view.entropy_N.float()
        signal_N = self.stats.signal(entropy_N) if scaled else self.stats.deviation(entropy_N)
        signal_N = signal_N.clamp(-clip, clip)
        tau_N = (base_N * (1 + scale * signal_N)).clamp(min=TAU_FLOOR)
        return Control(torch.where(view.entropy_N > 0, tau_N, base_N))


def _inverse(scale: float) -> float:
    """1 / scale; a scale of 0 is unknown and switches its signal off."""
    return 1 / scale if scale > 0 else 0.0
