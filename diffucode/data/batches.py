"""Rows on canvases, what is hidden of them, and where it is read.

A row of a batch, and what the objectives ask of it (p prompt, a answer, e end of text, . padding)::

    tokens      p p p p a a a a a e e e e .      the canvas behind the prompt is filled with e
    masked      p p p p a _ a _ _ e _ e e .      each canvas position is hidden with probability t and
                          ^   ^ ^   ^            predicted from all others (LLaDA)
      shifted           ^   ^ ^   ^              the same, read one column earlier (Dream, DiffuCoder)
    frontier    p p p p a a _ _ _ _ _ e _ .      nearly all is hidden behind a random point of the answer:
                                                 what a decoder meets that fills from the left
    causal      p p p p a a a a a e              answer and one e, each predicted from its left
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from diffucode.data.packed import Packed
from diffucode.errors import ConfigError

Objective = Literal["diffusion", "adapt", "ar"]
Weighting = Literal["bound", "clipped", "even", "near"]
"""Weight of a position that is hidden with probability t. ``bound``: 1/t, and the loss is LLaDA's bound on
-log p a position (its eq. 3). ``clipped``: 1/max(t, ``LEAST_TIME``), scaled to the same sum of weights;
without the few large ones the gradient is steadier. ``even``: the mean over a batch's hidden ones. ``near``:
by what is known around it, half of p (1 - p)^(d - 1) for each known position at a distance of d, prompt
included (CART, Dream's context-adaptive weights), scaled to the same sum in each row."""
LEAST_TIME = 0.2
NEAR = 0.3
"""The p of ``near``: the nearest six known positions on a side give nine tenths of what that side can."""
BEHIND = 0.7
"""Behind the point of a ``frontier`` row, a position is hidden with a probability of this to 1."""
POOL = 16
"""Batches that are drawn together, so that rows of a batch can have similar lengths."""


class Batch(NamedTuple):
    """Rows, and the positions to score: the loss is the sum of weight x cross-entropy."""

    tokens_BL: Tensor
    real_BL: Tensor
    row_N: Tensor
    col_N: Tensor
    """Where the logits are read, which is not always where the target stands."""
    target_N: Tensor
    weight_N: Tensor


class SpecialIds(NamedTuple):
    end: int
    mask: int
    pad: int


class Batches:
    """The batch of any step: a pure function of the arguments, the data and the step."""

    def __init__(
        self,
        data: Packed,
        ids: SpecialIds,
        *,
        objective: Objective,
        weighting: Weighting,
        batch: int,
        rows: int,
        full_canvas: float,
        frontier: float,
        seed: int,
    ) -> None:
        """``batch`` rows a step over all processes, ``rows`` of them at a time.

        ``full_canvas`` is the share of rows with their whole canvas; the others get a random width
        between answer and canvas. ``frontier`` is the share of rows with nothing hidden before a random
        point of the answer, and nearly everything behind it; they have no time t, so only the
        weightings ``even`` and ``near`` know what they weigh.
        """
        if frontier and weighting in ("bound", "clipped"):
            raise ConfigError(
                f"frontier={frontier} with weighting={weighting}: these rows have no time to weigh "
                "them by; take weighting=near or even, or frontier=0"
            )
        if len(data) < batch:
            raise ConfigError(
                f"problems: {len(data)} examples fit, which is less than batch={batch}"
            )
        self.data, self.ids = data, ids
        self.objective, self.weighting = objective, weighting
        self.batch, self.rows, self.full_canvas = batch, rows, full_canvas
        self.frontier, self.seed = frontier, seed
        self.per_epoch = len(data) // batch
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, step: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """The rows rank, rank + world, ... of the step; weights are of the whole batch."""
        width_n, plan = self._epoch(step // self.per_epoch)
        chosen_B = plan[step % self.per_epoch]
        mine = np.arange(rank, self.batch, world)
        parts = [mine[i : i + self.rows] for i in range(0, len(mine), self.rows)]
        rows = [[self.data.row(n) for n in chosen_B[part]] for part in parts]
        prompt_B, answer_B = self.data.prompt_n[chosen_B], self.data.answer_n[chosen_B]
        if self.objective == "ar":
            targets = int((answer_B + 1).sum())
            return [
                causal_batch(own, prompt_B[part], targets, self.ids)
                for own, part in zip(rows, parts, strict=True)
            ]
        width_B = width_n[chosen_B]
        hide_BC, weight_BC = self._masks(step, width_B, answer_B)
        shift = self.objective == "adapt"
        return [
            masked_batch(
                own, prompt_B[part], width_B[part], hide_BC[part], weight_BC[part], self.ids, shift
            )
            for own, part in zip(rows, parts, strict=True)
        ]

    def _masks(
        self, step: int, width_B: np.ndarray, answer_B: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is hidden of each canvas, and how much a hidden position weighs, both ``[B, C]``."""
        rng = np.random.default_rng([self.seed, 2, step])
        time_B = stratified(rng, self.batch)
        column_C = np.arange(self.data.canvas_n.max())
        noise_BC = rng.random((self.batch, len(column_C)))
        in_front_B = rng.random(self.batch) < self.frontier
        point_B = np.where(in_front_B, rng.integers(0, answer_B + 1), 0)
        time_B = np.where(in_front_B, BEHIND + (1 - BEHIND) * time_B, time_B)
        inside_BC = column_C < width_B[:, None]
        hide_BC = (noise_BC < time_B[:, None]) & inside_BC & (column_C >= point_B[:, None])
        if self.weighting == "even":
            return hide_BC, np.full(hide_BC.shape, 1 / max(1, hide_BC.sum()))
        if self.weighting == "near":
            return hide_BC, nearness(hide_BC, inside_BC & ~hide_BC) / self.batch
        if self.weighting == "clipped":
            time_B = clipped(time_B)
        weight_B = 1 / (self.batch * time_B * width_B)
        return hide_BC, np.broadcast_to(weight_B[:, None], hide_BC.shape)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """``_draw_epoch``, kept for the steps of this epoch and the next."""
        if epoch not in self._epochs:
            self._epochs = {e: drawn for e, drawn in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._draw_epoch(epoch)
        return self._epochs[epoch]

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Canvas widths ``[n]``, and the examples in the order of the epoch ``[steps, batch]``."""
        data = self.data
        rng = np.random.default_rng([self.seed, 1, epoch])
        width_n = rng.integers(data.answer_n + 1, data.canvas_n + 1)
        width_n = np.where(rng.random(len(data)) < self.full_canvas, data.canvas_n, width_n)
        total_n = data.prompt_n + (data.answer_n if self.objective == "ar" else width_n)
        return width_n, epoch_order(rng, total_n, self.batch)


class Steps(Dataset[list[Batch]]):
    """A process' rows of each step's batch, by its number: what torch's data loader can make ahead."""

    def __init__(self, batches: Batches, rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def __getitem__(self, step: int) -> list[Batch]:
        return [padded(part) for part in self.batches.at(step, self.rank, self.world)]


def epoch_order(rng: np.random.Generator, length_n: np.ndarray, batch: int) -> np.ndarray:
    """Indices ``[steps, batch]``, each at most once; fewer than a batch of them are left over.

    Rows of a batch have similar lengths: pools of batches are sorted, then their batches mixed.
    """
    size, many = POOL * batch, len(length_n)
    order = rng.permutation(many)[: many // batch * batch]
    pools = [order[i : i + size] for i in range(0, len(order), size)]
    pools = [pool[np.argsort(length_n[pool], kind="stable")] for pool in pools]
    return np.concatenate([rng.permutation(pool.reshape(-1, batch)) for pool in pools])


def stratified(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Times in (0, 1], each uniform, that together cover it evenly: the variance of 1/t is lower."""
    return rng.permutation(1 - (np.arange(rows) + rng.random()) / rows)


def annealed(length: int, share: float, seed: int, step: int) -> Tensor:
    """Who sees whom between causal and full, bool ``[length, length]``.

    The left and itself always, and each column to the right with probability ``share``: one draw for
    all rows and heads, a pure function of (seed, step) (DiffuLLaMA, Gong et al. 2025, section 3.2)::

        # . # .
        # # . .
        # # # #
        # # # #
    """
    rng = np.random.default_rng([seed, 3, step])
    see_LL = np.tri(length, dtype=bool) | (rng.random((length, length)) < share)
    return torch.from_numpy(see_LL)


def clipped(time_B: np.ndarray) -> np.ndarray:
    """What the weighting ``clipped`` takes for the times: the weights 1/t sum to as much, expected."""
    scale = 1 - LEAST_TIME / 2  # E[t / max(t, least)]
    taken_B: np.ndarray = np.maximum(time_B, LEAST_TIME) * scale
    return taken_B


def nearness(hidden_BC: np.ndarray, known_BC: np.ndarray) -> np.ndarray:
    """The weights ``near`` of the hidden positions ``[B, C]``: they sum to 1 in a row that has any, and
    are 0 elsewhere. Everything before column 0 is known."""
    column_C = np.arange(hidden_BC.shape[1])
    far_CC = np.abs(column_C[:, None] - column_C)
    from_each_CC = 0.5 * NEAR * (1 - NEAR) ** np.maximum(far_CC - 1.0, 0)
    from_prompt_C = 0.5 * (1 - NEAR) ** column_C
    weight_BC = np.where(hidden_BC, known_BC @ from_each_CC + from_prompt_C, 0)
    weight_BC /= np.maximum(weight_BC.sum(1, keepdims=True), np.finfo(float).tiny)
    return weight_BC


def masked_batch(
    rows: Sequence[np.ndarray],
    prompt_B: np.ndarray,
    width_B: np.ndarray,
    hide_BC: np.ndarray,
    weight_BC: np.ndarray,
    ids: SpecialIds,
    shift: bool,
) -> Batch:
    """Masked diffusion: each hidden canvas position is predicted, with its weight.

    With ``shift`` it is read one column earlier, except for the first column of a row, which has
    none and reads its own.
    """
    length = int((prompt_B + width_B).max())
    tokens_BL = np.full((len(rows), length), ids.pad)
    hidden_BL = np.zeros((len(rows), length), dtype=bool)
    real_BL = np.arange(length) < (prompt_B + width_B)[:, None]
    for b, row in enumerate(rows):
        end = prompt_B[b] + width_B[b]
        tokens_BL[b, : len(row)] = row
        tokens_BL[b, len(row) : end] = ids.end
        hidden_BL[b, prompt_B[b] : end] = hide_BC[b, : width_B[b]]
    row_N, col_N = hidden_BL.nonzero()
    return batch_of(
        np.where(hidden_BL, ids.mask, tokens_BL),
        real_BL,
        row_N,
        np.maximum(col_N - shift, 0),
        tokens_BL[hidden_BL],
        weight_BC[row_N, col_N - prompt_B[row_N]],
    )


def causal_batch(
    rows: Sequence[np.ndarray], prompt_B: np.ndarray, targets: int, ids: SpecialIds
) -> Batch:
    """Next-token prediction of the answer and one end-of-text, mean over ``targets`` tokens."""
    length_B = np.array([len(row) for row in rows])
    tokens_BL = np.full((len(rows), int(length_B.max()) + 1), ids.pad)
    for b, row in enumerate(rows):
        tokens_BL[b, : len(row)] = row
        tokens_BL[b, len(row)] = ids.end
    column_L = np.arange(tokens_BL.shape[1])
    real_BL = column_L <= length_B[:, None]
    row_N, col_N = (real_BL & (column_L >= prompt_B[:, None])).nonzero()
    target_N = tokens_BL[row_N, col_N]
    return batch_of(
        tokens_BL, real_BL, row_N, col_N - 1, target_N, np.full(len(row_N), 1 / targets)
    )


def padded(batch: Batch) -> Batch:
    """The same rows and loss in one of few shapes: L a multiple of 8, N of 64.

    Kernels of bfloat16 products are made at their first use for every shape, which costs about as much
    as using them. An added position has weight 0.
    """
    more_L, more_N = -batch.tokens_BL.shape[1] % 8, -len(batch.row_N) % 64
    more = (more_L, more_L, more_N, more_N, more_N, more_N)
    return Batch._make(F.pad(x, (0, n)) for x, n in zip(batch, more, strict=True))


def batch_of(*arrays: np.ndarray) -> Batch:
    """A batch from its arrays."""
    *integers, weight_N = map(torch.from_numpy, arrays)
    return Batch._make([*integers, weight_N.float()])
