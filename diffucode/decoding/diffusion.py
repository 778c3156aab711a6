"""One step of masked-diffusion decoding, for the rows that share a plan.

    read     logits of every asked position  ->  statistics, temperature, what the order looks at
    choose   statistics of all of them       ->  which positions this step commits
    sample   logits of the chosen positions  ->  their tokens, with full logging

Where the order does not look at draws and the schedule knows its count, ``sample`` sees the chosen
positions alone; otherwise tokens are drawn for all and the rest discarded. The noise belongs to
(row, position, step, token), so both ways commit the same tokens, bit for bit.

Everything here is tensor arithmetic of fixed shape: nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.order import Measured, measure, rank
from diffucode.decoding.plan import SamplingPlan
from diffucode.decoding.schedule import Candidates, Counted, DreamOrigin
from diffucode.protocols import Control, EditContext, State, Tree, View
from diffucode.sampling.draw import Noise, draw
from diffucode.sampling.noise import COLD, Purpose, uniform
from diffucode.sampling.summary import Softmax, Top, largest, softmax
from diffucode.sampling.truncation import cut

_CPU_BYTES = 8 << 20
"""Rows of logits are worked on in pieces of about this size on a CPU, to stay in its caches."""


class Chosen(NamedTuple):
    """What a step commits. Entries with ``where`` False are padding of a count unknown beforehand."""

    index_M: Tensor
    """Which of the asked positions."""
    where_M: Tensor
    rank_M: Tensor
    order_logprob_M: Tensor


@dataclass(frozen=True)
class Asked:
    """The N asked positions of R rows that share a plan; ``local_N`` counts those rows from 0."""

    plan: SamplingPlan
    state: State
    canvas: Canvas
    rows: int
    row_N: Tensor
    col_N: Tensor
    local_N: Tensor
    offset_N: Tensor
    """Position relative to the answer."""
    region_N: Tensor | None
    noise: Noise
    step_R: Tensor
    progress_R: Tensor
    length_R: Tensor
    counts: np.ndarray | None
    """Commits of each row where the schedule knows them beforehand (host), else None."""
    late: bool
    """Tokens are drawn for the chosen positions alone, not by ``read``."""
    never: int | None
    rl_step: int

    def take(self, index: Tensor | slice) -> Asked:
        """The same rows, asked about fewer positions."""
        return replace(
            self,
            row_N=self.row_N[index],
            col_N=self.col_N[index],
            local_N=self.local_N[index],
            offset_N=self.offset_N[index],
            region_N=None if self.region_N is None else self.region_N[index],
            noise=Noise(*(part[index] for part in self.noise)),
        )


def read(asked: Asked, logits_nV: Tensor) -> Tree:
    """Statistics of asked positions from their float32 logits; with tokens unless drawn late."""
    return _in_pieces(_read, asked, logits_nV, {})


def sample(asked: Asked, logits_mV: Tensor, first: Tree) -> Tree:
    """The tree of ``read`` for these positions with their tokens drawn; logits are overwritten."""
    return _in_pieces(_sample, asked, logits_mV, first)


def choose(asked: Asked, tree: Tree) -> Chosen:
    """The positions this step commits, by the plan's order and schedule."""
    plan, device = asked.plan, asked.row_N.device
    shape = (asked.rows, asked.canvas.shape[1])
    at = (asked.local_N, asked.col_N)
    scores = plan.order(
        Measured(
            tree["log_top"],
            tree["log_second"],
            tree["order_entropy"],
            tree.get("log_drawn"),
            asked.offset_N,
        )
    )
    ranking = rank(
        scores,
        *at,
        shape,
        order=plan.order,
        temperature=plan.order_temperature,
        scale=plan.order_scale,
        ties=plan.ties,
        noise=asked.noise,
    )
    index_RL = torch.zeros(shape, dtype=torch.long, device=device)
    index_RL = index_RL.index_put(at, torch.arange(len(asked.row_N), device=device))
    if asked.counts is not None:
        row_M = np.repeat(np.arange(asked.rows), asked.counts)
        rank_M = np.concatenate([np.arange(count) for count in asked.counts])
        row, place = torch.from_numpy(np.stack([row_M, rank_M])).to(device, non_blocking=True)
        column_RL = torch.empty_like(index_RL).scatter_(
            1, ranking.rank_RL, torch.arange(shape[1], device=device).expand(shape)
        )
        col = column_RL[row, place]
        return Chosen(
            index_RL[row, col],
            torch.ones_like(row, dtype=torch.bool),
            place,
            ranking.logprob_RL[row, col],
        )
    assert not isinstance(plan.schedule, Counted)
    eligible_RL = torch.zeros(shape, dtype=torch.bool, device=device).index_put(
        at, torch.ones_like(asked.row_N, dtype=torch.bool)
    )

    def spread(x_N: Tensor) -> Tensor:
        return x_N.new_zeros(shape).index_put(at, x_N)

    accepted_RL = plan.schedule.accept(
        Candidates(
            eligible_RL,
            ranking.rank_RL,
            spread(tree["log_top"].exp()),
            spread(tree["order_entropy"]),
            spread(uniform(*asked.noise, Purpose.REVEAL, None)),
            asked.step_R,
        )
    )
    # the rank among those accepted: how many accepted positions rank before
    by_rank_RL = torch.zeros_like(index_RL).scatter_(1, ranking.rank_RL, accepted_RL.long())
    place_RL = (by_rank_RL.cumsum(1) - 1).gather(1, ranking.rank_RL)
    logprob_N = ranking.logprob_RL[at]
    if isinstance(plan.schedule, DreamOrigin):
        logprob_N = plan.schedule.probability(asked.step_R)[asked.local_N].log()
    return Chosen(
        torch.arange(len(asked.row_N), device=device), accepted_RL[at], place_RL[at], logprob_N
    )


def _in_pieces(
    work: Callable[[Asked, Tensor, Tree], Tree], asked: Asked, logits_nV: Tensor, first: Tree
) -> Tree:
    """Row-wise work in pieces that a cache holds; ``first`` is the tree of an earlier look, or empty."""
    n, vocab = logits_nV.shape
    size = n
    if logits_nV.device.type == "cpu":
        size = max(1, _CPU_BYTES // (vocab * logits_nV.element_size()))
    if size >= n:
        return work(asked, logits_nV, first)
    pieces = [
        work(
            asked.take(slice(i, i + size)),
            logits_nV[i : i + size],
            {name: value[i : i + size] for name, value in first.items()},
        )
        for i in range(0, n, size)
    ]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _edited(asked: Asked, logits_nV: Tensor) -> Tensor:
    if not asked.plan.edits:
        return logits_nV
    context = EditContext(asked.row_N, asked.offset_N, asked.canvas)
    z_nV = logits_nV.clone()
    for edit in asked.plan.edits:
        z_nV = edit(z_nV, context)
    return z_nV


def _read(asked: Asked, logits_nV: Tensor, _: Tree) -> Tree:
    plan = asked.plan
    ones_n = logits_nV.new_ones(len(logits_nV))
    raw = softmax(logits_nV, ones_n)
    z_nV = _edited(asked, logits_nV)
    edited = raw if z_nV is logits_nV else softmax(z_nV, ones_n)
    truncated = plan.confidence_truncated
    wanted = max(plan.temperature.retained, plan.truncation.retained if truncated else 2)
    top = largest(z_nV, wanted)
    view = View(
        row_N=asked.local_N,
        offset_N=asked.offset_N,
        entropy_N=raw.entropy_n,
        logsumexp_N=edited.logsumexp_n,
        top_NK=top.logit_nK,
        top_id_NK=top.id_nK,
        vocab_size=z_nV.shape[1],
        step_B=asked.step_R,
        progress_B=asked.progress_R,
        length_B=asked.length_R,
        region_N=asked.region_N,
        rl_step=asked.rl_step,
    )
    control = plan.temperature.control(view, asked.state)
    tree = {"logsumexp": raw.logsumexp_n, "entropy": raw.entropy_n, "tau": control.tau_N}
    if control.max_surprise_N is not None:
        tree["max_surprise"] = control.max_surprise_N
    if control.top_k_N is not None:
        tree["top_k"] = control.top_k_N

    if plan.confidence_temperature == 1.0:
        looked_at = edited
    elif plan.confidence_temperature is None:
        looked_at = softmax(z_nV, torch.where(control.tau_N < COLD, 1.0, control.tau_N))
    else:
        looked_at = softmax(z_nV, ones_n * plan.confidence_temperature)
    cut_n = _cut_for_order(asked, z_nV, looked_at, edited, top, control) if truncated else None
    log_top_n, log_second_n, entropy_n, log_total_n = measure(z_nV, looked_at, top, cut_n)
    tree |= {"log_top": log_top_n, "log_second": log_second_n, "order_entropy": entropy_n}
    if asked.late:
        return tree
    tree = _draw(asked, logits_nV, z_nV, tree)
    drawn_n = z_nV.gather(1, tree["token"][:, None])[:, 0]
    return tree | {"log_drawn": drawn_n / looked_at.tau_n - log_total_n}


def _cut_for_order(
    asked: Asked, z_nV: Tensor, looked_at: Softmax, edited: Softmax, top: Top, control: Control
) -> Tensor:
    return cut(
        z_nV,
        edited if asked.plan.truncation.temperature_last else looked_at,
        top,
        asked.plan.truncation,
        max_surprise_n=control.max_surprise_N,
        logsumexp_n=edited.logsumexp_n,
        top_k_n=control.top_k_N,
    )


def _sample(asked: Asked, logits_mV: Tensor, first: Tree) -> Tree:
    return _draw(asked, logits_mV, _edited(asked, logits_mV), first)


def _draw(asked: Asked, logits_nV: Tensor, z_nV: Tensor, tree: Tree) -> Tree:
    drawn = draw(
        z_nV,
        tree["tau"],
        asked.plan.truncation,
        asked.noise,
        max_surprise_n=tree.get("max_surprise"),
        top_k_n=tree.get("top_k"),
        never=asked.never,
    )
    raw_n = logits_nV.gather(1, drawn.token_n[:, None])[:, 0]
    return tree | {
        "token": drawn.token_n,
        "raw_logprob": raw_n - tree["logsumexp"],
        "behaviour_logprob": drawn.behaviour_logprob_n,
        "tempered_entropy": drawn.entropy_n,
    }
