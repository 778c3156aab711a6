"""Autoregressive decoding as the special case it is: left to right, one commit a step.

Nothing but the leftmost open position is asked about, so a causal model may keep what it has read in
a cache. Sampler, noise, policies and trace are those of diffusion decoding; on the same causal
weights both give the same tokens.
"""

from __future__ import annotations

from dataclasses import replace

from diffucode.decoding.order import LeftToRight
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.errors import PlanError
from diffucode.protocols import Denoiser


def left_to_right(plan: SamplingPlan) -> SamplingPlan:
    """The plan with the order and schedule of an autoregressive model."""
    return replace(plan, order=LeftToRight(), order_temperature=0.0, schedule=Quota())


def check(request: Request, denoiser: Denoiser) -> None:
    """Refuse what cannot be decoded from left to right with a causal model."""
    if not denoiser.causal:
        raise PlanError(
            "autoregressive decoding needs causal attention, and this model sees both sides; "
            "open it causally or decode by diffusion"
        )
    first = request.open.index(True) if True in request.open else 0
    if not all(request.open[first:]):
        raise PlanError(
            f"request {request.id!r}: given tokens follow an open position; an autoregressive model "
            "cannot fill holes, use a diffusion model"
        )
