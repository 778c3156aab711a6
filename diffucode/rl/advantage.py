"""How much better a completion did than its siblings, and how HAPO spreads that over tokens.

    GroupAdvantage        reward minus what the prompt's other completions got, by choice scaled
    TokenGroupAdvantage   HAPO's: mean and deviation over the tokens of the group, not its completions
    zero_variance         completions of groups whose rewards all agree: they teach nothing
    permuted              rewards at random within their groups: a control
    entropy_signal        HAPO's signal in [-1, 1]: below 0 where the model is sure, above where not
    redistribute          HAPO's: stronger advantages where an uncertain token moved, weaker where a
                          sure one stands still

Statistics are of the rewards that are passed in: gather over the ranks first, if a group or a
batch is spread over them. A reward of NaN says "not known" (the sandbox failed, not the code): the
sample takes no part in any statistic and its advantage is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.sampling.noise import Purpose, key, uniform
from diffucode.sampling.temperature.hapo import HapoStats
from diffucode.sampling.temperature.rows import check_choice

Baseline = Literal["mean", "leave_one_out"]
Scaling = Literal["none", "group", "batch"]

STD_FLOOR = 1e-4
"""Added to a deviation before dividing by it, as published (TRL, DiffuCoder)."""
TOKEN_STD_FLOOR = 1e-6
"""The same in HAPO."""


class Advantages(NamedTuple):
    """One number a completion, and which completions carry none."""

    advantage_B: Tensor
    kept_B: Tensor
    """False: the reward is not known. Leave these rows out of the loss and of its totals."""
    flat_B: Tensor
    """True: a completion of a group without variance (see ``zero_variance``)."""
    groups: int
    flat_groups: int


@dataclass(frozen=True)
class GroupAdvantage:
    """GRPO's advantage: a reward minus the baseline of its group, divided by a scale.

    ``mean`` is the mean reward of the group of G, ``leave_one_out`` the mean of the other G - 1.
    The second is the first times G / (G - 1), exactly: both sum to zero over a group, and they differ in
    a group's step size alone. Scales: ``none`` (Dr. GRPO, DiffuCoder),
    ``group`` (GRPO) or ``batch`` (every kept reward of the call), the sample deviation of the
    rewards plus 1e-4.
    """

    baseline: Baseline = "mean"
    scale: Scaling = "none"
    kind: Literal["group"] = "group"

    def __post_init__(self) -> None:
        check_choice("GroupAdvantage.baseline", self.baseline, get_args(Baseline))
        check_choice("GroupAdvantage.scale", self.scale, get_args(Scaling))

    def __call__(self, reward_B: Tensor, group_B: Tensor, length_B: Tensor) -> Advantages:
        """Advantages of B completions, in the dtype of ``reward_B``.

        ``group_B`` int64 names each completion's prompt; groups may be of any size. Lengths are not
        looked at. A group that is constant, or has one known reward, gets exactly 0: one completion
        has nothing to be compared with, and its leave-one-out baseline does not exist. Raises
        PlanError for shapes that differ and for infinite rewards.
        """
        groups = _Groups.of(reward_B, group_B, reward_B.isfinite())
        size_G = groups.sum(groups.weight_B)
        mean_G = groups.sum(groups.reward_B) / size_G.clamp(min=1)
        centred_B = groups.reward_B - mean_G[groups.index_B]
        advantage_B = centred_B
        if self.baseline == "leave_one_out":
            advantage_B = centred_B * (size_G / (size_G - 1).clamp(min=1))[groups.index_B]
        if self.scale == "group":
            # TRL divides by the sample deviation; a single sample has none, and is 0 anyway.
            square_G = groups.sum(groups.weight_B * centred_B.square())
            std_G = (square_G / (size_G - 1).clamp(min=1)).sqrt()
            advantage_B = advantage_B / (std_G + STD_FLOOR)[groups.index_B]
        elif self.scale == "batch":
            known = groups.reward_B[groups.kept_B]
            std = known.std() if len(known) > 1 else torch.zeros_like(groups.weight_B.sum())
            advantage_B = advantage_B / (std + STD_FLOOR)
        return groups.advantages(advantage_B, reward_B.dtype)


@dataclass(frozen=True)
class TokenGroupAdvantage:
    """HAPO's token-level group average: every token counts once, long completions count more.

    A = (R - mu) / (sd + 1e-6), mu and sd (population) over all tokens of the group, each with the
    reward of its completion. The sum over *tokens* is zero, where a token-mean loss with GRPO's
    advantage leans against long failures. All tokens of a completion share the value, so it is
    returned once a completion. Source: Liu et al., arXiv 2509.16591. Their code falls back to
    GRPO's advantage where any value reaches 5; this does not.
    """

    kind: Literal["hapo"] = "hapo"

    def __call__(self, reward_B: Tensor, group_B: Tensor, length_B: Tensor) -> Advantages:
        """Advantages of B completions of ``length_B`` scored tokens.

        Constant groups and singles get exactly 0; a completion without tokens is not kept. Raises
        PlanError for shapes that differ and for infinite rewards.
        """
        _check_shape("length_B", length_B, reward_B)
        groups = _Groups.of(reward_B, group_B, reward_B.isfinite() & (length_B > 0))
        weight_B = length_B * groups.weight_B
        tokens_G = groups.sum(weight_B).clamp(min=1)
        mean_G = groups.sum(weight_B * groups.reward_B) / tokens_G
        centred_B = groups.reward_B - mean_G[groups.index_B]
        std_G = (groups.sum(weight_B * centred_B.square()) / tokens_G).sqrt()
        advantage_B = centred_B / (std_G + TOKEN_STD_FLOOR)[groups.index_B]
        return groups.advantages(advantage_B, reward_B.dtype)


AdvantageRule = GroupAdvantage | TokenGroupAdvantage


def zero_variance(reward_B: Tensor, group_B: Tensor) -> Tensor:
    """True for the completions of groups whose known rewards are all equal, one or none included.

    Such a group has no gradient; DAPO's dynamic sampling drops it and draws another prompt. Equal
    means equal: rewards that differ by rounding are different.
    """
    return _Groups.of(reward_B, group_B, reward_B.isfinite()).flat_B


def permuted(reward_B: Tensor, group_B: Tensor, *, seed: int, step: int) -> Tensor:
    """The known rewards of each group, handed out again at random among its completions; NaN stays.

    A control: means, spreads and groups without variance are as before, and no completion's reward
    says anything of it. A pure function of (``seed``, ``step``) and the completions' places.
    """
    known_N = reward_B.isfinite().nonzero()[:, 0]
    key_N2 = torch.tensor([key(seed, "permuted rewards")]).expand(len(known_N), -1)
    u_N = uniform(key_N2, known_N, torch.full_like(known_N, step), Purpose.PERMUTE, None)
    mixed_N = known_N[u_N.argsort()]
    to_N = known_N[group_B[known_N].argsort(stable=True)]
    from_N = mixed_N[group_B[mixed_N].argsort(stable=True)]
    found_B = reward_B.clone()
    found_B[to_N] = reward_B[from_N]
    return found_B


def entropy_signal(entropy_N: Tensor, stats: HapoStats) -> Tensor:
    """HAPO's signed signal of raw entropies (nats), in [-1, 1], without gradient.

    h = (ln H - Q) / sigma over the extreme of its own sign, clipped: -1 where the model is as sure
    as anywhere in the batch that made ``stats``, 1 where it is as uncertain. A scale of 0 is
    unknown and gives 0. The released code (and Eq. 6) loses the sign; the text needs it.
    """
    return stats.signal(entropy_N.detach()).clamp(-1, 1)


def redistribute(
    advantage_N: Tensor,
    signal_N: Tensor,
    ratio_N: Tensor,
    eps_low: float,
    eps_high: float,
    strength: float = 1.0,
) -> Tensor:
    """HAPO's differential advantage redistribution: A (1 + strength h) at tokens that the gate picks.

    Uncertain tokens (h > 0) whose ratio left the neutral zone [1 - eps_low / 2, 1 + eps_high / 2],
    and sure ones (h <= 0) inside it; elsewhere A. The zone is the paper's, from the base clip range;
    the released code takes the adapted one. No gradient flows through the gate.
    """
    moved_N = ratio_N.detach()
    neutral_N = (moved_N >= 1 - eps_low / 2) & (moved_N <= 1 + eps_high / 2)
    picked_N = neutral_N ^ (signal_N > 0)
    return torch.where(picked_N, advantage_N * (1 + strength * signal_N), advantage_N)


class _Groups(NamedTuple):
    """Rewards by group, in float64; unknown rewards are 0 with weight 0."""

    reward_B: Tensor
    weight_B: Tensor
    kept_B: Tensor
    index_B: Tensor
    flat_B: Tensor
    flat_G: Tensor

    @classmethod
    def of(cls, reward_B: Tensor, group_B: Tensor, kept_B: Tensor) -> _Groups:
        _check_shape("group_B", group_B, reward_B)
        if reward_B.isinf().any():
            raise PlanError(
                f"rewards: {int(reward_B.isinf().sum())} of {len(reward_B)} are infinite; expected "
                "finite numbers, or NaN for a sample whose reward is not known"
            )
        id_G, index_B = torch.unique(group_B, return_inverse=True)
        exact_B = reward_B.detach().double()

        def extreme(how: Literal["amin", "amax"], unknown: float) -> Tensor:
            start_G = exact_B.new_full((len(id_G),), unknown)
            return start_G.scatter_reduce(0, index_B, exact_B.where(kept_B, unknown), how)

        # Not "deviation 0": the mean of equal rewards is off by rounding (three times 0.1).
        flat_G = extreme("amin", torch.inf) >= extreme("amax", -torch.inf)
        known_B = exact_B.where(kept_B, 0.0)
        return cls(known_B, kept_B.double(), kept_B, index_B, flat_G[index_B], flat_G)

    def sum(self, value_B: Tensor) -> Tensor:
        """The sum by group, ``[G]``."""
        return value_B.new_zeros(len(self.flat_G)).index_add(0, self.index_B, value_B)

    def advantages(self, advantage_B: Tensor, dtype: torch.dtype) -> Advantages:
        """These advantages, 0 where nothing can be compared."""
        none_B = self.flat_B | ~self.kept_B
        advantage_B = advantage_B.masked_fill(none_B, 0.0).to(dtype)
        groups, flat = len(self.flat_G), int(self.flat_G.sum())
        return Advantages(advantage_B, self.kept_B, self.flat_B, groups, flat)


def _check_shape(name: str, given_B: Tensor, reward_B: Tensor) -> None:
    if reward_B.ndim != 1 or given_B.shape != reward_B.shape:
        raise PlanError(
            f"{name} has shape {tuple(given_B.shape)} and reward_B {tuple(reward_B.shape)}; "
            "expected [B] for both, one number a completion"
        )
