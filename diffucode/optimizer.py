"""AdamW, and the rate of each of its steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from diffucode.errors import ConfigError


@dataclass(frozen=True)
class Optimizer:
    """AdamW; linear warm-up, then constant, or down to ``least`` of the peak along a cosine or a line."""

    rate: float
    """At the peak."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    warmup: float = 0
    """Steps of the optimiser; below 1, a share of all of them."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    least: float = 0.1

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.warmup >= 0 and 0 <= self.least <= 1):
            raise ConfigError(
                f"rate={self.rate}, warmup={self.warmup}, least={self.least}: expected a rate over 0, "
                "a warm-up of at least 0 and a share from 0 to 1"
            )

    def at(self, step: int, steps: int) -> float:
        """The rate of a step of ``steps``."""
        warmup = self.warmup if self.warmup >= 1 else round(self.warmup * steps)
        if step < warmup:
            return self.rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.rate
        share = (step - warmup) / max(1, steps - warmup)
        left = 1 - share if self.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self.rate * (self.least + (1 - self.least) * left)

    def over(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        """The optimiser of these; its rate is to be set before every step."""
        return torch.optim.AdamW(
            parameters, lr=self.rate, betas=self.betas, weight_decay=self.weight_decay
        )
