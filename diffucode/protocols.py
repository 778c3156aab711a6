"""The seams between the floors: what a decoder sees of a model, and what a policy sees of a step.

Shape suffixes, here and everywhere: B rows of a canvas, L its columns, N asked positions, M positions
read a second time, V vocabulary, K retained top logits. ``[N]`` means the asked positions of all rows
in the order of the ask.

A decoding step in one picture::

    Engine ── canvas, ask_N ──> Denoiser ── fp32 logits of a chunk, [n, V] ──> readout ──> Tree[N]
                                   │                                                        │
                                   └──── logits of M of the same positions <── then ────────┘

The denoiser owns everything that is peculiar to a model (read-out shift, attention masks, chunks of
the head); the decoder owns everything that is a choice (temperature, truncation, order, schedule).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffucode.decoding.canvas import Canvas

Tree = dict[str, Tensor]
"""Named tensors whose first dimension is the asked positions."""

Readout = Callable[[Tensor, slice], Tree]
"""``readout(logits_nV, where)``: float32 logits of the asked positions ``where`` (a slice of 0..N) to a
tree of ``[n, ...]`` tensors. Pure and row-wise: the chunking is the denoiser's business and must not
change a result. It may overwrite ``logits_nV`` unless there is a second look, which may be given the
same ones."""


class Reread(NamedTuple):
    """A second look at some of the positions that were just read, in the same forward pass."""

    index_M: Tensor
    """Which of the N asked positions, int64 on the denoiser's device."""
    readout: Callable[[Tensor], Tree]
    """Float32 logits ``[M, V]`` of those positions, in that order, to the tree that is returned."""


Then = Callable[[Tree], Reread]


@dataclass(frozen=True)
class Positions:
    """The positions a model is asked about: parallel indices into a ``[B, L]`` canvas.

    The host copies let a denoiser plan its shapes without waiting for the device.
    """

    row: np.ndarray
    col: np.ndarray
    row_N: Tensor
    col_N: Tensor
    lengths: np.ndarray | None = None
    """Real columns of each canvas row, where rows start at column 0; None: look at ``real_BL``."""

    @classmethod
    def of(
        cls,
        row: np.ndarray,
        col: np.ndarray,
        device: torch.device | str = "cpu",
        lengths: np.ndarray | None = None,
    ) -> Positions:
        """Positions from host indices (any integer type, equal lengths)."""
        row, col = row.astype(np.int64), col.astype(np.int64)
        both = torch.from_numpy(np.stack([row, col])).to(device, non_blocking=True)
        return cls(row, col, both[0], both[1], lengths)

    def __len__(self) -> int:
        return len(self.row)


class Cache(Protocol):
    """What a denoiser remembers of the columns it has read, row by row."""

    def take(self, rows: Sequence[int]) -> Cache:
        """The cache of these rows, in this order."""

    def cat(self, other: Cache) -> Cache:
        """This cache's rows followed by the other's."""


class Denoiser(Protocol):
    """A model as decoders see it: logits of the token *at* each asked position."""

    @property
    def mask_id(self) -> int | None:
        """The id of an open position; None for a purely autoregressive model."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def terminator_ids(self) -> tuple[int, ...]:
        """Ids that end a completion (end of text, end of turn, diffusion pad)."""

    @property
    def causal(self) -> bool:
        """Whether a position sees only what stands to its left."""

    @property
    def device(self) -> torch.device: ...

    def empty_cache(self, rows: int) -> Cache | None:
        """A cache that has read nothing yet; None when this model cannot use one exactly."""

    def __call__(
        self,
        canvas: Canvas,
        ask: Positions,
        readout: Readout,
        *,
        then: Then | None = None,
        cache: Cache | None = None,
    ) -> Tree:
        """Read the asked positions.

        Without ``then`` the concatenated readouts, a tree of ``[N, ...]``; with it, the tree of the
        second look, ``[M, ...]``. ``cache=None`` is exact. A cache is updated in place.
        """


# --- policies ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What a temperature policy may look at: per asked position, and per row of its state."""

    row_N: Tensor
    """Row of the policy's state each position belongs to, int64."""
    offset_N: Tensor
    """Position relative to the first position of the answer, int64."""
    entropy_N: Tensor
    """Raw entropy of the unedited model, nats."""
    logsumexp_N: Tensor
    """Log-normaliser of the edited logits at temperature 1."""
    top_NK: Tensor
    """The K largest edited logits, descending."""
    top_id_NK: Tensor
    """Their token ids; equal logits in ascending id."""
    vocab_size: int
    step_B: Tensor
    """The row's own step, int64."""
    progress_B: Tensor
    """Share of the row's positions already committed, u in [0, 1)."""
    length_B: Tensor
    """Positions the row has to fill in all, int64."""
    region_N: Tensor | None = None
    """Region label of each position, if the canvas carries labels."""
    rl_step: int = 0
    """Training step of the policy that is being sampled (0 outside training)."""


@dataclass(frozen=True)
class Control:
    """What a temperature policy asks of the sampler at each position."""

    tau_N: Tensor
    """Temperature, float32, >= 0; below 1e-5 it is 0."""
    max_surprise_N: Tensor | None = None
    """Keep only tokens whose raw surprise -log2 p is at most this many bits (at least one token)."""
    top_k_N: Tensor | None = None
    """Keep only this many tokens, int64 >= 1."""


@dataclass(frozen=True)
class Commits:
    """Committed positions as a policy observes them; discarded draws never appear."""

    row_M: Tensor
    """Row of the policy's state."""
    where_M: Tensor
    """Bool: entries that really are commits (the others are padding and must not count)."""
    offset_M: Tensor
    token_M: Tensor
    raw_logprob_M: Tensor
    """ln p of the token under the unedited model."""
    behaviour_logprob_M: Tensor
    """ln q of the token under what it was drawn from."""
    entropy_M: Tensor
    tau_M: Tensor
    region_M: Tensor | None = None


class State(Protocol):
    """Per-row memory of a policy."""

    def take(self, rows_B: Tensor) -> Self: ...

    def cat(self, other: Self) -> Self: ...


class TemperaturePolicy(Protocol):
    """Chooses the temperature of every draw. Frozen dataclasses: config and behaviour in one.

    No policy reads its neighbours: row b of the state and of every result depends on row b alone.
    """

    @property
    def retained(self) -> int:
        """How many of the largest logits ``View.top_NK`` must hold."""

    def start(self, rows: int, device: torch.device) -> State:
        """The state of fresh rows."""

    def control(self, view: View, state: State) -> Control: ...

    def observe(self, commits: Commits, state: State) -> State:
        """The state after a step; called once a step with that step's commits."""


class LogitEdit(Protocol):
    """Changes logits before anything else looks at them (bans, biases, penalties)."""

    def __call__(self, logits_nV: Tensor, context: EditContext) -> Tensor:
        """Edited logits; may work in place."""


@dataclass(frozen=True)
class EditContext:
    """Where the rows of an edit stand."""

    row_n: Tensor
    """Canvas row of each line of logits."""
    offset_n: Tensor
    """Position relative to the answer."""
    canvas: Canvas
