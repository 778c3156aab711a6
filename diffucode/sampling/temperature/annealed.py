"""Exploratory annealed decoding (EAD): hot first tokens, cold last ones.

    tau(t) = max(1 + tau_max - exp(t / d), tau_min)            tau(t) = 1 before the cutoff

starts at tau_max, crosses 1 at ``d ln(tau_max)`` and reaches tau_min at ``d ln(1 + tau_max -
tau_min)``. Source: Yang et al., arXiv 2510.05251. Their released sampler divides t by ``20 d``,
the formula above does not; here d is in the clock's own unit, and ``Annealed.from_release``
translates.

The premise is that early decisions set the direction. Under a confidence order the first commits of
a diffusion model are its *surest*, so the progress clock may cool exactly the uncertain ones; the
position clock or a random order keep the premise. The other shapes are controls for experiments.
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

AnnealedClock = Literal["progress", "position"]
Shape = Literal["negexp", "linear", "two_stage", "mean_matched", "reversed"]

RELEASE_FACTOR = 20
"""The released sampler's decay parameter times this is d in tokens."""


@dataclass(frozen=True)
class Annealed(Memoryless):
    """EAD. The clock t is the position relative to the answer in tokens (``position``; the
    published form, by token index, under autoregressive decoding) or the row's committed share
    (``progress``).

    tau_max, tau_min  first and last temperature, tau_max > tau_min > 0
    d                 time constant in the clock's unit; or
    floor_at          the t at which tau_min is reached, d = floor_at / ln(1 + tau_max - tau_min).
                      With neither, the progress clock takes floor_at = 1 and the position clock
                      refuses: a d longer than the answers never anneals, so it must be chosen
    cutoff            tau is 1 for the row's first ``cutoff`` tokens (position) or steps (progress)
    growth, d_max     d grows with the training step s: min(d + growth * s, d_max)
    base              multiplies everything
    shape             over [0, floor_at]: ``negexp`` as above; ``linear`` between the same ends;
                      ``two_stage`` tau_max, then tau_min from half of floor_at on; ``mean_matched``
                      negexp's time average as a constant; ``reversed`` negexp run backwards,
                      tau_max afterwards
    """

    tau_max: float = 1.2
    tau_min: float = 0.1
    clock: AnnealedClock = "progress"
    d: float | None = None
    floor_at: float | None = None
    cutoff: int = 0
    growth: float = 0.0
    d_max: float = 40_000.0
    base: float = 1.0
    shape: Shape = "negexp"
    kind: Literal["annealed"] = "annealed"

    def __post_init__(self) -> None:
        check_number("Annealed.tau_min", self.tau_min, low=0, exclusive=True)
        check_number("Annealed.tau_max", self.tau_max, low=0, exclusive=True)
        if self.tau_max <= self.tau_min:
            raise PlanError(
                f"Annealed.tau_max is {self.tau_max}, tau_min {self.tau_min}; expected tau_max > "
                "tau_min (Constant holds one temperature)"
            )
        check_choice("Annealed.clock", self.clock, get_args(AnnealedClock))
        check_choice("Annealed.shape", self.shape, get_args(Shape))
        if self.d is not None and self.floor_at is not None:
            raise PlanError("Annealed.d and Annealed.floor_at both set the decay; give one of them")
        if self.d is None and self.floor_at is None and self.clock == "position":
            raise PlanError(
                "Annealed on the position clock needs d or floor_at in tokens; floor_at = the "
                "median length of the answers is a good start"
            )
        for name in ("d", "floor_at"):
            if getattr(self, name) is not None:
                check_number(f"Annealed.{name}", getattr(self, name), low=0, exclusive=True)
        check_number("Annealed.cutoff", self.cutoff, low=0)
        check_number("Annealed.growth", self.growth, low=0)
        check_number("Annealed.base", self.base, low=0)
        check_number("Annealed.d_max", self.d_max, low=self.decay(0))

    @classmethod
    def from_release(
        cls,
        decay_freq: float,
        *,
        tau_max: float = 1.2,
        tau_min: float = 0.1,
        cutoff: int = 10,
        alpha: float = 5.0,
        d_max: float = 40_000.0,
        base: float = 1.0,
    ) -> Self:
        """The released sampler's parameters and defaults, whose decay, growth and limit count units
        of 20 tokens. The published recipe is ``from_release(25)``, d = 500 tokens."""
        return cls(
            tau_max=tau_max,
            tau_min=tau_min,
            clock="position",
            d=RELEASE_FACTOR * decay_freq,
            cutoff=cutoff,
            growth=RELEASE_FACTOR * alpha,
            d_max=RELEASE_FACTOR * d_max,
            base=base,
        )

    def decay(self, rl_step: int) -> float:
        """The time constant at a training step, in the clock's unit."""
        start = self.d
        if start is None:
            start = (1.0 if self.floor_at is None else self.floor_at) / self._span
        return start if self.growth == 0 else min(start + self.growth * rl_step, self.d_max)

    @property
    def _span(self) -> float:
        """The t / d at which negexp reaches tau_min."""
        return math.log(1 + self.tau_max - self.tau_min)

    def control(self, view: View, state: State) -> Control:
        """The schedule at each position's clock."""
        step_N = view.step_B[view.row_N]
        progress_N = view.progress_B[view.row_N].float()
        on_position = self.clock == "position"
        t_N = view.offset_N.float() if on_position else progress_N
        tau_N = self._shape(t_N / self.decay(view.rl_step))
        early_N = (view.offset_N if on_position else step_N) < self.cutoff
        return Control(self.base * torch.where(early_N, 1.0, tau_N))

    def _shape(self, x_N: Tensor) -> Tensor:
        """tau at x = t / d, before the cutoff and the base."""
        high, low, span = self.tau_max, self.tau_min, self._span
        match self.shape:
            case "negexp":
                return self._negexp(x_N)
            case "linear":
                return high - (high - low) * (x_N / span).clamp(0, 1)
            case "two_stage":
                return torch.where(x_N < span / 2, high, low)
            case "mean_matched":
                return torch.full_like(x_N, 1 + high - (high - low) / span)
            case "reversed":
                return self._negexp((span - x_N).clamp(min=0))

    def _negexp(self, x_N: Tensor) -> Tensor:
        # e^50 is far below every floor and still a float32.
        return (1 + self.tau_max - x_N.clamp(max=50).exp()).clamp(min=self.tau_min)
