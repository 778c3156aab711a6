"""Policies made of policies, and the union a plan chooses from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.protocols import Commits, Control, State, View
from diffucode.sampling.temperature.annealed import Annealed
from diffucode.sampling.temperature.constant import Constant
from diffucode.sampling.temperature.hapo import HapoAdaptive
from diffucode.sampling.temperature.mirostat import MirostatV1, MirostatV2
from diffucode.sampling.temperature.rows import Rows
from diffucode.sampling.temperature.schedules import Cosine, Linear

TEXT, CODE = 0, 1
"""Region labels."""


@dataclass(frozen=True)
class Parts(Rows):
    """The memory of each part."""

    parts: tuple[State, ...]


@dataclass(frozen=True)
class Product:
    """The product of the parts' temperatures under the tightest of their caps."""

    parts: tuple[Temperature, ...]
    kind: Literal["product"] = "product"

    def __post_init__(self) -> None:
        if not self.parts:
            raise PlanError("Product.parts is empty; expected at least one policy")

    @property
    def retained(self) -> int:
        """What the neediest part wants."""
        return max(part.retained for part in self.parts)

    def start(self, rows: int, device: torch.device) -> Parts:
        """Fresh rows of every part."""
        return Parts(tuple(part.start(rows, device) for part in self.parts))

    def control(self, view: View, state: State) -> Control:
        """Product of the temperatures, minimum of the caps."""
        controls = _controls(self.parts, view, state)
        return Control(
            reduce(torch.mul, [c.tau_N for c in controls]),
            _tightest([c.max_surprise_N for c in controls]),
            _tightest([c.top_k_N for c in controls]),
        )

    def observe(self, commits: Commits, state: State) -> Parts:
        """Every part observes every commit."""
        pairs = zip(self.parts, _parts(state), strict=True)
        return Parts(tuple(part.observe(commits, memory) for part, memory in pairs))


@dataclass(frozen=True)
class Regions:
    """One policy for text, one for code, by the canvas's region labels (0 text, 1 code).

    Each keeps its own memory and observes the commits of its region only. Raises PlanError on a
    canvas without labels. Source: Thyme, arXiv 2508.11630, with text at 1 and code at 0.
    """

    text: Temperature
    code: Temperature
    kind: Literal["regions"] = "regions"

    @property
    def retained(self) -> int:
        """What the needier policy wants."""
        return max(self.text.retained, self.code.retained)

    def start(self, rows: int, device: torch.device) -> Parts:
        """Fresh rows of both policies."""
        return Parts((self.text.start(rows, device), self.code.start(rows, device)))

    def control(self, view: View, state: State) -> Control:
        """What the policy of each position's region asks for."""
        code_N = _is_code(view.region_N)
        text, code = _controls((self.text, self.code), view, state)
        return Control(
            torch.where(code_N, code.tau_N, text.tau_N),
            _select(code_N, code.max_surprise_N, text.max_surprise_N, torch.inf),
            _select(code_N, code.top_k_N, text.top_k_N, view.vocab_size),
        )

    def observe(self, commits: Commits, state: State) -> Parts:
        """Each policy observes its own region."""
        code_M = _is_code(commits.region_M)
        text, code = _parts(state)
        in_text = replace(commits, where_M=commits.where_M & ~code_M)
        in_code = replace(commits, where_M=commits.where_M & code_M)
        return Parts((self.text.observe(in_text, text), self.code.observe(in_code, code)))


Temperature = (
    Constant
    | Linear
    | Cosine
    | Annealed
    | MirostatV1
    | MirostatV2
    | HapoAdaptive
    | Regions
    | Product
)
"""Every temperature policy; in a config file ``kind`` picks one."""


def _parts(state: State) -> tuple[State, ...]:
    assert isinstance(state, Parts)
    return state.parts


def _controls(parts: Sequence[Temperature], view: View, state: State) -> list[Control]:
    pairs = zip(parts, _parts(state), strict=True)
    return [part.control(view, memory) for part, memory in pairs]


def _is_code(region: Tensor | None) -> Tensor:
    if region is None:
        raise PlanError(
            "Regions needs region labels, but this canvas has none; give the request its regions "
            "or choose a policy without regions"
        )
    return region == CODE


def _tightest(caps: Sequence[Tensor | None]) -> Tensor | None:
    given = [cap for cap in caps if cap is not None]
    return reduce(torch.minimum, given) if given else None


def _select(
    where_N: Tensor, chosen: Tensor | None, other: Tensor | None, free: float
) -> Tensor | None:
    """``torch.where`` over caps; ``free`` is the value that caps nothing."""
    known = chosen if chosen is not None else other
    if known is None:
        return None
    none = torch.full_like(known, free)
    return torch.where(
        where_N, none if chosen is None else chosen, none if other is None else other
    )
