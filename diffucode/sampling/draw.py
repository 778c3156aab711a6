"""Drawing tokens: the random primitive over whatever the truncation left, with full logging.

The noise belongs to token *ids*, so it need not be computed for a whole vocabulary: the largest
logits get a Gumbel each, everything else together one Gumbel at its log-sum-exp (the maximum of
independent Gumbels is one), and only when that one wins is a token drawn inside. The law is exactly
that of one Gumbel per token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffucode.sampling.noise import COLD, Purpose, to_gumbel, uniform
from diffucode.sampling.summary import kept, largest, row_sum, softmax
from diffucode.sampling.truncation import Truncation, cut, free_to_ask, where_needed


class Noise(NamedTuple):
    """The counters of n draws: key_n2, position_n, step_n (int64)."""

    key_n2: Tensor
    position_n: Tensor
    step_n: Tensor


class Draw(NamedTuple):
    """n drawn tokens and what is known about them."""

    token_n: Tensor
    behaviour_logprob_n: Tensor
    """ln of the probability it was drawn with; 0 at temperature 0."""
    entropy_n: Tensor
    """Entropy of softmax(z / tau) before truncation, nats; 0 at temperature 0."""
    cut_n: Tensor
    """The smallest logit that could be drawn."""


def draw(
    z_nV: Tensor,
    tau_n: Tensor,
    rule: Truncation,
    noise: Noise,
    *,
    max_surprise_n: Tensor | None = None,
    top_k_n: Tensor | None = None,
    never: int | None = None,
) -> Draw:
    """Draw one token a row from edited logits z; ``never`` is an id no draw may give (the mask).

    Temperatures below 1e-5 take the largest logit, the lowest id on ties. z is overwritten.
    """
    if never is not None:
        z_nV[:, never] = -torch.inf
    cold_n = tau_n < COLD
    tau_n = torch.where(cold_n, 1.0, tau_n)
    top = largest(z_nV, rule.retained)
    if free_to_ask(cold_n) and bool(cold_n.all()):
        zero_n = torch.zeros_like(tau_n)
        return Draw(z_nV.argmax(1), zero_n, zero_n, top.logit_nK[:, 0])
    soft = softmax(z_nV, tau_n)
    plain = soft
    if rule.temperature_last or max_surprise_n is not None:
        plain = softmax(z_nV, torch.ones_like(tau_n))
    cut_n = cut(
        z_nV,
        plain if rule.temperature_last else soft,
        top,
        rule,
        max_surprise_n=max_surprise_n,
        logsumexp_n=plain.logsumexp_n,
        top_k_n=top_k_n,
    )

    # The retained logits compete one by one ...
    exponent_nK = (top.logit_nK.double() - soft.max_n[:, None]) / tau_n[:, None]
    exponent_nK = exponent_nK.where(top.logit_nK >= cut_n[:, None], -torch.inf)
    noise_nK, tail_n, u_n = _noise(noise, top.id_nK)
    best_n, at_n = (exponent_nK + noise_nK).max(1)
    token_n = top.id_nK.gather(1, at_n[:, None])[:, 0]
    kept_n = exponent_nK.exp().sum(1)

    # ... with the rest as one.
    if top.logit_nK.shape[1] < z_nV.shape[1]:

        def rest(r: Tensor | slice) -> Tensor:
            weight = kept(soft.weight_nV[r], z_nV[r], cut_n[r])
            return weight.scatter_(1, top.id_nK[r], 0.0)

        outside_n = (cut_n <= top.logit_nK[:, -1]) & ~cold_n
        mass_n = where_needed(
            outside_n, torch.zeros_like(kept_n), lambda r: row_sum(rest(r)).double()
        )
        kept_n = kept_n + mass_n
        wins_n = mass_n.log() + tail_n > best_n
        token_n = where_needed(wins_n, token_n, lambda r: _inverse_cdf(rest(r), u_n[r]))

    token_n = torch.where(cold_n, z_nV.argmax(1), token_n)
    chosen_n = z_nV.gather(1, token_n[:, None])[:, 0]
    logprob_n = (chosen_n - soft.max_n).double() / tau_n - kept_n.log()
    return Draw(
        token_n,
        torch.where(cold_n, 0.0, logprob_n).to(z_nV.dtype),
        torch.where(cold_n, 0.0, soft.entropy_n),
        torch.where(cold_n, soft.max_n, cut_n),
    )


def log_probability(
    z_nV: Tensor,
    token_n: Tensor,
    tau_n: Tensor,
    rule: Truncation,
    *,
    never: int | None = None,
) -> Tensor:
    """ln of the probability with which ``draw`` gives these tokens; differentiable in z.

    tau at least 1e-5; which tokens the truncation keeps is taken as given. -inf for a token that it
    does not keep.
    """
    if never is not None:
        z_nV = z_nV.index_fill(1, torch.tensor([never], device=z_nV.device), -torch.inf)
    fixed_nV = z_nV.detach()
    soft = softmax(fixed_nV, tau_n)
    plain = softmax(fixed_nV, torch.ones_like(tau_n)) if rule.temperature_last else soft
    cut_n = cut(fixed_nV, plain, largest(fixed_nV, rule.retained), rule)
    kept_nV = (z_nV / tau_n[:, None]).masked_fill(fixed_nV < cut_n[:, None], -torch.inf)
    chosen_n: Tensor = kept_nV.gather(1, token_n[:, None])[:, 0]
    return chosen_n - kept_nV.logsumexp(1)


def _noise(noise: Noise, id_nK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gumbels of the ids and of the rest, and the uniform that draws inside the rest, in one go."""
    ids = torch.nn.functional.pad(id_nK, (0, 2))
    purpose = torch.full_like(ids[0], int(Purpose.TOKEN))
    purpose[-2], purpose[-1] = int(Purpose.TAIL), int(Purpose.TAIL_TOKEN)
    u_nK = uniform(*noise, purpose, ids)
    gumbel_nK = to_gumbel(u_nK[:, :-1])
    return gumbel_nK[:, :-1], gumbel_nK[:, -1], u_nK[:, -1]


def _inverse_cdf(weight_nV: Tensor, u_n: Tensor) -> Tensor:
    """The token where the cumulative weight passes u times its total; its weight is positive."""
    cumulative_nV = weight_nV.cumsum(1, dtype=torch.float64)
    total_n = cumulative_nV[:, -1]
    goal_n = torch.minimum(u_n * total_n, torch.nextafter(total_n, torch.zeros_like(total_n)))
    found_n = torch.searchsorted(cumulative_nV, goal_n[:, None], right=True)[:, 0]
    return found_n.clamp(max=weight_nV.shape[1] - 1)
