"""One temperature for every draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from diffucode.protocols import Control, State, View
from diffucode.sampling.temperature.rows import Memoryless, check_number


@dataclass(frozen=True)
class Constant(Memoryless):
    """tau = ``value`` everywhere; 0 is greedy."""

    value: float = 1.0
    kind: Literal["constant"] = "constant"

    def __post_init__(self) -> None:
        check_number("Constant.value", self.value, low=0)

    def control(self, view: View, state: State) -> Control:
        """The same temperature at all positions."""
        return Control(torch.full_like(view.entropy_N, self.value, dtype=torch.float32))
