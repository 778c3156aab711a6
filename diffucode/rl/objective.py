"""What an update maximises: ratios of a new to an old policy, times advantages, minus a divergence.

An estimate of a completion is a weighted sum over targets, sum_n w_n l_n (see ``rl/masking.py``). An
objective chooses what one ratio is taken of (its *unit*), how it is bounded, and what is averaged::

    kind      a ratio for each         bounded by                   mean over
    grpo      target                   clip                         a completion's tokens, completions
    bnpo      target                   clip                         all tokens
    dr_grpo   target                   clip                         a constant length, completions
    dapo      target                   clip, higher above           all tokens
    cispo     target                   a cap without gradient       all tokens
    gspo      completion               clip                         completions
    bgpo      (completion, view)       nothing; linear in views     completions

The weights stay outside the exponential: the loss is -sum_n w_n min(r_n A, clip(r_n) A) with r_n =
exp(l_n,new - l_n,old), so a clip range means what it says whatever the weights are. ``weight_in_ratio``
is the published DiffuCoder form instead, one ratio for each token, exp(estimate_new - estimate_old),
whose exponent its weights amplify up to three times.

What is averaged over is counted over the *whole* update (``Totals``): losses of micro-batches and
ranks then *add up* to the loss of the whole, and so do their gradients. Divide by nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.rl.advantage import redistribute
from diffucode.sampling.temperature.rows import check_choice, check_number

KlEstimator = Literal["k1", "k2", "k3"]
Level = Literal["token", "sequence", "geometric"]

EXPONENT_LIMIT = 50.0
"""Exponents are held here, without gradient: a change of e^50 is a broken sample, and infinity
would turn the gradients of all the others into NaN."""


@dataclass(frozen=True)
class Scored:
    """B completions under three policies and one mask plan, as N targets.

    Any subset of an update's rows will do; of a row, everything that a unit of the objective spans
    must be here (a target; for ``weight_in_ratio`` all targets of a token; for bgpo all of a view; for
    gspo all of the completion). Optional columns are ``[N]`` and without gradient.
    """

    row_N: Tensor
    """Int64, the completion: an index into ``length_B``."""
    col_N: Tensor
    """Int64, the position."""
    view_N: Tensor
    """Int64, the mask view, below ``views``."""
    weight_N: Tensor
    """The coefficient in the estimate, at least 0."""
    new_N: Tensor
    """Log-probabilities (nats) under the policy that is trained; carries the graph."""
    old_N: Tensor
    """The same before the update; in a first pass ``new_N.detach()``."""
    length_B: Tensor
    """Scored tokens of each completion."""
    views: int
    """Views of the whole plan, also where only some of them are here."""
    ref_N: Tensor | None = None
    """Under the reference policy."""
    entropy_N: Tensor | None = None
    """Nats; for the metrics only."""
    signal_N: Tensor | None = None
    """HAPO's (``advantage.entropy_signal``)."""
    correction_N: Tensor | None = None
    """Importance weights of the tokens (``truncated_weights``), multiplied into the policy term."""

    def __post_init__(self) -> None:
        # Shapes that broadcast are the published defect: [B, 1, L] * [B, L] made a "mean" of B^2 L.
        for field in fields(self):
            value = getattr(self, field.name)
            want = self.length_B.shape[:1] if field.name == "length_B" else self.new_N.shape
            if isinstance(value, Tensor) and (value.ndim != 1 or value.shape != want):
                raise PlanError(
                    f"Scored.{field.name} has shape {tuple(value.shape)}; expected one dimension, "
                    f"as long as {'the batch' if field.name == 'length_B' else 'new_N'}"
                )


@dataclass(frozen=True)
class Totals:
    """What an update averages over. Add those of all micro-batches and ranks, then hand on the sum."""

    completions: int
    tokens: int

    @classmethod
    def of(cls, length_B: Tensor) -> Totals:
        """The share of these completions: once each, however many views or passes score them."""
        return cls(len(length_B), int(length_B.sum()))

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.completions + other.completions, self.tokens + other.tokens)


@dataclass(frozen=True)
class Metrics:
    """Sums and counts, float64 scalars: add those of micro-batches and ranks, then take the means."""

    units: Tensor
    """Ratios that were taken."""
    ratio: Tensor
    """Their sum."""
    ratio_gap: Tensor
    """The largest |ratio - 1|: a maximum, not a sum."""
    clipped_low: Tensor
    """Ratios below the clip range that would have fallen further (A < 0): without gradient."""
    clipped_high: Tensor
    """Ratios whose upper bound held."""
    weight: Tensor
    """The sum of the weights."""
    kl: Tensor
    """The weighted sum of the estimates of KL(new || reference), nats; NaN without a reference."""
    targets: Tensor
    entropy: Tensor
    """Summed over targets, nats; NaN where it was not given."""

    def __add__(self, other: Metrics) -> Metrics:
        names = [field.name for field in fields(self)]
        both = {name: (getattr(self, name), getattr(other, name)) for name in names}
        gap = torch.maximum(*both.pop("ratio_gap"))
        return Metrics(ratio_gap=gap, **{name: mine + its for name, (mine, its) in both.items()})

    def none(self) -> Metrics:
        """The same of no completions: nothing in a sum; what was not given stays NaN."""
        return Metrics(*(0 * getattr(self, field.name) for field in fields(self)))

    def means(self) -> dict[str, float]:
        """Mean ratio, largest gap, shares clipped, mean KL of a token, mean entropy; NaN of nothing."""
        return {
            "ratio": float(self.ratio / self.units),
            "ratio_gap": float(self.ratio_gap),
            "clipped_low": float(self.clipped_low / self.units),
            "clipped_high": float(self.clipped_high / self.units),
            "kl": float(self.kl / self.weight),
            "entropy": float(self.entropy / self.targets),
        }


class Loss(NamedTuple):
    """A share of an update."""

    loss: Tensor
    """A scalar to minimise, in the dtype that weights and log-probabilities promote to."""
    metrics: Metrics


class Units(NamedTuple):
    """U things that have one ratio each: exp(change / span)."""

    row_U: Tensor
    weight_U: Tensor
    """The coefficient in the estimate; 0: nothing there."""
    change_U: Tensor
    """Log-probability or estimate, new minus old."""
    gap_U: Tensor | None
    """Reference minus new."""
    span_U: Tensor
    """Tokens that both are spread over; 1 for a target or token."""
    correction_U: Tensor | None
    signal_U: Tensor | None

    def of_row(self, value_B: Tensor) -> Tensor:
        """A completion's value for each of its units."""
        return value_B[self.row_U]


class Gain(NamedTuple):
    """The policy term of each unit, to maximise, and whether a bound took its gradient."""

    value_U: Tensor
    low_U: Tensor
    high_U: Tensor


@dataclass(frozen=True, kw_only=True)
class _Objective(ABC):
    """Fields and behaviour that all have.

    ``beta`` weighs the divergence from the reference, unit by unit, inside the same weights and means as
    the policy term; with 0 it is still measured where a reference is given. ``kl`` estimates it.
    """

    beta: float = 0.0
    kl: KlEstimator = "k3"

    def __post_init__(self) -> None:
        check_number(f"{type(self).__name__}.beta", self.beta, low=0)
        check_choice(f"{type(self).__name__}.kl", self.kl, get_args(KlEstimator))

    @abstractmethod
    def units(self, scored: Scored) -> Units:
        """What has a ratio."""

    @abstractmethod
    def gain(self, units: Units, scored: Scored, advantage_U: Tensor) -> Gain:
        """The bounded policy term of each unit."""

    @abstractmethod
    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        """What a weight of 1 of each completion counts in the loss, ``[B]``."""


@dataclass(frozen=True, kw_only=True)
class _Clipped(_Objective):
    """PPO's clip on the ratio of a target or token: min(r A, clip(r, 1 - eps_low, 1 + eps_high) A).

    ``delta`` also caps the ratio where A < 0, which the clip leaves open above (TRL's two-sided clip; the
    c of dual-clip PPO). ``adapt`` is the alpha of HAPO's asymmetric adaptive clipping, ``redistribute``
    the beta of its differential advantage redistribution, both at most 1 and off at 0; they need
    ``Scored.signal_N``. ``weight_in_ratio`` takes one ratio for each token, weights inside.
    """

    eps_low: float = 0.2
    eps_high: float = 0.2
    delta: float | None = None
    adapt: float = 0.0
    redistribute: float = 0.0
    weight_in_ratio: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        check_number(f"{name}.eps_low", self.eps_low, low=0)
        check_number(f"{name}.eps_high", self.eps_high, low=0)
        if self.delta is not None:
            check_number(f"{name}.delta", self.delta, low=1 + self.eps_high, exclusive=True)
        for field, value in (("adapt", self.adapt), ("redistribute", self.redistribute)):
            if not 0 <= value <= 1:
                raise PlanError(f"{name}.{field} is {value}; expected a number in [0, 1]")
        if self.weight_in_ratio and self.needs_signal:
            raise PlanError(
                f"{name}: adapt and redistribute go by the entropy of a target, and weight_in_ratio "
                "takes one ratio over all targets of a token; choose either"
            )

    @property
    def needs_signal(self) -> bool:
        return self.adapt > 0 or self.redistribute > 0

    def units(self, scored: Scored) -> Units:
        return _tokens(scored) if self.weight_in_ratio else _targets(scored)

    def gain(self, units: Units, scored: Scored, advantage_U: Tensor) -> Gain:
        ratio_U = _exp(units.change_U)
        low_U, high_U = torch.full_like(ratio_U, self.eps_low), ratio_U.new_tensor(self.eps_high)
        if self.needs_signal:
            if units.signal_U is None:
                raise PlanError(
                    f"{type(self).__name__}: adapt and redistribute need Scored.signal_N; make it with "
                    "advantage.entropy_signal from recorded entropies and the last batch's HapoStats"
                )
            low_U, high_U = adaptive_clip(units.signal_U, self.eps_low, self.eps_high, self.adapt)
            advantage_U = redistribute(
                advantage_U, units.signal_U, ratio_U, self.eps_low, self.eps_high, self.redistribute
            )
        return _clip(ratio_U, advantage_U, low_U, high_U.expand_as(ratio_U), self.delta)


@dataclass(frozen=True, kw_only=True)
class Grpo(_Clipped):
    """GRPO: the mean over each completion's tokens, then over completions (Shao et al. 2024)."""

    kind: Literal["grpo"] = "grpo"

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return 1 / (length_B.double() * totals.completions)  # 1 / 0 is no target's


@dataclass(frozen=True, kw_only=True)
class Bnpo(_Clipped):
    """The mean over all tokens of the update. With ``weight_in_ratio`` and 0.5 either side: DiffuCoder."""

    kind: Literal["bnpo"] = "bnpo"

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_token(length_B, totals)


@dataclass(frozen=True, kw_only=True)
class DrGrpo(_Clipped):
    """Dr. GRPO: the sum over tokens by a constant, then the mean over completions (Liu et al. 2025)."""

    length: int
    """Tokens; usually the longest completion that is allowed."""
    kind: Literal["dr_grpo"] = "dr_grpo"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("DrGrpo.length", self.length, low=1)

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_completion(length_B, totals) / self.length


@dataclass(frozen=True, kw_only=True)
class Dapo(_Clipped):
    """DAPO: the token mean with more room above (Yu et al. 2025).

    bnpo's other half, the mean of one micro-batch, is what exact totals do away with: only the clip range
    tells the two apart here. Dynamic sampling is the trainer's (``advantage.zero_variance``).
    """

    eps_high: float = 0.28
    kind: Literal["dapo"] = "dapo"

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_token(length_B, totals)


@dataclass(frozen=True, kw_only=True)
class Cispo(_Objective):
    """CISPO: a capped ratio, without gradient, weighs A ln p; no token loses its gradient.

    ``cap`` bounds the ratio itself, MiniMax's 1 + eps_high and TRL's ``epsilon_high``; there is no lower
    bound. Token mean.
    """

    cap: float = 5.0
    kind: Literal["cispo"] = "cispo"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("Cispo.cap", self.cap, low=1)

    def units(self, scored: Scored) -> Units:
        return _targets(scored)

    def gain(self, units: Units, scored: Scored, advantage_U: Tensor) -> Gain:
        ratio_U = _exp(units.change_U).detach()
        weight_U = ratio_U.clamp(max=self.cap)
        never_U = torch.zeros_like(ratio_U, dtype=torch.bool)
        return Gain(weight_U * advantage_U * scored.new_N, never_U, ratio_U > self.cap)

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_token(length_B, totals)


@dataclass(frozen=True, kw_only=True)
class Gspo(_Objective):
    """GSPO: one ratio for each completion, of its estimate by the token (Zheng et al. 2025).

    exp((estimate_new - estimate_old) / length), clipped. ``canvas`` divides by a constant instead of the
    completion's own length: ESPO is ``Gspo(canvas=L, eps_low=0.2, eps_high=0.2, beta=0.01)``. The
    divergence is estimated of whole completions and divided by the same length; k3 of a whole completion
    overflows where k2 does not, hence the default.
    """

    kl: KlEstimator = "k2"
    eps_low: float = 3e-4
    eps_high: float = 4e-4
    canvas: int | None = None
    kind: Literal["gspo"] = "gspo"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("Gspo.eps_low", self.eps_low, low=0)
        check_number("Gspo.eps_high", self.eps_high, low=0)
        if self.canvas is not None:
            check_number("Gspo.canvas", self.canvas, low=1)

    def units(self, scored: Scored) -> Units:
        length_B = scored.length_B.double().clamp(min=1)
        span_B = length_B if self.canvas is None else torch.full_like(length_B, self.canvas)
        every_B = torch.arange(len(length_B), device=length_B.device)
        return _grouped(scored, scored.row_N, every_B, span_B, parts=1)

    def gain(self, units: Units, scored: Scored, advantage_U: Tensor) -> Gain:
        ratio_U = _exp(units.change_U / units.span_U)
        low_U, high_U = (torch.full_like(ratio_U, eps) for eps in (self.eps_low, self.eps_high))
        return _clip(ratio_U, advantage_U, low_U, high_U, None)

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_completion(length_B, totals)


@dataclass(frozen=True, kw_only=True)
class Bgpo(_Objective):
    """BGPO: a bound of the completion's ratio that is linear in mask views (arXiv 2510.11683).

    With D_j = (ELBO_j,new - ELBO_j,old) / length and ELBO_j the estimate of view j alone (K times its
    share of the plan's), A >= 0 gains A (1 + D_j) and A < 0 gains A exp(D_j), averaged over the K views:
    never more than A exp(mean D), equal to it in value and gradient where new = old. So each view can be
    back-propagated alone. No logarithm is taken of 1 + D_j, which may be negative. A view without targets
    of a completion is left out of the value; its term would be the constant A / K.
    """

    kl: KlEstimator = "k2"
    kind: Literal["bgpo"] = "bgpo"

    def units(self, scored: Scored) -> Units:
        rows, views, device = len(scored.length_B), scored.views, scored.row_N.device
        row_U = torch.arange(rows, device=device).repeat_interleave(views)
        span_U = scored.length_B.double().clamp(min=1)[row_U]
        return _grouped(scored, scored.row_N * views + scored.view_N, row_U, span_U, parts=views)

    def gain(self, units: Units, scored: Scored, advantage_U: Tensor) -> Gain:
        change_U = units.change_U / units.span_U
        value_U = advantage_U * torch.where(advantage_U >= 0, 1 + change_U, _exp(change_U))
        never_U = torch.zeros_like(value_U, dtype=torch.bool)
        return Gain(value_U, never_U, never_U)

    def share(self, length_B: Tensor, totals: Totals) -> Tensor:
        return _a_completion(length_B, totals)


Objective = Grpo | Bnpo | DrGrpo | Dapo | Cispo | Gspo | Bgpo


def policy_loss(objective: Objective, scored: Scored, advantage_B: Tensor, totals: Totals) -> Loss:
    """The share of some completions in the loss of an update.

    ``totals`` are those of the whole update. Summed over micro-batches and ranks, losses, gradients and
    metrics are those of all rows at once; averaging data parallelism (DDP) needs them times the ranks.
    Where new = old the gradient is that of -A times the weighted score, averaged as the kind says.

    Raises PlanError for an advantage that is not ``[B]``, totals smaller than this batch, a ``beta``
    without reference, and a correction by token for a ratio of more than a token.
    """
    rows = len(scored.length_B)
    if advantage_B.shape != scored.length_B.shape:
        raise PlanError(
            f"advantage_B has shape {tuple(advantage_B.shape)}; expected [{rows}], one a completion"
        )
    if totals.completions < rows:
        raise PlanError(
            f"totals of {totals.completions} completions for a batch of {rows}; expected those of the "
            "whole update, summed over micro-batches and ranks"
        )
    if objective.beta > 0 and scored.ref_N is None:
        raise PlanError(
            f"beta is {objective.beta} and there is no ref_N; score the reference policy, or set beta 0"
        )
    units = objective.units(scored)
    gain = objective.gain(units, scored, units.of_row(advantage_B.detach()))
    value_U = gain.value_U
    if units.correction_U is not None:
        value_U = value_U * units.correction_U
    kl_U = None
    if units.gap_U is not None:
        kl_U = kl_estimate(units.gap_U, objective.kl) / units.span_U
        if objective.beta > 0:
            value_U = value_U - objective.beta * kl_U
    share_U = units.of_row(objective.share(scored.length_B, totals))
    loss = -(share_U * units.weight_U * value_U).sum()
    return Loss(loss, _metrics(units, gain, kl_U, scored))


def kl_estimate(gap_U: Tensor, estimator: KlEstimator) -> Tensor:
    """KL(new || reference) from log-probabilities of what new drew; ``gap_U`` is reference minus new.

    Schulman's, with what they are as a loss, on average over what new drew: k1 = -gap is unbiased, may be
    negative, and has no gradient: one to read. k2 = gap^2 / 2 is biased and has the gradient of KL(new ||
    reference). k3 = e^gap - gap - 1 is unbiased, never negative and has the gradient of KL(reference ||
    new); its exponent is held at 50.
    """
    match estimator:
        case "k1":
            return -gap_U
        case "k2":
            return gap_U.square() / 2
        case "k3":
            return gap_U.clamp(max=EXPONENT_LIMIT).expm1() - gap_U


def adaptive_clip(
    signal_N: Tensor, eps_low: float, eps_high: float, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """HAPO's asymmetric adaptive clipping: the two eps of each token, by its signal h in [-1, 1].

    Sure tokens (h <= 0) may fall further, eps_low (1 - strength h); uncertain ones may rise further,
    eps_high (1 + strength h). Source: Liu et al., arXiv 2509.16591.
    """
    low_N = eps_low * (1 + strength * (-signal_N).clamp(min=0))
    high_N = eps_high * (1 + strength * signal_N.clamp(min=0))
    return low_N, high_N


class Correction(NamedTuple):
    """Importance weights of tokens that another policy drew than the one that is scored."""

    weight_BL: Tensor
    """0 where nothing is scored."""
    capped_BL: Tensor


def truncated_weights(
    raw_BL: Tensor,
    behaviour_BL: Tensor,
    scored_BL: Tensor,
    level: Level = "token",
    cap: float = 2.0,
) -> Correction:
    """min(p_raw / p_behaviour, cap) from the log-probabilities recorded at commit, without gradient.

    The drawn token came from a tempered and truncated distribution, the ratios of an objective are of the
    model's own. ``level``: of each ``token``; of the ``sequence``, the product over scored tokens; or their
    ``geometric`` mean, the last two the same for all scored tokens of a row. Token weights become
    ``Scored.correction_N`` by ``weight_BL[row_N, col_N]``; one weight a row may as well multiply the
    advantage (``weight_BL.amax(1)``), and for gspo and bgpo must. The cap bounds one side: weights near 0
    pass. Source: EAD, arXiv 2510.05251 (cap 2; the paper's level is the sequence, its code's the token).

    Raises PlanError for shapes that differ, a cap not above 0, and a scored token without record.
    """
    check_choice("truncated_weights: level", level, get_args(Level))
    check_number("truncated_weights: cap", cap, low=0, exclusive=True)
    if not raw_BL.shape == behaviour_BL.shape == scored_BL.shape or raw_BL.ndim != 2:
        shapes = [tuple(t.shape) for t in (raw_BL, behaviour_BL, scored_BL)]
        raise PlanError(f"truncated_weights: shapes {shapes}; expected the same [B, L] three times")
    log_BL = (raw_BL.detach().double() - behaviour_BL.detach().double()).where(scored_BL, 0.0)
    if log_BL.isnan().any():
        raise PlanError(
            f"truncated_weights: {int(log_BL.isnan().sum())} scored tokens have no recorded "
            "log-probability; record raw and behaviour log-probabilities while decoding"
        )
    if level != "token":
        log_BL = log_BL.sum(1, keepdim=True).expand_as(log_BL)
    if level == "geometric":
        log_BL = log_BL / scored_BL.sum(1, keepdim=True).clamp(min=1)
    weight_BL = log_BL.exp().clamp(max=cap).where(scored_BL, 0.0)
    return Correction(weight_BL.to(raw_BL.dtype), scored_BL & (log_BL > math.log(cap)))


def _a_token(length_B: Tensor, totals: Totals) -> Tensor:
    return torch.full_like(length_B, 1 / max(totals.tokens, 1), dtype=torch.float64)


def _a_completion(length_B: Tensor, totals: Totals) -> Tensor:
    return torch.full_like(length_B, 1 / max(totals.completions, 1), dtype=torch.float64)


def _exp(log_U: Tensor) -> Tensor:
    return log_U.clamp(max=EXPONENT_LIMIT).exp()


def _clip(
    ratio_U: Tensor, advantage_U: Tensor, low_U: Tensor, high_U: Tensor, delta: float | None
) -> Gain:
    """PPO's pessimistic minimum; the eps are per unit."""
    open_U = ratio_U if delta is None else ratio_U.clamp(max=delta)
    clipped_U = ratio_U.clamp(1 - low_U, 1 + high_U)
    fell_U = (ratio_U < 1 - low_U) & (advantage_U < 0)
    rose_U = (ratio_U > 1 + high_U) & (advantage_U > 0)
    if delta is not None:
        rose_U = rose_U | ((ratio_U > delta) & (advantage_U < 0))
    return Gain(torch.minimum(open_U * advantage_U, clipped_U * advantage_U), fell_U, rose_U)


def _targets(scored: Scored) -> Units:
    """Every target by itself."""
    return Units(
        scored.row_N,
        scored.weight_N,
        scored.new_N - scored.old_N.detach(),
        None if scored.ref_N is None else scored.ref_N.detach() - scored.new_N,
        torch.ones_like(scored.weight_N),
        scored.correction_N,
        scored.signal_N,
    )


def _tokens(scored: Scored) -> Units:
    """All targets of a token together, weight 1 each: est = sum w l over the views that hide it."""
    place_N2 = torch.stack([scored.row_N, scored.col_N], 1)
    place_T2, token_N = torch.unique(place_N2, dim=0, return_inverse=True)
    one_T = scored.weight_N.new_ones(len(place_T2))
    correction_T = None
    if scored.correction_N is not None:  # that of a token, so all its targets say the same
        correction_T = one_T.to(scored.correction_N).scatter(0, token_N, scored.correction_N)
    change_T, gap_T = _summed(scored, token_N, len(place_T2), factor=1)
    return Units(place_T2[:, 0], one_T, change_T, gap_T, one_T, correction_T, None)


def _grouped(scored: Scored, unit_N: Tensor, row_U: Tensor, span_U: Tensor, *, parts: int) -> Units:
    """Targets by ``unit_N``, one of ``parts`` equal shares of a completion's estimate."""
    if scored.correction_N is not None:
        raise PlanError(
            "correction_N is by token and gspo and bgpo take ratios of more; multiply the advantages "
            'with a weight of level "sequence" or "geometric" instead'
        )
    change_U, gap_U = _summed(scored, unit_N, len(row_U), factor=parts)
    weight_U = torch.zeros_like(span_U).scatter(0, unit_N, 1 / parts)
    return Units(row_U, weight_U, change_U, gap_U, span_U, None, None)


def _summed(
    scored: Scored, unit_N: Tensor, units: int, *, factor: int
) -> tuple[Tensor, Tensor | None]:
    """Weighted sums of new - old and reference - new by unit, times ``factor``.

    Sums of differences, not differences of sums: 0 exactly where all differences are, in any order of
    addition.
    """

    def summed(value_N: Tensor) -> Tensor:
        weighted_N = factor * scored.weight_N * value_N
        return weighted_N.new_zeros(units).index_add(0, unit_N, weighted_N)

    gap_U = None if scored.ref_N is None else summed(scored.ref_N.detach() - scored.new_N)
    return summed(scored.new_N - scored.old_N.detach()), gap_U


@torch.no_grad()
def _metrics(units: Units, gain: Gain, kl_U: Tensor | None, scored: Scored) -> Metrics:
    counted_U, target_N = units.weight_U > 0, scored.weight_N > 0
    ratio_U = _exp(units.change_U.double() / units.span_U)
    gap_U = (ratio_U - 1).abs().where(counted_U, 0.0)
    unknown = ratio_U.new_tensor(math.nan)
    kl = unknown if kl_U is None else _sum(units.weight_U * kl_U)
    entropy = unknown if scored.entropy_N is None else _sum(scored.entropy_N.where(target_N, 0.0))
    return Metrics(
        units=_sum(counted_U),
        ratio=_sum(ratio_U.where(counted_U, 0.0)),
        ratio_gap=torch.cat([gap_U.new_zeros(1), gap_U]).max(),  # of nothing: 0
        clipped_low=_sum(gain.low_U & counted_U),
        clipped_high=_sum(gain.high_U & counted_U),
        weight=_sum(units.weight_U),
        kl=kl,
        targets=_sum(target_N),
        entropy=entropy,
    )


def _sum(value_U: Tensor) -> Tensor:
    return value_U.sum(dtype=torch.float64)
