"""Batches of windows of text corpora, for masked diffusion without prompts (see ``corpus`` for windows).

Rows of a step, and what is asked of them (d token, e end of a document, _ hidden, . no column)::

    most rows            d d _ d e _ _ d e d _       each position is hidden with the row's probability t
    a share ``short``    d _ _ d e .                 cut at a random length (LLaDA)
    a share ``clean``    d d d d e d _ d e _ _       nothing is hidden before a random point

A hidden position weighs as in ``answers``, with all columns that may be hidden for an answer. A model that
is read one column earlier has nothing to read the first column from: it may be hidden, but is not scored.

Nothing is kept between steps. Which windows a step has is known from the number of rows that each source
gave before it, which is a table, and from a permutation for each of a source's epochs: a run that goes on
reads what it needs and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from diffucode.data.answers import Normaliser, Part, part_of, shared, timed
from diffucode.data.batches import annealed, batch_of, stratified
from diffucode.data.mixture import Mixture

TimeWeighting = Literal["bound", "clipped", "even"]


class Windows:
    """The windows of one source: each once in every epoch, in an order that the seed draws."""

    def __init__(self, token_T: np.ndarray, length: int, seed: int, number: int) -> None:
        """``token_T`` has at least one window; ``number`` is the source's place in the mixture."""
        self.token_T, self.length, self.seed, self.number = token_T, length, seed, number
        self._order = lru_cache(maxsize=2)(self._draw)

    def __len__(self) -> int:
        return len(self.token_T) // self.length

    def row(self, n: int) -> np.ndarray:
        """The ``n``-th window that is asked of this source, int64 ``[L]``."""
        epoch, place = divmod(n, len(self))
        start = int(self._order(epoch)[place]) * self.length
        return self.token_T[start : start + self.length].astype(np.int64)

    def _draw(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 8, self.number, epoch])
        return rng.permutation(np.arange(len(self), dtype=np.uint32))


class WindowBatches:
    """The batch of any step: a pure function of the arguments, the tokens and the step."""

    def __init__(
        self,
        sources: Sequence[Windows],
        share_K: np.ndarray,
        *,
        mask: int,
        shift: bool,
        length: int,
        weighting: TimeWeighting,
        normaliser: Normaliser,
        least_time: float,
        short: float,
        clean: float,
        anneal: int,
        steps: int,
        batch: int,
        rows: int,
        seed: int,
    ) -> None:
        """``batch`` rows a step over all processes, ``rows`` of them at a time. ``shift``: the model is read
        one column earlier. Times are uniform between ``least_time`` and 1. Attention is causal before the
        first step and full from the step ``anneal`` on."""
        self.sources, self.length = sources, length
        self.mixture = Mixture(share_K, batch, steps, seed)
        self.mask, self.shift = mask, shift
        self.weighting, self.normaliser, self.least_time = weighting, normaliser, least_time
        self.short, self.clean, self.anneal = short, clean, anneal
        self.batch, self.rows, self.seed = batch, rows, seed

    def at(self, step: int, rank: int = 0, world: int = 1) -> list[Part]:
        """The rows rank, rank + world, ... of the step; weights are of the whole batch."""
        source_B, nth_B = self.mixture.at(step)
        length_B, prefix_B, hide_BL, weight_BL = self._masks(step)
        see_LL = None
        if step + 1 < self.anneal:
            see_LL = annealed(self.length, (step + 1) / self.anneal, self.seed, step)
        found = []
        for start in range(rank, self.batch, world * self.rows):
            own = np.arange(start, self.batch, world)[: self.rows]
            longest = length_B[own].max()
            tokens_BL = np.stack([self.sources[source_B[b]].row(nth_B[b]) for b in own])
            tokens_BL, hide = tokens_BL[:, :longest], hide_BL[own, :longest]
            row_N, col_N = hide.nonzero()
            made = batch_of(
                np.where(hide, self.mask, tokens_BL),
                np.arange(longest) < length_B[own, None],
                row_N,
                col_N,
                tokens_BL[hide],
                weight_BL[own][row_N, col_N],
            )
            found.append(part_of(made, prefix_B[own], causal=False)._replace(see_LL=see_LL))
        return found

    def figures(self, step: int) -> dict[str, float]:
        """What ``step`` steps have read: tokens, and the epochs of the source that is repeated most."""
        epochs = self.mixture.before_SK[step] / [len(source) for source in self.sources]
        return {"tokens": float(step * self.batch * self.length), "epoch": float(epochs.max())}

    def _masks(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Lengths and clean beginnings ``[B]``, and what is hidden and weighs what ``[B, L]``."""
        rng = np.random.default_rng([self.seed, 7, step])
        time_B = self.least_time + (1 - self.least_time) * stratified(rng, self.batch)
        cut_B, begun_B = rng.random((2, self.batch)) < [[self.short], [self.clean]]
        length_B = np.where(cut_B, rng.integers(2, self.length + 1, self.batch), self.length)
        prefix_B = np.where(begun_B, rng.integers(0, length_B), 0)
        column_L = np.arange(self.length)
        open_BL = (column_L >= prefix_B[:, None]) & (column_L < length_B[:, None])
        hide_BL = open_BL & (rng.random(open_BL.shape) < time_B[:, None])
        scored_BL = open_BL & (column_L >= self.shift)
        target_BL = hide_BL & scored_BL
        each_B = shared(scored_BL.sum(1), int(target_BL.sum()), self.normaliser)
        return (
            length_B,
            prefix_B,
            hide_BL,
            timed(target_BL, time_B, self.weighting) * each_B[:, None],
        )
