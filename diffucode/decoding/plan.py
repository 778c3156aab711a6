"""What a request asks for: the sampling plan, every choice of a decoder as one value.

Three temperatures are kept apart: ``temperature`` (which token), ``confidence_temperature`` (what the
order looks at) and ``order_temperature`` (which position). The published models tie the first two;
``dream_plan`` and ``llada_plan`` reproduce that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from diffucode.decoding.order import (
    BlockWise,
    Confidence,
    DrawnConfidence,
    Entropy,
    Margin,
    Order,
    OrderScale,
    Random,
    Ties,
)
from diffucode.decoding.schedule import (
    DreamGrid,
    DreamOrigin,
    EntropyBound,
    Quota,
    Schedule,
)
from diffucode.errors import PlanError
from diffucode.sampling.edits import Edit
from diffucode.sampling.temperature import Constant, Temperature
from diffucode.sampling.truncation import Truncation


@dataclass(frozen=True)
class SamplingPlan:
    """How to decode a request. Rows of one batch may have different plans.

    ``confidence_temperature=None`` ties the order to the token temperature (1 where that is 0), and
    ``confidence_truncated`` lets the truncation shape what the order sees. ``retire`` ends a row when
    everything up to its first terminator is committed; the text is the same, the tail stays open.
    """

    temperature: Temperature = field(default_factory=lambda: Constant(0.0))
    truncation: Truncation = field(default_factory=Truncation)
    edits: tuple[Edit, ...] = ()
    order: Order = field(default_factory=Confidence)
    order_temperature: float = 0.0
    order_scale: OrderScale = "power"
    confidence_temperature: float | None = 1.0
    confidence_truncated: bool = False
    ties: Ties = "leftmost"
    schedule: Schedule = field(default_factory=Quota)
    retire: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.order_temperature < math.inf:
            raise PlanError(f"order temperature {self.order_temperature}: expected a number >= 0")
        if self.confidence_temperature is not None and not (
            1e-5 <= self.confidence_temperature < math.inf
        ):
            raise PlanError(
                f"confidence temperature {self.confidence_temperature}: expected a positive number, "
                "or none to tie it to the token temperature"
            )
        if isinstance(self.schedule, EntropyBound) and self.order_temperature > 0:
            raise PlanError(
                "an entropy bound walks positions in ascending entropy, so an order temperature "
                f"({self.order_temperature}) would do nothing; use another schedule or 0"
            )


@dataclass(frozen=True)
class Request:
    """One row to decode: ``tokens`` where not ``open``, positions to fill where ``open``.

    The noise is keyed by (seed, id, sample): the same request decodes the same alone or in any batch.
    ``noise_id`` replaces the id there, for requests that are told apart and draw alike all the same.
    """

    id: str
    tokens: tuple[int, ...]
    open: tuple[bool, ...]
    plan: SamplingPlan
    seed: int = 0
    sample: int = 0
    regions: tuple[int, ...] | None = None
    noise_id: str | None = None

    @classmethod
    def completion(
        cls,
        id: str,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        plan: SamplingPlan,
        *,
        seed: int = 0,
        sample: int = 0,
    ) -> Request:
        """A prompt followed by ``max_new_tokens`` open positions."""
        if max_new_tokens < 1:
            raise PlanError(f"max_new_tokens {max_new_tokens}: expected at least 1")
        given = len(prompt_ids)
        return cls(
            id,
            (*prompt_ids, *(0,) * max_new_tokens),
            (False,) * given + (True,) * max_new_tokens,
            plan,
            seed,
            sample,
        )


def dream_plan(
    alg: Literal["origin", "maskgit_plus", "topk_margin", "entropy"] = "entropy",
    *,
    steps: int = 512,
    temperature: float = 0.0,
    top_p: float | None = None,
    top_k: int | None = None,
    alg_temp: float | None = None,
    eps: float = 1e-3,
) -> SamplingPlan:
    """The published Dream/DiffuCoder loop, step for step (``compat="dream"``).

    Same tokens at temperature 0, same law above, wherever that loop draws no mask id; rows that it
    would corrupt (unequal mask counts in a batch) stay intact here. Its sort leaves equal confidences
    in an order of the kernel's choosing; here the leftmost comes first.
    """
    orders: dict[str, Order] = {
        "origin": Random(),
        "maskgit_plus": DrawnConfidence(),
        "topk_margin": Margin(),
        "entropy": Entropy(),
    }
    if alg not in orders:
        raise PlanError(f"alg {alg!r}: expected one of {', '.join(orders)}")
    return SamplingPlan(
        temperature=Constant(temperature),
        truncation=Truncation(top_k=top_k, top_p=top_p),
        order=orders[alg],
        order_temperature=alg_temp or 0.0,
        order_scale="dream",
        confidence_temperature=None,
        confidence_truncated=True,
        schedule=DreamOrigin(steps, eps) if alg == "origin" else DreamGrid(steps, eps),
        retire=False,
    )


def llada_plan(
    *,
    steps: int = 128,
    block_length: int = 128,
    temperature: float = 0.0,
    remasking: Literal["low_confidence", "random"] = "low_confidence",
) -> SamplingPlan:
    """The published LLaDA loop (``compat="llada"``): quotas per block, confidence of the drawn token
    under the model at temperature 1."""
    inner: dict[str, DrawnConfidence | Random] = {
        "low_confidence": DrawnConfidence(),
        "random": Random(),
    }
    if remasking not in inner:
        raise PlanError(f"remasking {remasking!r}: expected one of {', '.join(inner)}")
    return SamplingPlan(
        temperature=Constant(temperature),
        order=BlockWise(block_length, inner[remasking]),
        schedule=Quota(steps),
        retire=False,
    )
