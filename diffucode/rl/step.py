"""One policy update: scored completions to gradients, and the optimiser's step.

    Batch(traces, advantages) ──prepare──> Prepared: rows, a plan, old and reference log-probs for each of
                                           the mu iterations, all scored before the first of them
    Prepared ──iterate(i)──> micro-batches of rows: score, loss, backward ──> clip, step ──> figures

Iterations and micro-batches are independent counters: every micro-batch of an iteration has the masks of
that iteration, and another iteration has others. What a row contributes depends on its own key and on the
totals of the whole update alone, so micro-batches, accumulation and processes change neither loss nor
gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from diffucode.decoding.trace import Trace
from diffucode.errors import ConfigError
from diffucode.protocols import Denoiser
from diffucode.rl.advantage import entropy_signal
from diffucode.rl.likelihood import (
    Behaviour,
    Completed,
    Likelihood,
    Tail,
    complete,
    sandwich_weights,
    score,
)
from diffucode.rl.masking import Coupled, Estimator, MaskPlan, Sandwich, Traced, plan
from diffucode.rl.objective import (
    Bgpo,
    Bnpo,
    Gspo,
    Loss,
    Metrics,
    Objective,
    Scored,
    Totals,
    policy_loss,
    truncated_weights,
)
from diffucode.sampling.temperature import HapoStats
from diffucode.sampling.truncation import Truncation

SCORED_ROWS = 64
"""Rows of a forward pass without gradient."""


@dataclass(frozen=True)
class Update:
    """What an update is. Defaults are DiffuCoder's where it has them."""

    estimator: Estimator = field(default_factory=Coupled)
    objective: Objective = field(
        default_factory=lambda: Bnpo(eps_low=0.5, eps_high=0.5, beta=0.01, weight_in_ratio=True)
    )
    iterations: int = 2
    """Optimiser steps on one batch of rollouts (mu), each under masks of its own."""
    rows: int = 8
    """Completions of a forward and backward pass: memory, not mathematics."""
    tail: Tail = "hidden"
    """What stands behind an answer's terminator while it is scored."""
    scored_as: Literal["model", "behaviour"] = "model"
    """Whether ratios are of the model itself at temperature 1, or of what tokens were drawn from (the
    recorded temperatures and the rollout's truncation)."""
    correction: Literal["none", "token", "sequence", "geometric"] = "none"
    """Truncated importance weights from the recorded log-probabilities."""
    cap: float = 2.0
    """Of these weights."""
    grad_norm: float = 0.2
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("iterations", "rows"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        if not self.grad_norm > 0:
            raise ConfigError(f"grad_norm {self.grad_norm}: expected a positive number")
        if isinstance(self.estimator, Traced) != (self.tail == "shown"):
            raise ConfigError(
                f"tail {self.tail!r} with the estimator {self.estimator.kind}: the trace is scored with "
                "what its decoder saw (shown), the others would be told the length of the answer"
            )
        if isinstance(self.estimator, Sandwich) and (
            isinstance(self.objective, Gspo | Bgpo)
            or getattr(self.objective, "weight_in_ratio", False)
        ):
            raise ConfigError(
                f"the estimator sandwich with the objective {self.objective.kind}, whose ratios are of "
                "weighted sums, and an upper bound is none: take ratios of single targets (grpo, bnpo, "
                "dr_grpo, dapo or cispo, with weight_in_ratio false)"
            )
        if self.scored_as == "behaviour" and self.correction != "none":
            raise ConfigError(
                f"correction {self.correction!r} with scored_as behaviour: there is nothing to correct"
            )
        if self.correction == "token" and isinstance(self.objective, Gspo | Bgpo):
            raise ConfigError(
                f"correction 'token' with the objective {self.objective.kind}: its ratios are of more than "
                "a token; take sequence or geometric"
            )


@dataclass(frozen=True)
class Batch:
    """Completions of this process, and what each is to be pushed by."""

    traces: tuple[Trace, ...]
    advantage_B: Tensor
    step: int
    """The training step that drew them: the first part of their masks' counter."""
    seed: int = 0
    truncation: Truncation = field(default_factory=Truncation)
    """Of the rollouts."""
    entropy: HapoStats | None = None
    """Entropy statistics of the previous batch, for objectives that follow HAPO's signal."""
    silent: Totals = field(default_factory=lambda: Totals(0, 0))
    """Of completions left out for having advantage 0 (``without_flat``): the totals count them."""
    idle: bool = False
    """The one completion has advantage 0 and stands where none is left: figures do not count it."""

    def __post_init__(self) -> None:
        if self.advantage_B.shape != (len(self.traces),):
            raise ConfigError(
                f"{len(self.traces)} traces and advantages of shape {tuple(self.advantage_B.shape)}"
            )


def without_flat(batch: Batch, update: Update, terminators: Sequence[int]) -> Batch:
    """The batch without the completions that push nowhere: of advantage 0, where no divergence is penalised.

    They go on counting in what an update averages over, so loss and gradient stay what they were; ratios
    and entropies are then those of the others. One completion stays in any case, ``idle``, as a process
    has to take part.
    """
    pushing_B = batch.advantage_B != 0
    if update.objective.beta > 0 or bool(pushing_B.all()):
        return batch
    idle = not pushing_B.any()
    pushing_B[0] |= idle
    kept = [trace for trace, pushing in zip(batch.traces, pushing_B, strict=True) if pushing]
    left = [trace for trace, pushing in zip(batch.traces, pushing_B, strict=True) if not pushing]
    silent = batch.silent
    if left:
        silent = silent + Totals.of(complete(left, terminators).scored_BL.sum(1))
    return replace(
        batch,
        traces=tuple(kept),
        advantage_B=batch.advantage_B[pushing_B],
        silent=silent,
        idle=idle,
    )


class Sync(Protocol):
    """What an update asks of whoever runs several processes."""

    @property
    def world(self) -> int: ...

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes, the same everywhere."""

    def largest(self, value: Tensor) -> Tensor:
        """The maximum over processes."""

    def backward(self, loss: Tensor) -> None: ...

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        """Around all backward passes of a step but the ``last``, where gradients are exchanged."""

    def clip(self, parameters: Iterator[nn.Parameter], norm: float) -> Tensor:
        """Clip the gradients; returns their norm before."""


class Alone:
    """One process."""

    world = 1

    def total(self, values: Tensor) -> Tensor:
        return values

    def largest(self, value: Tensor) -> Tensor:
        return value

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def clip(self, parameters: Iterator[nn.Parameter], norm: float) -> Tensor:
        return nn.utils.clip_grad_norm_(parameters, norm)


class Iteration(NamedTuple):
    """The plan of one of the mu iterations, and what other policies say under it; ``[N]`` each."""

    plan: MaskPlan
    old_N: Tensor | None
    """None in the first: there the old policy is the new one before its step."""
    ref_N: Tensor | None


@dataclass(frozen=True)
class Prepared:
    """A batch that is ready to be learnt from."""

    batch: Batch
    rows: Completed
    iterations: tuple[Iteration, ...]
    totals: Totals
    correction_BL: Tensor | None
    behaviour: Behaviour | None
    passes: int
    """Forward passes, (row, view) pairs, that preparing took."""


Known = tuple[Tensor | None, Tensor | None]
"""The ``old_N`` and ``ref_N`` of an iteration."""


def prepare(
    policy: Denoiser,
    batch: Batch,
    update: Update,
    sync: Sync,
    reference: Denoiser | None = None,
    *,
    known: Sequence[Known] | None = None,
) -> Prepared:
    """Plans of all iterations, and what old and reference policy say under them, before any step.

    ``known``: what they said already, of every iteration, for a run that goes on between two of them.
    """
    mask = policy.mask_id
    rows = complete(
        batch.traces,
        policy.terminator_ids,
        tail=update.tail,
        seed=batch.seed,
        fill=policy.terminator_ids[0] if mask is None else mask,
        device=policy.device,
    )
    behaviour = None
    if update.scored_as == "behaviour":
        tau_BL = recorded(batch.traces, "tau", rows)
        behaviour = Behaviour(tau_BL, batch.truncation, never=mask)
    passes, found = 0, []
    for i in range(update.iterations):
        number = batch.step * update.iterations + i
        made = plan(
            update.estimator,
            rows.canvas,
            rows.scored_BL,
            iteration=number,
            seed=batch.seed,
            traces=batch.traces,
        )
        if known is not None:
            found.append(Iteration(made, *known[i]))
            continue
        others = (policy if i > 0 else None, reference)
        old_N, ref_N = (
            None if model is None else _without_gradient(model, rows, made, behaviour)
            for model in others
        )
        passes += int(made.passes_B.sum()) * sum(model is not None for model in others)
        found.append(Iteration(made, old_N, ref_N))
    own = Totals.of(rows.scored_BL.sum(1)) + batch.silent
    counts = sync.total(torch.tensor([own.completions, own.tokens]))
    completions, tokens = (int(count) for count in counts)
    correction_BL = None
    if update.correction != "none":
        raw_BL = recorded(batch.traces, "raw_logprob", rows)
        drawn_BL = recorded(batch.traces, "behaviour_logprob", rows)
        correction_BL = truncated_weights(
            raw_BL, drawn_BL, rows.scored_BL, update.correction, update.cap
        ).weight_BL
    return Prepared(
        batch, rows, tuple(found), Totals(completions, tokens), correction_BL, behaviour, passes
    )


class Stepped(NamedTuple):
    """What an iteration did."""

    loss: float
    metrics: Metrics
    """Over all processes."""
    grad_norm: float
    passes: int
    """Forward passes of this process that carried a gradient."""


def iterate(
    policy: nn.Module,
    optimizer: torch.optim.Optimizer,
    prepared: Prepared,
    index: int,
    update: Update,
    sync: Sync,
    *,
    least: int = 0,
) -> Stepped:
    """One optimiser step on a prepared batch; ``index`` counts its iterations from 0.

    ``policy`` is the denoiser, possibly wrapped by DDP or FSDP. All processes take as many micro-batches
    as the one with most rows: ``least`` says how many rows that is; those with fewer add zeros. A process
    needs one row at least.
    """
    part = prepared.iterations[index]
    many = len(prepared.batch.traces)
    starts = list(range(0, max(many, least), update.rows))
    ends = part.plan.weight_KBL.ne(0).sum((0, 2)).cumsum(0).tolist()
    loss_sum, metrics = torch.zeros((), dtype=torch.float64), None
    for start in starts:
        rows = slice(min(start, many), min(start + update.rows, many))
        targets = slice(
            ends[rows.start - 1] if rows.start else 0, ends[rows.stop - 1] if many else 0
        )
        with sync.accumulating(start == starts[-1]):
            share = _share(policy, prepared, part, rows, targets, update)
            sync.backward(share.loss * sync.world)  # data parallelism averages over processes
        loss_sum += share.loss.detach().double().cpu()
        if rows.start < rows.stop:
            found = share.metrics.none() if prepared.batch.idle else share.metrics
            metrics = found if metrics is None else metrics + found
    assert metrics is not None, "a process has one row at least"
    norm = sync.clip(policy.parameters(), update.grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    loss, whole = _over_processes(loss_sum, metrics, sync)
    passes = int(part.plan.passes_B.sum())
    return Stepped(loss, whole, float(norm), passes)


def _share(
    policy: nn.Module,
    prepared: Prepared,
    part: Iteration,
    rows: slice,
    targets: slice,
    update: Update,
) -> Loss:
    """The loss of some rows. Of none it is a zero through the whole model: other processes wait for its
    gradients."""
    if empty := rows.start == rows.stop:
        rows, targets = slice(0, 1), slice(0, int(part.plan[0:1].weight_KBL.ne(0).sum()))
    columns = torch.arange(rows.start, rows.stop, device=part.plan.hidden_KBL.device)
    canvas, made = prepared.rows.canvas.take(columns), part.plan[columns]
    behaviour = prepared.behaviour
    if behaviour is not None:
        behaviour = replace(behaviour, tau_BL=behaviour.tau_BL[columns])
    found: Likelihood = score(policy, canvas, made, behaviour=behaviour)  # type: ignore[arg-type]
    at, new_N = found.targets, found.logprob_N
    advantage_B = prepared.batch.advantage_B.to(columns.device)[columns]
    correction_N = None
    if prepared.correction_BL is not None:
        correction_BL = prepared.correction_BL[columns]
        if isinstance(
            update.objective, Gspo | Bgpo
        ):  # one ratio for many tokens: one weight for a row
            advantage_B = advantage_B * correction_BL.amax(1)
        else:
            correction_N = correction_BL[at.row_N, at.col_N]
    signal_N, stats = None, prepared.batch.entropy
    if stats is not None and getattr(update.objective, "needs_signal", False):
        signal_N = entropy_signal(found.entropy_N, stats)
    old_N = new_N.detach() if part.old_N is None else part.old_N[targets]
    weight_N = at.weight_N
    if isinstance(update.estimator, Sandwich):
        weight_N = sandwich_weights(update.estimator, made, at, old_N, advantage_B)
    scored = Scored(
        row_N=at.row_N,
        col_N=at.col_N,
        view_N=at.view_N,
        weight_N=weight_N,
        new_N=new_N,
        old_N=old_N,
        length_B=made.denom_B,
        views=made.views,
        ref_N=None if part.ref_N is None else part.ref_N[targets],
        entropy_N=found.entropy_N,
        signal_N=signal_N,
        correction_N=correction_N,
    )
    share = policy_loss(update.objective, scored, advantage_B, prepared.totals)
    return share._replace(loss=0 * share.loss) if empty else share


@torch.no_grad()
def _without_gradient(
    model: Denoiser, rows: Completed, made: MaskPlan, behaviour: Behaviour | None
) -> Tensor:
    """Log-probabilities of all targets, some rows at a time."""
    parts = []
    for start in range(0, len(made.denom_B), SCORED_ROWS):
        columns = torch.arange(
            start, min(start + SCORED_ROWS, len(made.denom_B)), device=made.hidden_KBL.device
        )
        own = None
        if behaviour is not None:
            own = replace(behaviour, tau_BL=behaviour.tau_BL[columns])
        parts.append(score(model, rows.canvas.take(columns), made[columns], behaviour=own))
    return torch.cat([part.logprob_N for part in parts])


def recorded(traces: Sequence[Trace], name: str, rows: Completed) -> Tensor:
    """A float column of the traces, ``[B, L]`` on the device of the rows."""
    column_BL = torch.zeros(rows.canvas.shape)
    for b, trace in enumerate(traces):
        column_BL[b, : len(trace.token)] = torch.from_numpy(getattr(trace, name))
    return column_BL.to(rows.canvas.device)


def _over_processes(loss: Tensor, metrics: Metrics, sync: Sync) -> tuple[float, Metrics]:
    names = [name for name in metrics.__dict__ if name != "ratio_gap"]
    values = [getattr(metrics, name).double().cpu() for name in names]
    total = sync.total(torch.stack([loss, *values]))
    summed = dict(zip(names, total[1:], strict=True))
    return float(total[0]), Metrics(ratio_gap=sync.largest(metrics.ratio_gap), **summed)
