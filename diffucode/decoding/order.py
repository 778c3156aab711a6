"""Order policies: which open position is filled next.

A policy turns what the model says of each asked position into a score, higher is sooner, and into a
log-weight for drawing the order at random. Both are float32 and taken from the distribution that the
plan names (by default the model's own at temperature 1, not the tempered and truncated one that
tokens are drawn from, so that the token temperature leaves the order alone).

Order temperature T > 0 draws positions without replacement (Plackett-Luce, by the Gumbel primitive):

    ``power``  weights c ** (1 / T)      one T means the same thing for every policy
    ``dream``  weights exp(c / T)        the published ``alg_temp``: c is a probability, a margin or
                                         minus an entropy, so T has another unit in each policy
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.sampling.noise import Purpose, gumbel, perturb, uniform
from diffucode.sampling.summary import Softmax, Top, kept, row_sum

OrderScale = Literal["power", "dream"]
Ties = Literal["leftmost", "rightmost", "random"]


class Measured(NamedTuple):
    """Asked positions under the distribution that the order looks at (float32, nats)."""

    log_top_N: Tensor
    """ln of the largest probability."""
    log_second_N: Tensor
    entropy_N: Tensor
    log_drawn_N: Tensor | None
    """ln of the drawn token's probability; None where nothing was drawn yet."""
    offset_N: Tensor
    """Position relative to the answer."""


class Scores(NamedTuple):
    """``score`` orders and goes into ``dream`` weights, ``log_weight`` into ``power`` weights."""

    score_N: Tensor
    log_weight_N: Tensor


@dataclass(frozen=True)
class Confidence:
    """The largest probability (LLaDA's low-confidence remasking at temperature 0)."""

    kind: Literal["confidence"] = "confidence"
    needs_draw: ClassVar[bool] = False

    def __call__(self, at: Measured) -> Scores:
        return Scores(at.log_top_N.exp(), at.log_top_N)


@dataclass(frozen=True)
class DrawnConfidence:
    """The probability of the token that was drawn (``maskgit_plus``; LLaDA at any temperature).

    The choice depends on the draw, which amounts to a lower token temperature (arXiv 2510.04525).
    """

    kind: Literal["drawn_confidence"] = "drawn_confidence"
    needs_draw: ClassVar[bool] = True

    def __call__(self, at: Measured) -> Scores:
        assert at.log_drawn_N is not None
        return Scores(at.log_drawn_N.exp(), at.log_drawn_N)


@dataclass(frozen=True)
class Margin:
    """The gap between the two largest probabilities (``topk_margin``)."""

    kind: Literal["margin"] = "margin"
    needs_draw: ClassVar[bool] = False

    def __call__(self, at: Measured) -> Scores:
        margin_N = at.log_top_N.exp() - at.log_second_N.exp()
        # ln(p1 - p2) = ln p1 + ln(1 - p2 / p1), exact where the two are close
        ratio_N = -torch.expm1(at.log_second_N - at.log_top_N)
        return Scores(margin_N, at.log_top_N + ratio_N.log())


@dataclass(frozen=True)
class Entropy:
    """Minus the entropy in nats (``entropy``, DiffuCoder's order)."""

    kind: Literal["entropy"] = "entropy"
    needs_draw: ClassVar[bool] = False

    def __call__(self, at: Measured) -> Scores:
        return Scores(-at.entropy_N, -at.entropy_N)


@dataclass(frozen=True)
class Random:
    """A uniformly random order, whatever the order temperature."""

    kind: Literal["random"] = "random"
    needs_draw: ClassVar[bool] = False

    def __call__(self, at: Measured) -> Scores:
        return Scores(torch.zeros_like(at.log_top_N), torch.zeros_like(at.log_top_N))


@dataclass(frozen=True)
class LeftToRight:
    """The leftmost open positions, as an autoregressive model."""

    kind: Literal["left_to_right"] = "left_to_right"
    needs_draw: ClassVar[bool] = False

    def __call__(self, at: Measured) -> Scores:
        score_N = -at.offset_N.to(at.log_top_N.dtype)
        return Scores(score_N, score_N)


InnerOrder = Confidence | DrawnConfidence | Margin | Entropy | Random | LeftToRight


@dataclass(frozen=True)
class BlockWise:
    """Fill blocks of ``length`` positions from left to right, each in the inner policy's order."""

    length: int
    inner: InnerOrder = field(default_factory=Confidence)
    kind: Literal["block_wise"] = "block_wise"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise PlanError(f"block length {self.length}: expected at least 1")

    @property
    def needs_draw(self) -> bool:
        return self.inner.needs_draw

    def __call__(self, at: Measured) -> Scores:
        return self.inner(at)


Order = InnerOrder | BlockWise


def measure(
    z_nV: Tensor, soft: Softmax, top: Top, cut_n: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ln p of the two largest tokens, entropy and log-normaliser of softmax(z / tau) above the cut."""
    total_n, entropy_n = soft.total_n, soft.entropy_n
    first_n, second_n = top.logit_nK[:, 0], top.logit_nK[:, min(1, top.logit_nK.shape[1] - 1)]
    if cut_n is not None:
        kept_nV = kept(soft.weight_nV, z_nV, cut_n)
        total_n = row_sum(kept_nV)
        exponent_nV = (z_nV - soft.max_n[:, None]).div_(soft.tau_n[:, None]).clamp_(min=-1e4)
        entropy_n = (total_n.log() - row_sum(exponent_nV.mul_(kept_nV)) / total_n).clamp(min=0)
        second_n = second_n.where(second_n >= cut_n, -math.inf)
    log_total_n = soft.max_n / soft.tau_n + total_n.log()
    return (
        first_n / soft.tau_n - log_total_n,
        second_n / soft.tau_n - log_total_n,
        entropy_n,
        log_total_n,
    )


class Ranking(NamedTuple):
    """The open positions of each row in the order in which they would be filled."""

    rank_RL: Tensor
    """0 for the first; positions that are not eligible come last."""
    logprob_RL: Tensor
    """ln of the probability of each being drawn at its rank, given the earlier ones; 0 if no chance
    was involved."""


def rank(
    scores: Scores,
    at_row: Tensor,
    at_col: Tensor,
    shape: tuple[int, int],
    *,
    order: Order,
    temperature: float,
    scale: OrderScale,
    ties: Ties,
    noise: tuple[Tensor, Tensor, Tensor],
) -> Ranking:
    """Rank the asked positions of R rows; ``noise`` is (key_N2, position_N, step_N).

    At order temperature 0 equal scores are resolved by ``ties``; ``random`` uses keyed noise too.
    """
    inner = order.inner if isinstance(order, BlockWise) else order
    drawn = temperature > 0 or isinstance(inner, Random)
    if not drawn:
        tie_RL = None
        if ties == "random":
            u_N = uniform(*noise, Purpose.RANK, None)
            tie_RL = _scatter(u_N, at_row, at_col, shape)
        score_RL = _scatter(scores.score_N, at_row, at_col, shape)
        return Ranking(_ranks(score_RL, ties, tie_RL), torch.zeros_like(score_RL))
    temperature = 1.0 if isinstance(inner, Random) else temperature
    weight_N = scores.log_weight_N if scale == "power" else scores.score_N
    perturbed_N = perturb(weight_N, temperature, gumbel(*noise, Purpose.ORDER, None))
    perturbed_RL = _scatter(perturbed_N, at_row, at_col, shape)
    rank_RL = _ranks(perturbed_RL, "leftmost", None)
    weight_RL = _scatter(weight_N.double() / temperature, at_row, at_col, shape)
    return Ranking(rank_RL, plackett_luce(weight_RL, rank_RL))


def plackett_luce(log_weight_RL: Tensor, rank_RL: Tensor) -> Tensor:
    """ln of each item's probability at its rank: its weight over the weights not yet drawn."""
    sorted_RL = torch.empty_like(log_weight_RL).scatter_(1, rank_RL, log_weight_RL)
    remaining_RL = sorted_RL.flip(1).logcumsumexp(1).flip(1)
    return (sorted_RL - remaining_RL).gather(1, rank_RL).float()


def _scatter(x_N: Tensor, row: Tensor, col: Tensor, shape: tuple[int, int]) -> Tensor:
    return x_N.new_full(shape, -math.inf).index_put((row, col), x_N)


def _ranks(score_RL: Tensor, ties: Ties, tie_RL: Tensor | None) -> Tensor:
    """The rank of every column when rows are sorted by descending score."""
    columns_L = torch.arange(score_RL.shape[1], device=score_RL.device)
    before_RL = columns_L.expand_as(score_RL)
    if ties == "rightmost":
        before_RL = before_RL.flip(1)
    elif tie_RL is not None:
        before_RL = tie_RL.argsort(1, descending=True)
    by_score_RL = score_RL.gather(1, before_RL).argsort(dim=1, descending=True, stable=True)
    order_RL = before_RL.gather(1, by_score_RL)
    return torch.empty_like(order_RL).scatter_(1, order_RL, columns_L.expand_as(order_RL))
