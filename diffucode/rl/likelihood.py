"""ln p of completions under a mask plan: every target once, through one forward pass of the views.

::

    traces ──complete──> Canvas, scored_BL ──plan──> MaskPlan ──targets──> (view, row, col) of N targets
                                                                                 │
    logprob_N, entropy_N <── readout of N rows of logits, in chunks <── canvas rows, one for each
                                                                        (view, row) with a target

A view without targets costs nothing. Logits exist for targets alone, float32, a chunk at a time, and are
made again in the backward pass, inside the denoiser's ``forward`` so that the hooks of DDP and FSDP hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.trace import Trace
from diffucode.errors import PlanError
from diffucode.protocols import Denoiser, Positions, Tree
from diffucode.rl.masking import MaskPlan, Sandwich
from diffucode.sampling.draw import log_probability
from diffucode.sampling.noise import COLD, key
from diffucode.sampling.truncation import Truncation

Tail = Literal["hidden", "shown", "unseen"]
"""What stands after the first terminator of an answer, none of which is ever scored: ``hidden`` in every
view, so that no view tells the length of the answer; ``shown`` as it was written (what was never opened
stays open), as the decoder saw it; ``unseen``, no columns at all, as if the canvas ended there."""


class Completed(NamedTuple):
    """Complete rows."""

    canvas: Canvas
    scored_BL: Tensor
    """The answer up to and including its first terminator."""


def complete(
    traces: Sequence[Trace],
    terminators: Sequence[int],
    *,
    tail: Tail = "hidden",
    seed: int = 0,
    fill: int = 0,
    device: torch.device | str = "cpu",
) -> Completed:
    """Rows as their decoder left them; ``fill`` is the id in columns that are open or not real.

    The noise keys of the rows are those of (``seed``, id, sample): they do not depend on the batch.
    """
    length = max(len(trace.token) for trace in traces)
    host = {
        name: np.zeros((len(traces), length), dtype=bool)
        for name in ("given", "open", "real", "scored")
    }
    tokens = np.full((len(traces), length), fill, dtype=np.int64)
    for b, trace in enumerate(traces):
        columns = np.arange(len(trace.token))
        written = trace.step >= 0
        ends = np.flatnonzero(written & np.isin(trace.token, terminators))
        inside = columns <= (ends[0] if len(ends) else len(columns))
        scored = written & inside
        hole = ~trace.given & ~written & inside
        if hole.any():
            raise PlanError(
                f"trace {trace.id!r}, sample {trace.sample}: position {int(hole.argmax())} of its answer "
                "was never written; a cancelled row cannot be scored"
            )
        shown = written & (inside | (tail == "shown"))
        host["given"][b, columns], host["scored"][b, columns] = trace.given, scored
        host["open"][b, columns] = ~trace.given & ~shown
        host["real"][b, columns] = inside if tail == "unseen" else True
        tokens[b, columns] = np.where(trace.given | shown, trace.token, fill)
    host["open"] &= host["real"]
    place = {name: torch.from_numpy(value) for name, value in host.items()}
    canvas = Canvas(
        tokens_BL=torch.from_numpy(tokens),
        given_BL=place["given"] & place["real"],
        open_BL=place["open"],
        real_BL=place["real"],
        position_BL=torch.arange(length).expand(len(traces), length).contiguous(),
        key_B2=torch.tensor([key(seed, t.id, t.sample) for t in traces]),
        start_B=torch.tensor([trace.start for trace in traces]),
    )
    return Completed(canvas.to(device), place["scored"].to(device))


@dataclass(frozen=True)
class Targets:
    """What a plan scores: N triples of view, row and column, by row, then view, then column."""

    view_N: Tensor
    row_N: Tensor
    col_N: Tensor
    weight_N: Tensor
    """Float64, never 0."""
    token_N: Tensor

    @classmethod
    def of(cls, plan: MaskPlan, canvas: Canvas) -> Targets:
        row_N, view_N, col_N = (plan.weight_KBL != 0).transpose(0, 1).nonzero(as_tuple=True)
        return cls(
            view_N,
            row_N,
            col_N,
            plan.weight_KBL[view_N, row_N, col_N],
            canvas.tokens_BL[row_N, col_N],
        )

    def __len__(self) -> int:
        return len(self.row_N)


@dataclass(frozen=True)
class Behaviour:
    """What tokens were drawn from, to score under that instead of the model itself at temperature 1.

    ``tau_BL``: the recorded temperatures, all above 0 where something is scored; ``never``: an id that was
    banned at the draw (the mask). Logit edits are not part of it.
    """

    tau_BL: Tensor
    truncation: Truncation = field(default_factory=Truncation)
    never: int | None = None


class Likelihood(NamedTuple):
    """The targets of a plan under a model."""

    targets: Targets
    logprob_N: Tensor
    """Float32, nats; carries the graph."""
    entropy_N: Tensor
    """Of the model's distribution at temperature 1, nats; without a graph."""

    def estimate_B(self, rows: int) -> Tensor:
        """The estimate of each of ``rows`` completions: weighted sums, float64."""
        zero_B = self.targets.weight_N.new_zeros(rows)
        weighted_N = self.targets.weight_N * self.logprob_N
        return zero_B.index_add(0, self.targets.row_N, weighted_N)


def score(
    denoiser: Denoiser,
    canvas: Canvas,
    plan: MaskPlan,
    *,
    behaviour: Behaviour | None = None,
) -> Likelihood:
    """ln p of every target of a plan, in one forward pass over the (view, row) pairs that have one.

    Pairs that look alike are read once: where everything is hidden, all completions of a prompt do.
    Whoever needs less memory scores fewer rows or views at a time (``plan[rows]``, ``plan.view(views)``):
    the results are the same. Raises PlanError where the plan reads to the left and the model does not, or
    the other way round, and where a behaviour has temperature 0, which has no gradient.
    """
    causal = getattr(denoiser, "module", denoiser).causal  # data parallelism wraps the denoiser
    if (plan.reading == "left") != causal:
        kind = "causal" if causal else "bidirectional"
        raise PlanError(
            f"a plan that reads {plan.reading!r} on a {kind} model: the autoregressive estimator is for "
            "causal models, the others are for bidirectional ones"
        )
    targets = Targets.of(plan, canvas)
    if not len(targets):  # an empty share of a batch; a sum over it is 0
        empty_N = torch.zeros(0, device=canvas.device)
        return Likelihood(targets, empty_N, empty_N)
    pair_N = targets.row_N * plan.views + targets.view_N
    pair_P, at_N = torch.unique_consecutive(pair_N, return_inverse=True)
    row_P, view_P = pair_P // plan.views, pair_P % plan.views
    rows = canvas.take(row_P)
    hidden_PL = plan.hidden_KBL[view_P, row_P]
    rows = replace(rows, open_BL=rows.open_BL | hidden_PL)
    rows, place_P = rows.distinct()
    ask = Positions.of(place_P[at_N].cpu().numpy(), targets.col_N.cpu().numpy(), canvas.device)
    tau_N = None
    if behaviour is not None:
        tau_N = behaviour.tau_BL[targets.row_N, targets.col_N]
        if bool((tau_N < COLD).any()):
            raise PlanError(
                "a target was drawn at temperature 0: what it was drawn from has no gradient; score it "
                "under the model itself"
            )

    def readout(logits_nV: Tensor, where: slice) -> Tree:
        token_n = targets.token_N[where]
        if behaviour is None or tau_N is None:
            logprob_n, entropy_n = _Read.apply(logits_nV, token_n)  # type: ignore[no-untyped-call]
            return {"logprob": logprob_n, "entropy": entropy_n}
        with torch.no_grad():
            _, entropy_n = _Read.apply(logits_nV, token_n)  # type: ignore[no-untyped-call]
        logprob_n = log_probability(
            logits_nV, token_n, tau_N[where], behaviour.truncation, never=behaviour.never
        )
        return {"logprob": logprob_n, "entropy": entropy_n}

    tree = denoiser(rows, ask, readout)
    return Likelihood(targets, tree["logprob"], tree["entropy"].detach())


def sandwiched(
    estimator: Sandwich,
    made: MaskPlan,
    targets: Targets,
    logprob_N: Tensor,
    advantage_B: Tensor,
) -> Tensor:
    """The sandwich estimate of each completion by the sign of its advantage, ``[B]`` float64.

    ``targets`` are all of ``made``: the views of a row have to be together. Carries the graph of
    ``logprob_N``.
    """
    weight_N, logprob_N = targets.weight_N, logprob_N.double()
    place_N2 = torch.stack([targets.row_N, targets.col_N], 1)
    place_T2, token_N = torch.unique(place_N2, dim=0, return_inverse=True)
    row_T, size_B = place_T2[:, 0], made.denom_B.double()
    zero_B, zero_T = torch.zeros_like(size_B), size_B.new_zeros(len(row_T))
    lower_B = zero_B.index_add(0, targets.row_N, weight_N * logprob_N)
    each_TK = size_B.new_full((len(row_T), made.views), -math.inf)
    each_N = weight_N.log() + estimator.beta * logprob_N
    each_TK = each_TK.index_put((token_N, targets.view_N), each_N)
    if estimator.weighting == "normalised":
        share_T = zero_T.index_add(0, token_N, weight_N)
        renyi_T = each_TK.logsumexp(1) - share_T.log()
    else:
        share_T = (size_B / zero_B.index_add(0, row_T, zero_T + 1))[row_T]
        renyi_T = each_TK.logsumexp(1)
    upper_B = zero_B.index_add(0, row_T, share_T * renyi_T / estimator.beta)
    mixed_B = torch.lerp(lower_B, upper_B, estimator.mix)
    return torch.where(advantage_B < 0, mixed_B, lower_B)


def sandwich_weights(
    estimator: Sandwich,
    made: MaskPlan,
    targets: Targets,
    logprob_N: Tensor,
    advantage_B: Tensor,
) -> Tensor:
    """The weights ``[N]`` whose sum with log-probabilities has the gradient of ``sandwiched`` at these."""
    at_N = logprob_N.detach().double().requires_grad_()
    total = sandwiched(estimator, made, targets, at_N, advantage_B).sum()
    return torch.autograd.grad(total, at_N)[0]


class _Read(torch.autograd.Function):
    """ln p of a token of each row of logits, and the entropy of the row, which has no gradient.

    The numbers of ``gather``, ``logsumexp`` and their gradients, in half the time: autograd's own go through
    a dozen tensors of the size of the logits, and this through three.
    """

    @staticmethod
    def forward(ctx: Any, logits_nV: Tensor, token_n: Tensor) -> tuple[Tensor, Tensor]:
        most_n = logits_nV.amax(1)
        below_nV = logits_nV - most_n[:, None]
        weight_nV = below_nV.exp()
        sum_n = weight_nV.sum(1)
        log_n = sum_n.log()
        logprob_n = below_nV.gather(1, token_n[:, None])[:, 0] - log_n
        below_nV.clamp_(min=-1e30)  # 0 times -inf
        entropy_n = log_n - torch.einsum("nv,nv->n", weight_nV, below_nV) / sum_n
        ctx.save_for_backward(weight_nV, sum_n, token_n)
        ctx.mark_non_differentiable(entropy_n)
        return logprob_n, entropy_n

    @staticmethod
    def backward(ctx: Any, grad_n: Tensor, _: Tensor) -> tuple[Tensor, None]:
        weight_nV, sum_n, token_n = ctx.saved_tensors
        grad_nV = weight_nV * (-grad_n / sum_n)[:, None]
        return grad_nV.scatter_add_(1, token_n[:, None], grad_n[:, None]), None
