"""Batches for instruction tuning: clean prompts, answers that are hidden at random or read to the left.

A row (p prompt, a answer, e its end, f fill, . no column), and what is learnt from it::

    tokens      p p p p a a a e f f f .
    diffusion   p p p p a _ _ e _ f _ .      each position behind the prompt is hidden with the row's
                          ^ ^   ^   ^        probability t and predicted from all others; fill is scored
                          ^ ^                or, without ``score_fill``, only hidden
    causal      p p p p a a a e              answer and end, each predicted from its left
                        ^ ^ ^ ^

A hidden position weighs u / n. u is the *weighting*, which sums to the row's scored positions (expected;
for ``even``, to t times as many), and n is the *normaliser*::

    bound     1/t                                        answer   rows of the batch x scored positions of
    clipped   1/max(t, 0.2), scaled to the same sum               the row (LLaDA's SFT)
    even      1                                          batch    scored positions of the batch
    near      by what is known around it (CART)          masked   hidden and scored positions of the batch
                                                                  (DiffuLLaMA)

so ``bound`` by ``answer`` is the mean over rows of a bound on -log p a position. The sums are over all
rows of a step, whoever computes them: micro-batches and processes add up to the same loss.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffucode.data.batches import (
    Batch,
    SpecialIds,
    Weighting,
    causal_batch,
    clipped,
    epoch_order,
    masked_batch,
    nearness,
    stratified,
)
from diffucode.data.packed import Packed
from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError
from diffucode.protocols import Positions

Width = Literal["answer", "batch", "length"] | int
"""Positions behind a prompt. ``answer``: the answer and its end. The others are filled up: ``batch`` to the
longest row of the step (LLaDA), ``length`` to the length that all rows have (DiffuCoder), a number to so
many (models that decode a canvas of one size)."""
Normaliser = Literal["answer", "batch", "masked"]


class Ids(NamedTuple):
    """Special tokens."""

    end: int
    """Behind every answer."""
    fill: int
    """Behind that, up to the width."""
    mask: int | None
    """None: the model reads to the left."""


class Part(NamedTuple):
    """Rows of a step: its loss is the sum over all parts of weight x cross-entropy."""

    canvas: Canvas
    """Hidden positions are open."""
    ask: Positions
    """Where the N targets stand."""
    target_N: Tensor
    weight_N: Tensor
    """Float32, never 0."""
    see_LL: Tensor | None = None
    """Who sees whom, where attention is not yet what it will be (``batches.annealed``)."""

    def to(self, device: torch.device | str) -> Part:
        ask = Positions.of(self.ask.row, self.ask.col, device, self.ask.lengths)
        see_LL = None if self.see_LL is None else self.see_LL.to(device)
        canvas, target_N = self.canvas.to(device), self.target_N.to(device)
        return Part(canvas, ask, target_N, self.weight_N.to(device), see_LL)


def room(width: Width, prompt: int, answer: int, length: int) -> int | None:
    """Positions that an answer of so many tokens, its end included, may be given; None: it does not fit."""
    wanted = width if isinstance(width, int) else answer
    if answer > wanted or prompt + wanted > length:
        return None
    return length - prompt if width in ("batch", "length") else wanted


class AnswerBatches:
    """The batch of any step: a pure function of the arguments, the data and the step."""

    def __init__(
        self,
        data: Packed,
        ids: Ids,
        *,
        width: Width,
        score_fill: bool,
        weighting: Weighting,
        normaliser: Normaliser,
        least_time: float,
        batch: int,
        rows: int,
        seed: int,
    ) -> None:
        """``data`` holds answers without their ends, and the ``room`` of each. ``batch`` rows a step over
        all processes, ``rows`` of them at a time. Times are uniform between ``least_time`` and 1."""
        if len(data) < batch:
            raise ConfigError(f"batch {batch}: only {len(data)} examples can be used")
        self.data, self.ids, self.width = data, ids, width
        self.score_fill, self.weighting, self.normaliser = score_fill, weighting, normaliser
        self.least_time, self.batch, self.rows, self.seed = least_time, batch, rows, seed
        self.per_epoch = len(data) // batch
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def at(self, step: int, rank: int = 0, world: int = 1) -> list[Part]:
        """The rows rank, rank + world, ... of the step; weights are of the whole batch."""
        chosen_B = self._epoch(step // self.per_epoch)[step % self.per_epoch]
        prompt_B, answer_B = self.data.prompt_n[chosen_B], self.data.answer_n[chosen_B] + 1
        mine = np.arange(rank, self.batch, world)
        parts = [mine[i : i + self.rows] for i in range(0, len(mine), self.rows)]
        rows = [[self.data.row(n) for n in chosen_B[part]] for part in parts]
        end, fill, mask = self.ids
        if mask is None:
            each_B = shared(answer_B, int(answer_B.sum()), self.normaliser)
            weight_B = torch.from_numpy(each_B).float()
            return [
                self._read_left(own, prompt_B[part], weight_B[part])
                for own, part in zip(rows, parts, strict=True)
            ]
        width_B = self.data.canvas_n[chosen_B]
        if self.width == "batch":
            width_B = (prompt_B + answer_B).max() - prompt_B
        hide_BC, weight_BC = self._masks(step, width_B, answer_B)
        ids, found = SpecialIds(fill, mask, fill), []
        for own, part in zip(rows, parts, strict=True):
            ended = [np.append(row, end) for row in own]
            plan = width_B[part], hide_BC[part], weight_BC[part]
            made = masked_batch(ended, prompt_B[part], *plan, ids, shift=False)
            found.append(part_of(made, prompt_B[part], causal=False))
        return found

    def figures(self, step: int) -> dict[str, float]:
        """How far ``step`` steps have come."""
        return {"epoch": step / self.per_epoch}

    def _read_left(self, rows: list[np.ndarray], prompt_B: np.ndarray, weight_B: Tensor) -> Part:
        end = self.ids.end
        made = causal_batch(rows, prompt_B, 1, SpecialIds(end, end, self.ids.fill))
        # It says where to read, one column before a target; a denoiser is asked where the target stands.
        made = made._replace(col_N=made.col_N + 1, weight_N=weight_B[made.row_N])
        return part_of(made, prompt_B, causal=True)

    def _masks(
        self, step: int, width_B: np.ndarray, answer_B: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is hidden behind each prompt, and what it weighs (0: hidden, not scored), ``[B, C]``."""
        rng = np.random.default_rng([self.seed, 5, step])
        time_B = self.least_time + (1 - self.least_time) * stratified(rng, self.batch)
        column_C = np.arange(width_B.max())
        inside_BC = column_C < width_B[:, None]
        hide_BC = (rng.random(inside_BC.shape) < time_B[:, None]) & inside_BC
        size_B = width_B if self.score_fill else answer_B
        target_BC = hide_BC & (column_C < size_B[:, None])
        if self.weighting == "near":
            weight_BC = nearness(target_BC, inside_BC & ~hide_BC) * size_B[:, None]
        else:
            weight_BC = timed(target_BC, time_B, self.weighting)
        each_B = shared(size_B, int(target_BC.sum()), self.normaliser)
        return hide_BC, weight_BC * each_B[:, None]

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        """Examples in the order of the epoch ``[steps, batch]``."""
        filled = self.width not in ("answer", "batch")
        length_n = self.data.prompt_n + (self.data.canvas_n if filled else self.data.answer_n)
        return epoch_order(np.random.default_rng([self.seed, 6, epoch]), length_n, self.batch)


def timed(target_BC: np.ndarray, time_B: np.ndarray, weighting: Weighting) -> np.ndarray:
    """u of each target, by the time of its row ``[B, C]``; 0 elsewhere. Not for ``near``."""
    taken_B = {"bound": time_B, "clipped": clipped(time_B)}.get(weighting)
    weight_BC: np.ndarray = target_BC / (1.0 if taken_B is None else taken_B[:, None])
    return weight_BC


def shared(size_B: np.ndarray, targets: int, normaliser: Normaliser) -> np.ndarray:
    """1/n for each row ``[B]``; ``size_B`` are its scored positions, ``targets`` the hidden ones of all."""
    if normaliser == "answer":
        return 1 / (len(size_B) * size_B)
    total = size_B.sum() if normaliser == "batch" else max(1, targets)
    return np.full(len(size_B), 1 / total)


def part_of(batch: Batch, prompt_B: np.ndarray, causal: bool) -> Part:
    """The rows as a denoiser takes them; ``prompt_B`` is where each answer begins."""
    tokens_BL, real_BL, row_N, col_N, target_N, weight_N = batch
    (rows, length), open_BL = tokens_BL.shape, torch.zeros_like(real_BL)
    if not causal:
        open_BL[row_N, col_N] = True
    canvas = Canvas(
        tokens_BL=tokens_BL,
        given_BL=real_BL & ~open_BL,
        open_BL=open_BL,
        real_BL=real_BL,
        position_BL=torch.arange(length).expand(rows, length).contiguous(),
        key_B2=torch.zeros(rows, 2, dtype=torch.long),
        start_B=torch.from_numpy(prompt_B),
    )
    scored = weight_N != 0
    row, col = row_N[scored].numpy(), col_N[scored].numpy()
    ask = Positions.of(row, col, lengths=real_BL.sum(1).numpy())
    return Part(canvas, ask, target_N[scored], weight_N[scored])
