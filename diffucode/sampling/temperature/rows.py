"""What policies share: per-row memory, the memoryless case, and checks of their fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.protocols import Commits, State


@dataclass(frozen=True)
class Rows:
    """Memory by row: its fields are ``[B, ...]`` tensors, other ``Rows``, or tuples of either."""

    def take(self, rows_B: Tensor) -> Self:
        """The memory of these rows, in this order."""
        values = (_take(getattr(self, field.name), rows_B) for field in fields(self))
        return type(self)(*values)

    def cat(self, other: Self) -> Self:
        """These rows followed by the other's."""
        names = [field.name for field in fields(self)]
        return type(self)(*(_cat(getattr(self, name), getattr(other, name)) for name in names))


def _take(value: Any, rows_B: Tensor) -> Any:
    if isinstance(value, tuple):
        return tuple(_take(part, rows_B) for part in value)
    return value[rows_B] if isinstance(value, Tensor) else value.take(rows_B)


def _cat(value: Any, other: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_cat(a, b) for a, b in zip(value, other, strict=True))
    return torch.cat([value, other]) if isinstance(value, Tensor) else value.cat(other)


class Memoryless:
    """A policy whose temperature depends on the view alone, and not on single logits."""

    @property
    def retained(self) -> int:
        """One; the largest logits are not looked at."""
        return 1

    def start(self, rows: int, device: torch.device) -> Rows:
        """Nothing to remember."""
        return Rows()

    def observe(self, commits: Commits, state: State) -> State:
        """Nothing to learn."""
        return state


def check_number(place: str, value: float, *, low: float, exclusive: bool = False) -> None:
    """Raise PlanError unless ``value`` is finite and at least (or above) ``low``."""
    if math.isfinite(value) and (value > low if exclusive else value >= low):
        return
    raise PlanError(
        f"{place} is {value}; expected a finite number {'>' if exclusive else '>='} {low:g}"
    )


def check_choice(place: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise PlanError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise PlanError(f"{place} is {value!r}; expected one of {', '.join(choices)}")
