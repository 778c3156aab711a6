"""Truncation: which tokens may be drawn at all.

Every rule here keeps the tokens whose logit reaches a threshold, so a truncation is one number per
row, the *cut*, and composing rules is taking the largest cut. In transformers' order:

    max surprise   -log2 p(v) <= s under the untempered, edited model      (mirostat)
    top-k          z_v >= the k-th largest logit                            (ties kept, as transformers)
    top-p          the mass of strictly larger logits is below p            (Holtzman et al. 2020)
    min-p          p_v >= min_p * p_max                                     (Nguyen et al. 2024)

Tie rule: tokens of equal logit are kept or dropped together. For top-p transformers drops those of a
tie that its sort happens to place last; where no logits are equal the kept sets are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.sampling.summary import Softmax, Top, kept, row_sum

_RETAINED = 64


@dataclass(frozen=True)
class Truncation:
    """Static truncation of a plan; None switches a rule off.

    ``temperature_last`` truncates at temperature 1 and only then divides (llama.cpp's order).
    """

    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    temperature_last: bool = False

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise PlanError(f"top_k {self.top_k}: expected at least 1, or none")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise PlanError(f"{name} {value}: expected a number in (0, 1], or none")

    @property
    def retained(self) -> int:
        """How many of the largest logits are worth finding: almost always enough to know the cut."""
        return _RETAINED if self.top_k is None else max(_RETAINED, self.top_k + 1)


def cut(
    z_nV: Tensor,
    soft: Softmax,
    top: Top,
    rule: Truncation,
    *,
    max_surprise_n: Tensor | None = None,
    logsumexp_n: Tensor | None = None,
    top_k_n: Tensor | None = None,
) -> Tensor:
    """The smallest logit that is kept, per row; -inf where nothing is cut. At least one token stays.

    ``soft`` is the distribution that top-p measures (tempered, unless the temperature comes last),
    ``logsumexp_n`` the log-normaliser of z at temperature 1 (needed with ``max_surprise_n`` only).
    """
    largest_n, last_n = top.logit_nK[:, 0], top.logit_nK[:, -1]
    everything = top.logit_nK.shape[1] == z_nV.shape[1]
    cut_n = torch.full_like(largest_n, -math.inf)
    if max_surprise_n is not None:
        if logsumexp_n is None:
            raise PlanError(
                "max_surprise_n without logsumexp_n: surprise is measured at temperature 1"
            )
        cut_n = torch.minimum(logsumexp_n - max_surprise_n * math.log(2), largest_n).to(z_nV.dtype)
    if rule.top_k is not None or top_k_n is not None:
        retained, vocab = top.logit_nK.shape[1], z_nV.shape[1]
        k_n = torch.full_like(largest_n, rule.top_k or vocab, dtype=torch.long)
        k_n = k_n if top_k_n is None else torch.minimum(k_n, top_k_n)
        kth_n = top.logit_nK.gather(1, (k_n - 1).clamp(max=retained - 1)[:, None])[:, 0]
        kth_n = where_needed(
            (k_n > retained) & (k_n < vocab),
            kth_n.where(k_n < vocab, -math.inf),
            lambda r: _threshold(z_nV[r], torch.ones_like(z_nV[r]), k_n[r].to(z_nV.dtype)),
        )
        cut_n = cut_n.maximum(kth_n)
    if rule.top_p is not None and rule.top_p < 1:
        weight_nK = ((top.logit_nK - soft.max_n[:, None]) / soft.tau_n[:, None]).double().exp()
        mass_n = _kept_mass(z_nV, soft, cut_n, top, weight_nK, everything)
        goal_n = rule.top_p * mass_n
        before_nK = weight_nK.cumsum(1) - weight_nK
        inside_nK = before_nK < goal_n[:, None]
        edge_n = top.logit_nK.gather(1, inside_nK.sum(1, keepdim=True) - 1)[:, 0]
        beyond_n = (weight_nK.sum(1) < goal_n) & (not everything) & (cut_n < last_n)
        cut_n = cut_n.maximum(
            where_needed(
                beyond_n, edge_n, lambda r: _threshold(z_nV[r], soft.weight_nV[r], goal_n[r])
            )
        )
    if rule.min_p is not None:
        cut_n = cut_n.maximum(soft.max_n + soft.tau_n * math.log(rule.min_p))
    return cut_n


def where_needed(
    needed_n: Tensor, otherwise_n: Tensor, dense: Callable[[Tensor | slice], Tensor]
) -> Tensor:
    """``dense`` for the rows that need it, ``otherwise_n`` for the rest.

    ``dense`` is row-wise, so both branches give the same numbers: on the CPU it runs for the needed
    rows alone; elsewhere it runs for all, because asking how many there are would stall the device.
    """
    if free_to_ask(needed_n):
        index = needed_n.nonzero()[:, 0]
        return otherwise_n.index_put((index,), dense(index)) if len(index) else otherwise_n
    return torch.where(needed_n, dense(slice(None)), otherwise_n)


def free_to_ask(x: Tensor) -> bool:
    """Whether reading a tensor's values costs no synchronisation."""
    return x.device.type == "cpu"


def _kept_mass(
    z_nV: Tensor, soft: Softmax, cut_n: Tensor, top: Top, weight_nK: Tensor, everything: bool
) -> Tensor:
    """Weight of the tokens at or above the cut, float64."""
    kept_n = (weight_nK * (top.logit_nK >= cut_n[:, None])).sum(1)
    if everything:
        return kept_n
    uncut = cut_n == -math.inf
    beyond_n = (cut_n <= top.logit_nK[:, -1]) & ~uncut
    kept_n = where_needed(
        beyond_n,
        kept_n,
        lambda r: row_sum(kept(soft.weight_nV[r], z_nV[r], cut_n[r])).double(),
    )
    return torch.where(uncut, soft.total_n.double(), kept_n)


def _threshold(z_nV: Tensor, weight_nV: Tensor, goal_n: Tensor) -> Tensor:
    """The smallest logit v of each row such that the weight of {z > v} is below the goal (> 0).

    Bisection over the representable floats, whose bit patterns order like integers: exact, and a
    fixed number of passes instead of a sort.
    """
    bits = torch.int32 if z_nV.dtype == torch.float32 else torch.int64
    low_n, high_n = (_ordered(x.view(bits)) for x in z_nV.aminmax(dim=1))
    goal_n = goal_n.to(weight_nV.dtype)
    larger_nV = torch.empty_like(weight_nV)
    for _ in range(torch.iinfo(bits).bits):
        middle_n = (low_n & high_n) + ((low_n ^ high_n) >> 1)
        torch.gt(z_nV, _ordered(middle_n).view(z_nV.dtype)[:, None], out=larger_nV)
        enough_n = row_sum(larger_nV.mul_(weight_nV)) < goal_n
        high_n = torch.where(enough_n, middle_n, high_n)
        low_n = torch.where(enough_n, low_n, torch.minimum(middle_n + 1, high_n))
    return _ordered(high_n).view(z_nV.dtype)


def _ordered(bits: Tensor) -> Tensor:
    """Float bit patterns as integers that sort like the floats; its own inverse."""
    info = torch.iinfo(bits.dtype)
    return bits ^ ((bits >> (info.bits - 1)) & info.max)
