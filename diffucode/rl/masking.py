"""What a likelihood estimate hides, and what each hidden position counts: a value, not a side effect.

A diffusion model has no tractable log-likelihood, only l_i(S): ln p of token i when the positions S are
hidden, i among them. An estimator draws *views*, each a set S with a weight for every i in it, and its
estimate is the weighted sum of the l_i(S) over all views::

    scored      . . . x x x x x .        the n positions of the answer that count
    view 0      . . . # # # # # .        hidden positions (#); the full mask, weight 1/n
    view 1      . . . # _ # _ _ .        k of them at random, weight (n - 1) / 2k
    view 2      . . . _ # _ # # .        its complement, weight (n - 1) / 2(n - k)

ELBO is the mean over all orders of the n positions of the chain rule in that order, or, the same number,
the sum over k = 1..n of the mean over |S| = k of (1 / k) sum of l_i(S). One estimate is more than a sum,
``sandwich`` (``likelihood.sandwiched``).

The plan of a row is a pure function of (its noise key, the iteration): not of its neighbours, padding,
micro-batches, processes or what was drawn before. Old, reference and new policy score under one plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.trace import Trace
from diffucode.errors import PlanError
from diffucode.sampling.noise import Purpose, key, uniform

Reading = Literal["hidden", "left"]
"""What is seen of a target: ``hidden``, everything that the view does not hide; ``left``, what stands to
its left, as an autoregressive model reads it, with nothing hidden."""


@dataclass(frozen=True)
class MaskPlan:
    """K views of B rows of L columns."""

    hidden_KBL: Tensor
    """Bool. Hidden with weight 0 is context that the model may not see, and no target."""
    weight_KBL: Tensor
    """Float64: the coefficient of l_i(S) in the estimate of a row."""
    denom_B: Tensor
    """Scored positions of each row, int64: what a mean over tokens divides by."""
    reading: Reading = "hidden"

    def __post_init__(self) -> None:
        if self.hidden_KBL.shape != self.weight_KBL.shape:
            raise PlanError(
                f"a mask plan hides {tuple(self.hidden_KBL.shape)} and weighs "
                f"{tuple(self.weight_KBL.shape)}: expected the same [K, B, L]"
            )
        if self.reading == "hidden" and bool(((self.weight_KBL != 0) & ~self.hidden_KBL).any()):
            raise PlanError(
                "a mask plan weighs a position that it shows: its own token would be read"
            )

    @property
    def views(self) -> int:
        return len(self.hidden_KBL)

    @property
    def passes_B(self) -> Tensor:
        """Forward passes of each row: its views that have a target."""
        return (self.weight_KBL != 0).any(2).sum(0)

    def __getitem__(self, rows: slice | Tensor) -> MaskPlan:
        """The plan of some rows."""
        return MaskPlan(
            self.hidden_KBL[:, rows], self.weight_KBL[:, rows], self.denom_B[rows], self.reading
        )

    def view(self, views: slice) -> MaskPlan:
        """The same rows under some of the views."""
        return MaskPlan(self.hidden_KBL[views], self.weight_KBL[views], self.denom_B, self.reading)


class Cover(NamedTuple):
    """Views of the scored positions alone, numbered from 0 in each row: ``[K, B, n]``."""

    hidden_KBn: Tensor
    weight_KBn: Tensor


class Chance(Protocol):
    """The random numbers of a plan, and the sizes of its rows."""

    @property
    def size_B(self) -> Tensor:
        """Scored positions of each row, int64, at least 1."""

    @property
    def inside_Bn(self) -> Tensor:
        """Which of the n columns exist in a row."""

    def level(self, draw: int) -> Tensor:
        """A uniform in (0, 1) a row, ``[B]`` float64."""

    def shared_level(self, draw: int) -> Tensor:
        """The same uniform for all rows, ``[B]``."""

    def noise(self, draw: int) -> Tensor:
        """A uniform a position, ``[B, n]``."""


def ranks(chance: Chance, draw: int, among_Bn: Tensor | None = None) -> Tensor:
    """The place of each position (of those ``among``) in a random order of its row, ``[B, n]``; n where
    there is none."""
    among_Bn = chance.inside_Bn if among_Bn is None else among_Bn
    noise_Bn = torch.where(among_Bn, chance.noise(draw), math.inf)
    rank_Bn = noise_Bn.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return torch.where(among_Bn, rank_Bn, rank_Bn.shape[1])


@dataclass(frozen=True)
class Keyed:
    """Chances from the rows' noise keys; see ``sampling.noise``."""

    size_B: Tensor
    key_B2: Tensor
    seed: int
    iteration: int

    @cached_property
    def inside_Bn(self) -> Tensor:
        return self._place_Bn < self.size_B[:, None]

    @cached_property
    def _place_Bn(self) -> Tensor:
        longest = int(self.size_B.max()) if len(self.size_B) else 0
        return torch.arange(longest, device=self.size_B.device).expand(len(self.size_B), -1)

    def level(self, draw: int) -> Tensor:
        return self._level(self.key_B2, draw)

    def shared_level(self, draw: int) -> Tensor:
        words = torch.tensor([key(self.seed, "all rows")], device=self.key_B2.device)
        return self._level(words.expand_as(self.key_B2), draw)

    def noise(self, draw: int) -> Tensor:
        shape = self._place_Bn.shape
        flat_N2 = self.key_B2.repeat_interleave(shape[1], 0)
        step_N = torch.full((len(flat_N2),), self.iteration, device=flat_N2.device)
        token_N1 = torch.full((len(flat_N2), 1), draw, device=flat_N2.device)
        place_N = self._place_Bn.reshape(-1)
        return uniform(flat_N2, place_N, step_N, Purpose.MASK, token_N1).view(shape)

    def _level(self, key_B2: Tensor, draw: int) -> Tensor:
        draw_B = torch.full_like(self.size_B, draw)
        return uniform(key_B2, draw_B, torch.full_like(draw_B, self.iteration), Purpose.LEVEL, None)


# --- estimators --------------------------------------------------------------------------------
#
# The docstring of each says: forward passes a row; what its expectation equals; where it is from.


@dataclass(frozen=True)
class Full:
    """Everything hidden at once; with ``prompt_noise`` each token of the prompt with that probability too.

    1 pass. Expectation: the sum of l_i(all), which is no bound on the log-likelihood: it is that of
    the model's independent guesses. Source: d1's diffu-GRPO (``prompt_noise`` 0.15).
    """

    prompt_noise: float = 0.0
    kind: Literal["full"] = "full"

    def __post_init__(self) -> None:
        _below_one(self.prompt_noise)

    def cover(self, chance: Chance) -> Cover:
        hidden_1Bn = chance.inside_Bn[None]
        return Cover(hidden_1Bn, hidden_1Bn.double())


@dataclass(frozen=True)
class Bernoulli:
    """Each position hidden with probability t, t uniform over (``eps``, 1); weight 1/t.

    ``samples`` passes. Expectation: ELBO, but for times below ``eps`` (it falls short of it by that share
    of the integral over t). Source: LLaDA (Nie et al. 2025), the training objective's form.
    """

    samples: int = 1
    eps: float = 1e-3
    kind: Literal["bernoulli"] = "bernoulli"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "samples")
        if not 0 < self.eps < 1:
            raise PlanError(f"eps {self.eps}: expected a time in (0, 1)")

    def cover(self, chance: Chance) -> Cover:
        views = []
        for j in range(self.samples):
            t_B1 = (self.eps + (1 - self.eps) * chance.level(j))[:, None]
            hidden_Bn = (chance.noise(j) < t_B1) & chance.inside_Bn
            views.append((hidden_Bn, hidden_Bn * ((1 - self.eps) / (self.samples * t_B1))))
        return _stacked(views)


@dataclass(frozen=True)
class Count:
    """k of the n positions hidden, k uniform over 1..n; weight n/k.

    ``samples`` passes. Expectation: ELBO. Source: LLaDA's likelihood evaluation; VRPO and BGPO.
    """

    samples: int = 1
    kind: Literal["count"] = "count"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "samples")

    def cover(self, chance: Chance) -> Cover:
        return _stacked(
            _counted(chance, j, chance.level(j), self.samples) for j in range(self.samples)
        )


@dataclass(frozen=True)
class Stratified:
    """As ``count``, the level of the j-th view from the j-th of ``strata`` equal parts of 1..n.

    ``strata`` passes. Expectation: ELBO; never a larger variance than as many views of ``count``.
    Source: LLaDA's likelihood evaluation, which stratifies over a batch; here it is within a row, so that
    no row depends on its neighbours.
    """

    strata: int = 4
    kind: Literal["stratified"] = "stratified"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "strata")

    def cover(self, chance: Chance) -> Cover:
        return _stacked(
            _counted(chance, j, (j + chance.level(j)) / self.strata, self.strata)
            for j in range(self.strata)
        )


Weighting = Literal["paper", "normalised", "unbiased"]


@dataclass(frozen=True)
class Coupled:
    """Pairs of complementary views, and the full mask: every token is scored in every pair, and once more.

    2 ``pairs`` + 1 passes. With l_i(S) from whichever of a pair hides i, and lambda pairs:

    ``paper``       1/(lambda+1) (sum over pairs of w l_i + l_i(all)), w = 1/t where S hides i, 1/(1-t) where
                    its complement does, each position in S with probability t, t uniform over ``times``,
                    drawn for each row, or once for all (``shared_time``, as published). Expectation on a
                    model that ignores context: 1.5 times its log-likelihood at lambda = 1, (2 lambda + 1) /
                    (lambda + 1) times in general. Not an ELBO. Source: DiffuCoder (Gong et al. 2025, eq. 4),
                    whose released code the weights are from.
    ``normalised``  the same with w = 1: exactly the log-likelihood of a model that ignores context; else
                    between ``full`` and what more context gives.
    ``unbiased``    l_i(all) / n + (n-1)/2 (mean over S + mean over its complement), |S| uniform over 1..n-1,
                    the mean over pairs; l_1(all) alone where n = 1. Expectation: ELBO.

    ``complementary`` False is the control for what coupling buys: the second view of a pair is the complement
    of a draw of its own. Either view keeps its law and its weights, so that passes and expectation are the
    same and only the dependence of the two is gone: a token is scored in a pair not once but 0 to 2 times.
    """

    weighting: Weighting = "paper"
    pairs: int = 1
    times: tuple[float, float] = (0.2, 0.8)
    shared_time: bool = False
    complementary: bool = True
    kind: Literal["coupled"] = "coupled"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "pairs")
        low, high = self.times
        if not 0 < low <= high < 1:
            raise PlanError(f"times {self.times}: expected 0 < first <= second < 1")
        if self.weighting == "unbiased" and self.shared_time:
            raise PlanError("shared_time: the unbiased weighting draws a count, not a time")

    def cover(self, chance: Chance) -> Cover:
        pair = self._counted_pair if self.weighting == "unbiased" else self._timed_pair
        inside_Bn = chance.inside_Bn
        share_B = torch.full_like(chance.size_B, 1 / (self.pairs + 1), dtype=torch.float64)
        if self.weighting == "unbiased":
            share_B = 1 / chance.size_B.double()
        views = [(inside_Bn, inside_Bn * share_B[:, None])]
        for j in range(self.pairs):
            one_Bn, weight_Bn, other_weight_Bn = pair(chance, j)
            other_Bn = inside_Bn & ~one_Bn
            if not self.complementary:
                partner_Bn, _, other_weight_Bn = pair(chance, self.pairs + j)
                other_Bn = inside_Bn & ~partner_Bn
            views += [(one_Bn, one_Bn * weight_Bn), (other_Bn, other_Bn * other_weight_Bn)]
        return _stacked(views)

    def _timed_pair(self, chance: Chance, draw: int) -> tuple[Tensor, Tensor, Tensor]:
        low, high = self.times
        level_B = chance.shared_level(draw) if self.shared_time else chance.level(draw)
        t_B1 = (low + (high - low) * level_B)[:, None]
        one_Bn = (chance.noise(draw) < t_B1) & chance.inside_Bn
        if self.weighting == "normalised":
            weight_B1 = other_B1 = torch.ones_like(t_B1)
        else:
            weight_B1, other_B1 = 1 / t_B1, 1 / (1 - t_B1)
        return one_Bn, weight_B1 / (self.pairs + 1), other_B1 / (self.pairs + 1)

    def _counted_pair(self, chance: Chance, draw: int) -> tuple[Tensor, Tensor, Tensor]:
        n_B = chance.size_B
        k_B = 1 + _floor(chance.level(draw), n_B - 1)
        # n = 1 has no pair: nothing is hidden, and both weights are of an empty set
        one_Bn = (ranks(chance, draw) < k_B[:, None]) & (n_B > 1)[:, None]
        half_B = (n_B - 1).double() / (2 * self.pairs)
        one_B, other_B = half_B / k_B, half_B / (n_B - k_B).clamp(min=1)
        return one_Bn, one_B[:, None], other_B[:, None]


@dataclass(frozen=True)
class Espo:
    """A pair of complementary views, |S| = k uniform over 0..n: half of (n+1)/k times the sum over S and
    (n+1)/(n-k) times that over its complement, an empty set counting nothing.

    2 ``pairs`` passes. Expectation: ELBO. Source: ESPO (2025), whose k is stratified over a batch.
    """

    pairs: int = 1
    kind: Literal["espo"] = "espo"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "pairs")

    def cover(self, chance: Chance) -> Cover:
        n_B, views = chance.size_B, []
        for j in range(self.pairs):
            k_B = _floor(chance.level(j), n_B + 1)
            one_Bn = ranks(chance, j) < k_B[:, None]
            half_B = (n_B + 1).double() / (2 * self.pairs)
            for hidden_Bn, size_B in (
                (one_Bn, k_B),
                (chance.inside_Bn & ~one_Bn, n_B - k_B),
            ):
                views.append((hidden_Bn, hidden_Bn * (half_B / size_B.clamp(min=1))[:, None]))
        return _stacked(views)


@dataclass(frozen=True)
class Quad:
    """Fixed levels: the nodes t of a Gauss-Legendre rule, round(t n) positions hidden, weight a n/k.

    ``nodes`` passes. Expectation: the rule's value of the integral over t, so ELBO up to its error (and that
    of rounding t n); only which positions are hidden is random. Source: GDPO (2025).
    """

    nodes: int = 3
    kind: Literal["quad"] = "quad"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "nodes")

    def cover(self, chance: Chance) -> Cover:
        at, share = np.polynomial.legendre.leggauss(self.nodes)
        views = []
        for j, (t, a) in enumerate(zip((at + 1) / 2, share / 2, strict=True)):
            n_B = chance.size_B.double()
            k_B = (t * n_B).round().clamp(min=1)
            hidden_Bn = ranks(chance, j) < k_B[:, None]
            views.append((hidden_Bn, hidden_Bn * (a * n_B / k_B)[:, None]))
        return _stacked(views)


@dataclass(frozen=True)
class Sandwich:
    """A lower bound for completions to be pushed up, mixed with an upper one for those to be pushed down.

    With a_ij the weight of position i in view j, those of ``stratified``, A_i their sum over the views and
    l_ij = l_i(S_j), a completion of advantage A >= 0 is worth *lower*, and one of A < 0 ``mix`` times
    *upper* + (1 - ``mix``) times *lower*; ``likelihood.sandwiched`` computes them::

        lower                  sum over i, j of a_ij l_ij
        upper  ``normalised``  sum over i of (A_i / beta) ln(sum over j of a_ij exp(beta l_ij) / A_i)
               ``paper``       the same with A_i = 1, times n over the number of positions hidden in any view

    ``samples`` passes. Expectation of lower: ELBO. Of ``normalised`` upper: between ELBO and EUBO, which it
    reaches with many samples; never below lower in any draw. EUBO is the sum over i of (1/beta) ln E
    exp(beta l_i(S)), S being what a random order of the positions hides when it comes to i. It is at least
    ln p, the log-likelihood of decoding one position a step in random order, if beta >= n (Hoelder), or if
    all orders agree; for a smaller beta, the published ones too, only up to a constant. ``paper`` also holds
    constants, of the weights' logarithms, and weighs all positions that are hidden alike: for training, not
    for reading its value.

    ``block``: the answer is cut into blocks of so many positions. The j-th view shows those before a random
    one (of the j-th of ``samples`` equal parts), hides k positions of that one, k uniform, and all after it;
    a_ij is n over the positions hidden, over ``samples``. Expectation of lower: n times the mean over blocks,
    k and sets S of the mean of l_i(S) over S, in which late positions weigh more: a bound of one block only.

    Source: SPG (arXiv 2510.09541), whose code draws the k of its views independently and blocks without
    replacement. Its scripts have 2 samples, blocks, prompt_noise 0.15, mix 0.5 and beta 1 to 2 by task. How
    long its blocks are, and what its theorem says of the constant, was not verified.
    """

    weighting: Literal["paper", "normalised"] = "paper"
    samples: int = 2
    beta: float = 1.5
    mix: float = 0.5
    block: int | None = None
    prompt_noise: float = 0.0
    kind: Literal["sandwich"] = "sandwich"

    def __post_init__(self) -> None:
        _below_one(self.prompt_noise)
        if self.samples < 2:
            raise PlanError(
                f"samples {self.samples}: expected at least 2; with one view the bounds have one gradient "
                "(count is this estimator then)"
            )
        if not 0 < self.beta < math.inf:
            raise PlanError(f"beta {self.beta}: expected a positive number, SPG's are 1 to 2")
        if not 0 < self.mix <= 1:
            raise PlanError(f"mix {self.mix}: expected a share of the upper bound in (0, 1]")
        if self.block is not None:
            _at_least_one(self, "block")

    def cover(self, chance: Chance) -> Cover:
        if self.block is None:
            return Stratified(self.samples).cover(chance)
        return _stacked(self._within_a_block(chance, j, self.block) for j in range(self.samples))

    def _within_a_block(self, chance: Chance, draw: int, block: int) -> tuple[Tensor, Tensor]:
        n_B = chance.size_B
        part_B = (draw + chance.level(draw)) / self.samples
        start_B = block * _floor(part_B, (n_B + block - 1) // block)
        size_B = (n_B - start_B).clamp(max=block)
        k_B = 1 + _floor(chance.level(self.samples + draw), size_B)
        place_Bn = torch.arange(chance.inside_Bn.shape[1], device=n_B.device) - start_B[:, None]
        within_Bn = (place_Bn >= 0) & (place_Bn < size_B[:, None])
        after_Bn = (place_Bn >= size_B[:, None]) & chance.inside_Bn
        hidden_Bn = (ranks(chance, draw, within_Bn) < k_B[:, None]) | after_Bn
        weight_B = n_B.double() / (self.samples * hidden_Bn.sum(1))
        return hidden_Bn, hidden_Bn * weight_B[:, None]


@dataclass(frozen=True)
class LeftToRight:
    """The chain rule from left to right: the i-th view hides i and all after it, and scores i alone.

    n passes. Exact: the log-likelihood of decoding one position a step from left to right, which is not
    ELBO (the mean over all orders). Source: JustGRPO (2026).
    """

    kind: Literal["left_to_right"] = "left_to_right"
    prompt_noise: ClassVar[float] = 0.0

    def cover(self, chance: Chance) -> Cover:
        n = chance.inside_Bn.shape[1]
        column_n = torch.arange(n, device=chance.inside_Bn.device)
        hidden_nn = column_n[None] >= column_n[:, None]
        hidden_KBn = hidden_nn[:, None] & chance.inside_Bn
        return Cover(hidden_KBn, (hidden_KBn & torch.eye(n, dtype=torch.bool)[:, None]).double())


@dataclass(frozen=True)
class Autoregressive:
    """The log-likelihood of a causal model, exactly: one pass that hides nothing."""

    kind: Literal["autoregressive"] = "autoregressive"
    prompt_noise: ClassVar[float] = 0.0

    def cover(self, chance: Chance) -> Cover:
        inside_1Bn = chance.inside_Bn[None]
        return Cover(torch.zeros_like(inside_1Bn), inside_1Bn.double())


@dataclass(frozen=True)
class Traced:
    """Along the recorded steps of a decoder: a view hides what its step found open, and scores what it wrote.

    ``merge`` steps share a view, which scores all that they wrote from before the first of them; with
    ``samples`` only so many of a row's G views are scored, weighing one over the chance that they are: with
    ``draw`` ``evenly`` that is samples/G for all, with ``doubt`` it grows with the improbability of what the
    step wrote, as a token of probability 1 has no gradient. At most the row's steps over ``merge`` passes, or
    ``samples``. Expectation: at ``merge`` 1 the log-probability of the tokens given the order in
    which they were written, exactly; the probability of the order itself is not in it
    (``Trace.order_logprob`` is). Merging leaves out what the merged steps told each other. Source: TraceRL
    (shrink), d2 (StepMerge), AGRPO (sampled steps); ``doubt`` is ours, systematic sampling with unequal
    probabilities (Madow 1949).
    """

    merge: int = 1
    samples: int | None = None
    draw: Literal["evenly", "doubt"] = "evenly"
    kind: Literal["trace"] = "trace"
    prompt_noise: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "merge")
        if self.samples is not None:
            _at_least_one(self, "samples")

    def views(
        self, step_BL: Tensor, scored_BL: Tensor, chance: Chance, logprob_BL: Tensor | None = None
    ) -> Cover:
        """Views over the columns of the canvas, ``[K, B, L]``.

        ``step_BL`` is the trace's (-1: given), ``logprob_BL`` what tokens were drawn with, for ``doubt``.
        """
        group_BL = torch.where(step_BL < 0, -1, step_BL // self.merge)
        never_BL = scored_BL & (step_BL < 0)
        if bool(never_BL.any()):
            row, col = never_BL.nonzero()[0].tolist()
            raise PlanError(
                f"row {row}, column {col} is scored, but its trace says that no step wrote it"
            )
        doubt_BL = torch.ones_like(step_BL, dtype=torch.float64)
        if logprob_BL is not None:
            doubt_BL = 1 - logprob_BL.double().exp()
        chosen_B = []
        for b in range(len(group_BL)):
            group_n, doubt_n = (x[b][scored_BL[b]].cpu().numpy() for x in (group_BL, doubt_BL))
            groups, index_n = np.unique(group_n, return_inverse=True)
            doubt_G = np.zeros(len(groups))
            np.add.at(doubt_G, index_n, doubt_n)
            chosen_B.append(self._chosen(groups.tolist(), doubt_G, float(chance.level(0)[b])))
        shape = (max(map(len, chosen_B), default=0), *step_BL.shape)
        hidden_KBL = torch.zeros(shape, dtype=torch.bool, device=step_BL.device)
        weight_KBL = torch.zeros(shape, dtype=torch.float64, device=step_BL.device)
        for b, chosen in enumerate(chosen_B):
            for k, (group, weight) in enumerate(chosen):
                hidden_KBL[k, b] = group_BL[b] >= group
                weight_KBL[k, b] = (scored_BL[b] & (group_BL[b] == group)).double() * weight
        return Cover(hidden_KBL, weight_KBL)

    def _chosen(
        self, groups: list[int], doubt_G: NDArray[np.float64], level: float
    ) -> list[tuple[int, float]]:
        """Which groups are scored, with their weights."""
        many = len(groups)
        if self.samples is None or self.samples >= many:
            return [(group, 1.0) for group in groups]
        if self.draw == "evenly":
            at = ((np.arange(self.samples) + level) * many / self.samples).astype(int)
            return [(groups[i], many / self.samples) for i in at]
        chance_G = chances(doubt_G + SURE, self.samples)
        at = np.searchsorted(chance_G.cumsum()[:-1], np.arange(self.samples) + level, "right")
        return [(groups[i], 1 / chance_G[i]) for i in at]


SURE = 0.02
"""The doubt that a step has beyond its own, so that each can be drawn: none weighs more than that allows."""


def chances(size_G: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Chances that are proportional to positive sizes, at most 1, and sum to ``samples`` (at most G)."""
    chance_G, free_G = np.ones(len(size_G)), np.ones(len(size_G), dtype=bool)
    while True:
        left = samples - (~free_G).sum()
        chance_G[free_G] = left * size_G[free_G] / size_G[free_G].sum()
        over_G = chance_G > 1
        if not over_G.any():
            return chance_G
        chance_G[over_G] = 1.0
        free_G &= ~over_G


Estimator = (
    Full
    | Bernoulli
    | Count
    | Stratified
    | Coupled
    | Espo
    | Quad
    | Sandwich
    | LeftToRight
    | Autoregressive
    | Traced
)


def plan(
    estimator: Estimator,
    canvas: Canvas,
    scored_BL: Tensor,
    *,
    iteration: int,
    seed: int = 0,
    traces: tuple[Trace, ...] | None = None,
) -> MaskPlan:
    """The views of complete rows (nothing open): a pure function of their keys, ``seed`` and ``iteration``.

    ``scored_BL`` marks the positions of the answer that count; everything else is seen (hide what is not
    to be seen from ``canvas.real_BL``). ``seed`` matters where rows share a draw. Raises PlanError for
    a row in which nothing is scored, and for the trace estimator without the traces of all rows.
    """
    size_B = scored_BL.sum(1)
    if bool((size_B == 0).any()):
        raise PlanError(f"row {int((size_B == 0).nonzero()[0])}: no position of it is scored")
    chance = Keyed(size_B, canvas.key_B2, seed, iteration)
    if isinstance(estimator, Traced):
        step_BL = _recorded(traces, "step", scored_BL)
        logprob_BL = None
        if estimator.draw == "doubt":
            logprob_BL = _recorded(traces, "behaviour_logprob", scored_BL)
        return MaskPlan(*estimator.views(step_BL, scored_BL, chance, logprob_BL), size_B)
    hidden_KBn, weight_KBn = estimator.cover(chance)
    place_BL = (scored_BL.cumsum(1) - 1).clamp(min=0).expand(len(hidden_KBn), -1, -1)
    hidden_KBL = hidden_KBn.gather(2, place_BL) & scored_BL
    weight_KBL = torch.where(scored_BL, weight_KBn.gather(2, place_BL), 0.0)
    if estimator.prompt_noise:
        hidden_KBL = hidden_KBL | _noisy_prompt(
            canvas, scored_BL, estimator.prompt_noise, iteration
        )
    reading: Reading = "left" if isinstance(estimator, Autoregressive) else "hidden"
    return MaskPlan(hidden_KBL, weight_KBL, size_B, reading)


def _recorded(traces: tuple[Trace, ...] | None, name: str, scored_BL: Tensor) -> Tensor:
    """A column of the traces, ``[B, L]``; -1 behind their ends."""
    if traces is None or len(traces) != len(scored_BL):
        found = "no traces" if traces is None else f"{len(traces)} traces"
        raise PlanError(f"the trace estimator got {found} for {len(scored_BL)} rows")
    columns = [torch.from_numpy(getattr(trace, name)) for trace in traces]
    column_BL = torch.full(scored_BL.shape, -1, dtype=columns[0].dtype)
    for b, column in enumerate(columns):
        column_BL[b, : len(column)] = column
    return column_BL.to(scored_BL.device)


def _noisy_prompt(canvas: Canvas, scored_BL: Tensor, share: float, iteration: int) -> Tensor:
    """Which columns before the answer are hidden, each with probability ``share``."""
    rows, length = canvas.shape
    row_N = torch.arange(rows, device=canvas.device).repeat_interleave(length)
    step_N = torch.full_like(row_N, iteration)
    place_N = canvas.position_BL.reshape(-1)
    u_BL = uniform(canvas.key_B2[row_N], place_N, step_N, Purpose.PROMPT, None).view(rows, length)
    first_B1 = scored_BL.int().argmax(1, keepdim=True)
    before_BL = torch.arange(length, device=canvas.device) < first_B1
    return (u_BL < share) & before_BL & canvas.real_BL


def _counted(chance: Chance, draw: int, level_B: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """A view that hides 1 + floor(level n) positions, weight n / k / samples."""
    n_B = chance.size_B
    k_B = 1 + _floor(level_B, n_B)
    hidden_Bn = ranks(chance, draw) < k_B[:, None]
    return hidden_Bn, hidden_Bn * (n_B.double() / (k_B * samples))[:, None]


def _floor(level_B: Tensor, many_B: Tensor) -> Tensor:
    """An integer of 0..many-1, uniform where the level is; 0 where there is none."""
    return (level_B * many_B).long().minimum(many_B - 1).clamp(min=0)


def _stacked(views: Iterator[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]) -> Cover:
    hidden, weight = zip(*views, strict=True)
    return Cover(torch.stack(hidden), torch.stack([w.double() for w in weight]))


def _below_one(prompt_noise: float) -> None:
    if not 0 <= prompt_noise < 1:
        raise PlanError(f"prompt_noise {prompt_noise}: expected a probability below 1")


def _at_least_one(estimator: object, name: str) -> None:
    if (value := getattr(estimator, name)) < 1:
        raise PlanError(f"{name} {value}: expected at least 1")
