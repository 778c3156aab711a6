"""Temperatures that move from an initial to a final value while a row fills.

The clock says how far a row is, x in [0, 1]:

    progress   x = u, the share of the row's positions already committed; the last commit of a row
               of L positions, one a step, happens at u = (L - 1) / L
    position   x = offset / length: where a token stands in the answer, whenever it is written; with
               autoregressive decoding the token's index
    step       x = step / length: the row's own steps

``length`` counts tokens (position) or steps (step); None is the number of positions the row has to
fill. Beyond it x stays 1. ``Linear(0.8, 0.4)`` on the progress clock, one step a commit, is the
per-step schedule that transformers ships for DiffusionGemma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.protocols import Control, State, View
from diffucode.sampling.temperature.rows import Memoryless, check_choice, check_number

Clock = Literal["progress", "position", "step"]


@dataclass(frozen=True)
class Linear(Memoryless):
    """tau = initial + (final - initial) x."""

    initial: float
    final: float
    clock: Clock = "progress"
    length: int | None = None
    kind: Literal["linear"] = "linear"

    def __post_init__(self) -> None:
        _check("Linear", self.initial, self.final, self.clock, self.length)

    def control(self, view: View, state: State) -> Control:
        """A straight line in the clock."""
        x_N = elapsed(view, self.clock, self.length)
        return Control(self.initial + (self.final - self.initial) * x_N)


@dataclass(frozen=True)
class Cosine(Memoryless):
    """tau = final + (initial - final) (1 + cos(pi x)) / 2: level at both ends."""

    initial: float
    final: float
    clock: Clock = "progress"
    length: int | None = None
    kind: Literal["cosine"] = "cosine"

    def __post_init__(self) -> None:
        _check("Cosine", self.initial, self.final, self.clock, self.length)

    def control(self, view: View, state: State) -> Control:
        """Half a cosine in the clock."""
        x_N = elapsed(view, self.clock, self.length)
        return Control(
            self.final + (self.initial - self.final) * (1 + torch.cos(math.pi * x_N)) / 2
        )


def elapsed(view: View, clock: Clock, length: int | None) -> Tensor:
    """How far each position's row is, float32 ``[N]`` in [0, 1]; the clocks are defined above."""
    if clock == "progress":
        x_N = view.progress_B[view.row_N].float()
    else:
        now_N = view.offset_N if clock == "position" else view.step_B[view.row_N]
        horizon_N = view.length_B[view.row_N] if length is None else length
        x_N = now_N.float() / horizon_N
    return x_N.clamp(0, 1)


def _check(name: str, initial: float, final: float, clock: Clock, length: int | None) -> None:
    check_number(f"{name}.initial", initial, low=0)
    check_number(f"{name}.final", final, low=0)
    check_choice(f"{name}.clock", clock, get_args(Clock))
    if length is not None:
        if clock == "progress":
            raise PlanError(
                f"{name}.length is {length}, but the progress clock ends when the row is full; use "
                'clock="position" or "step", or drop the length'
            )
        check_number(f"{name}.length", length, low=1)
