"""Mirostat: truncation that holds the mean surprise of the drawn tokens at a target, in bits.

Each row keeps a bound mu. A draw's surprise is S = -log2 p(token) under the *raw* model, before any
temperature or truncation, and after every step

    mu <- mu - eta * sum over the step's commits of (S - target)       (or their mean)

so the mean surprise minus the target is (mu_first - mu_last) / (eta * draws) while mu is not
clamped. (A widespread implementation measures S after truncation; it overshoots the target.)

    v2   keeps the tokens whose raw surprise is at most mu
    v1   keeps the k largest, k from mu and the exponent of a Zipf law fitted to the largest logits

mu starts at twice the target and stays in [0, mu_max]. Clamping the sum itself is the anti-windup:
below the surprise of greedy decoding, or above that of untruncated sampling, the target cannot be
reached, and the first error of the other sign moves mu away from the clamp at once. The default
``mu_max`` of 20 bits is log2 of a vocabulary of 2^17 tokens plus 3; with a smaller vocabulary a
smaller one recovers faster.

Under parallel decoding the surprise of commits is not that of the sequence: tokens of one step
ignore each other, and a confident-first order meets the surprising ones late.

Source: Basu et al., arXiv 2007.14966, and the authors' script and notebook.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from diffucode.protocols import Commits, Control, State, View
from diffucode.sampling.temperature.rows import Rows, check_choice, check_number

Reduce = Literal["sum", "mean"]
Rounding = Literal["script", "notebook"]

MAX_SURPRISE = 1e6
"""Bits; stands in for the infinite surprise of a token the raw model rules out."""
FIXED_POINT = 2.0**24
"""Errors are summed as integers of 2^-24 bits: the sum does not depend on its order, so a row gets
the same mu alone and in any batch, on every device."""


@dataclass(frozen=True)
class Mu(Rows):
    """The bound of each row, bits, float32 ``[B]``."""

    mu_B: Tensor


@dataclass(frozen=True)
class MirostatV2:
    """Mirostat v2. ``target`` in bits, ``base`` the temperature of the draw among those kept."""

    target: float = 3.0
    eta: float = 1.0
    base: float = 1.0
    mu_max: float = 20.0
    reduce: Reduce = "sum"
    kind: Literal["mirostat_v2"] = "mirostat_v2"

    def __post_init__(self) -> None:
        _check("MirostatV2", self)

    @property
    def retained(self) -> int:
        """One; the largest logits are not looked at."""
        return 1

    def start(self, rows: int, device: torch.device) -> Mu:
        """Fresh rows, mu = 2 target."""
        return _start(self, rows, device)

    def control(self, view: View, state: State) -> Control:
        """The base temperature among tokens of at most mu bits."""
        tau_N = torch.full_like(view.entropy_N, self.base, dtype=torch.float32)
        return Control(tau_N, max_surprise_N=_mu(state)[view.row_N])

    def observe(self, commits: Commits, state: State) -> Mu:
        """mu after a step's commits."""
        return _observe(self, commits, state)


@dataclass(frozen=True)
class MirostatV1:
    """Mirostat v1. ``pairs`` neighbouring logits fit the exponent, or as many as the view has.

    ``rounding``: ``script`` keeps round(k) + 1 tokens, ``notebook`` max(round(k), 1), after the two
    published codes; halves round to even.
    """

    target: float = 3.0
    eta: float = 1.0
    base: float = 1.0
    mu_max: float = 20.0
    reduce: Reduce = "sum"
    pairs: int = 100
    rounding: Rounding = "script"
    kind: Literal["mirostat_v1"] = "mirostat_v1"

    def __post_init__(self) -> None:
        _check("MirostatV1", self)
        check_number("MirostatV1.pairs", self.pairs, low=1)
        check_choice("MirostatV1.rounding", self.rounding, get_args(Rounding))

    @property
    def retained(self) -> int:
        """Both ends of every pair."""
        return self.pairs + 1

    def start(self, rows: int, device: torch.device) -> Mu:
        """Fresh rows, mu = 2 target."""
        return _start(self, rows, device)

    def control(self, view: View, state: State) -> Control:
        """The base temperature among the k largest."""
        tau_N = torch.full_like(view.entropy_N, self.base, dtype=torch.float32)
        exponent_N = zipf_exponent(view.top_NK, self.pairs)
        k_N = zipf_k(exponent_N, _mu(state)[view.row_N], view.vocab_size)
        k_N = k_N.clamp(max=view.vocab_size).round().long()
        k_N = k_N + 1 if self.rounding == "script" else k_N
        # With no excluded token among the largest, how many are finite is unknown but at least K.
        finite_NK = view.top_NK > -math.inf
        limit_N = torch.where(finite_NK.all(1), view.vocab_size, finite_NK.sum(1))
        return Control(tau_N, top_k_N=torch.minimum(k_N, limit_N).clamp(min=1))

    def observe(self, commits: Commits, state: State) -> Mu:
        """mu after a step's commits."""
        return _observe(self, commits, state)


def zipf_exponent(top_NK: Tensor, pairs: int) -> Tensor:
    """Least-squares exponent s of p_i ~ i^-s through the first ``pairs`` neighbours, ``[N]``.

    ``top_NK`` descending logits or log-probabilities; excluded tokens (-inf) do not count.
    """
    top_NK = top_NK[:, : pairs + 1]
    rank_K = torch.arange(1, top_NK.shape[1] + 1, dtype=top_NK.dtype, device=top_NK.device)
    there_NP = top_NK[:, 1:] > -math.inf
    # log1p, as ln((i + 1) / i) of large i loses digits in float32.
    t_NP = torch.where(there_NP, (1 / rank_K[:-1]).log1p(), 0)
    b_NP = torch.where(there_NP, top_NK[:, :-1] - top_NK[:, 1:], 0)
    tiny = torch.finfo(top_NK.dtype).tiny
    return (t_NP * b_NP).sum(1) / (t_NP * t_NP).sum(1).clamp(min=tiny)


def zipf_k(exponent_N: Tensor, mu_N: Tensor, vocab_size: int) -> Tensor:
    """How many tokens of a Zipf law surprise by about ``mu_N`` bits or less: real, not capped.

    k = (eps 2^mu / (1 - V^-eps))^(1/s), eps = s - 1; a flat law (s <= 1e-6) keeps all V.
    """
    log_v = math.log(vocab_size)
    eps_N = exponent_N - 1
    near_one_N = eps_N.abs() < 1e-6
    safe_N = torch.where(near_one_N, 1, eps_N)
    ratio_N = torch.where(near_one_N, 1 / log_v, safe_N / -torch.expm1(-safe_N * log_v))
    flat_N = exponent_N <= 1e-6
    log_k_N = (ratio_N.log() + mu_N * math.log(2)) / torch.where(flat_N, 1, exponent_N)
    return torch.where(flat_N, vocab_size, log_k_N.exp())


def _start(policy: MirostatV1 | MirostatV2, rows: int, device: torch.device) -> Mu:
    mu = min(2 * policy.target, policy.mu_max)
    return Mu(torch.full((rows,), mu, dtype=torch.float32, device=device))


def _mu(state: State) -> Tensor:
    assert isinstance(state, Mu)
    return state.mu_B


def _observe(policy: MirostatV1 | MirostatV2, commits: Commits, state: State) -> Mu:
    mu_B = _mu(state)
    surprise_M = (commits.raw_logprob_M.float() / -math.log(2)).clamp(max=MAX_SURPRISE)
    error_M = torch.where(commits.where_M, surprise_M - policy.target, 0.0)
    fixed_M = (error_M * FIXED_POINT).round().long()
    zero_B = torch.zeros_like(mu_B, dtype=torch.long)
    error_B = zero_B.index_add(0, commits.row_M, fixed_M) / FIXED_POINT
    if policy.reduce == "mean":
        error_B = error_B / zero_B.index_add(0, commits.row_M, commits.where_M.long()).clamp(min=1)
    return Mu((mu_B - policy.eta * error_B).clamp(0, policy.mu_max))


def _check(name: str, policy: MirostatV1 | MirostatV2) -> None:
    check_number(f"{name}.target", policy.target, low=0)
    check_number(f"{name}.eta", policy.eta, low=0, exclusive=True)
    check_number(f"{name}.base", policy.base, low=0)
    check_number(f"{name}.mu_max", policy.mu_max, low=0, exclusive=True)
    check_choice(f"{name}.reduce", policy.reduce, get_args(Reduce))
