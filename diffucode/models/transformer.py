"""A denoiser over a stock transformers causal language model.

::

    canvas ── mask id at open columns ──> body (full | causal | block-causal) ──> hidden_BLd
                                                                                      │
       asked (row, col) ── the column that predicts it ──> gather ──> hidden_Nd <─────┘
                                                                          │
                                                head, in chunks <─────────┘ ──> readout, then

Everything happens inside ``forward``, so the hooks of DDP and FSDP see it. Weights may be bf16;
logits are float32 before any score is made of them.

Models that descend from an autoregressive one (Dream, DiffuCoder) keep its *read-out shift*: the
token at a position is read from the hidden state of the real column before it. The first real
position of a row has none and reads its own.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffucode.decoding.canvas import Canvas, once_each
from diffucode.errors import CanvasError
from diffucode.models.attention import Attention
from diffucode.models.cache import KVCache
from diffucode.models.head import HEAD_BYTES, HeadLinear, chunk_rows, read_out
from diffucode.protocols import Cache, Positions, Readout, Then, Tree


class TransformerDenoiser(nn.Module):
    """``Denoiser`` over ``model``, a ``transformers`` causal LM with a plain linear head.

    ``mask_id`` is what open columns are fed, whatever the canvas holds there; a purely
    autoregressive model has none and is fed its first terminator (it only matters when the first
    position of a row is open, where that token plays the begin-of-text).
    """

    def __init__(
        self,
        model: Any,
        *,
        mask_id: int | None,
        terminator_ids: tuple[int, ...],
        readout_shift: bool,
        attention: str = "full",
        head_bytes: int = HEAD_BYTES,
    ) -> None:
        super().__init__()
        self.model = model
        self.attention = Attention.parse(attention)
        self.readout_shift = readout_shift
        self.mask_id = mask_id
        self.terminator_ids = terminator_ids
        self.vocab_size = int(model.config.get_text_config().vocab_size)
        self.calls = 0
        """Forward passes of the body so far."""
        self.rows_read = 0
        """Rows through the head so far."""
        self._open_id = next((i for i in (mask_id, *terminator_ids) if i is not None), 0)
        self._chunk = chunk_rows(self.vocab_size, head_bytes)
        self._layout: tuple[Tensor, bool, bool] | None = None
        # transformers 5.24 renamed the argument
        named = inspect.signature(model.base_model.forward).parameters
        self._cache_name = "cache" if "cache" in named else "past_key_values"
        if type(model.get_output_embeddings()) is nn.Linear:
            model.set_output_embeddings(HeadLinear.of(model.get_output_embeddings()))
        if getattr(model.config, "is_causal", True) != self.causal:
            model.config.is_causal = self.causal

    @property
    def causal(self) -> bool:
        return self.attention.kind == "causal"

    @property
    def device(self) -> torch.device:
        return next(iter(self.parameters())).device

    def empty_cache(self, rows: int) -> KVCache | None:
        """A cache for ``rows`` rows; None unless attention is causal and of the one exact kind."""
        return KVCache.empty(rows) if self.causal and _cacheable(self.model) else None

    def forward(
        self,
        canvas: Canvas,
        ask: Positions,
        readout: Readout,
        *,
        then: Then | None = None,
        cache: Cache | None = None,
        see_LL: Tensor | None = None,
    ) -> Tree:
        """See ``diffucode.protocols.Denoiser``.

        With a cache: one asked position for every row, in row order, rows starting at column 0, and
        everything to the left of an asked position committed. ``see_LL`` (training only, with torch's own
        attention): which column (the second axis) a column (the first) may see at all, over at least L
        columns; every column must see itself.
        """
        tokens_BL = torch.where(canvas.open_BL, self._open_id, canvas.tokens_BL)
        if cache is None:
            hidden_Nd = self._read(tokens_BL, canvas, ask, see_LL)
        else:
            assert isinstance(cache, KVCache), "a cache made by this denoiser's empty_cache"
            hidden_Nd = self._read_on(tokens_BL, ask, cache)
        return read_out(hidden_Nd, self._head, readout, then, self._chunk)

    def _head(self, hidden_nd: Tensor) -> Tensor:
        self.rows_read += len(hidden_nd)
        logits_nV: Tensor = self.model.get_output_embeddings()(hidden_nd)
        return logits_nV

    def _body(self, **inputs: Any) -> Tensor:
        self.calls += 1
        hidden_BLd: Tensor = self.model.base_model(**inputs).last_hidden_state
        return hidden_BLd

    # --- the whole canvas ----------------------------------------------------------------------

    def _read(
        self, tokens_BL: Tensor, canvas: Canvas, ask: Positions, see_LL: Tensor | None
    ) -> Tensor:
        """Hidden states ``[N, d]`` that predict the asked positions."""
        real_BL, position_BL = canvas.real_BL, canvas.position_BL
        padded, padded_left = self._padding(real_BL, ask)
        source_N = ask.col_N
        if self.readout_shift:
            source_N = _previous_real(real_BL)[ask.row_N, ask.col_N]
        if self.causal:
            width = int(ask.col.max()) + 1
            tokens_BL, real_BL = tokens_BL[:, :width], real_BL[:, :width]
            position_BL = position_BL[:, :width]
            padded = padded_left  # nobody looks to the right
        inputs: dict[str, Any] = {"input_ids": tokens_BL, "use_cache": False}
        if padded_left:
            inputs["position_ids"] = position_BL
        if padded or self.attention.kind == "block-causal" or see_LL is not None:
            inputs["attention_mask"] = self._mask(real_BL, position_BL, see_LL)
        return self._body(**inputs)[ask.row_N, source_N]

    def _mask(self, real_BL: Tensor, position_BL: Tensor, see_LL: Tensor | None) -> Tensor:
        if self.model.config._attn_implementation == "sdpa":
            mask_B1LL, length = self.attention.mask(real_BL, position_BL), real_BL.shape[1]
            return mask_B1LL if see_LL is None else mask_B1LL & see_LL[:length, :length]
        assert see_LL is None, "attention that is half open needs the implementation sdpa"
        return real_BL.long()  # other implementations build their own from the padding

    def _padding(self, real_BL: Tensor, ask: Positions) -> tuple[bool, bool]:
        """Whether any column, and whether any first column, is unreal.

        Where the asker does not say, looking costs a wait for the device, so it is done once per
        tensor: a canvas keeps its ``real_BL`` from step to step until its rows change.
        """
        if ask.lengths is not None:
            return bool((ask.lengths < real_BL.shape[1]).any()), False
        if self._layout is None or self._layout[0] is not real_BL:
            some, first = torch.stack([~real_BL.all(), ~real_BL[:, 0].all()]).tolist()
            self._layout = (real_BL, some, first)
        return self._layout[1:]

    # --- the columns not read yet --------------------------------------------------------------

    def _read_on(self, tokens_BL: Tensor, ask: Positions, cache: KVCache) -> Tensor:
        """Hidden states ``[B, d]``, feeding each row its new columns only.

        Rows with one new column run apart from rows with many: the prompt of a newly admitted row
        must not drag its neighbours through a long forward.
        """
        if not np.array_equal(ask.row, np.arange(len(cache.read_B))):
            raise CanvasError(
                f"a cached read asks for one position of each of its {len(cache.read_B)} rows, in "
                f"order; got rows {ask.row.tolist()}"
            )
        source_B = np.maximum(ask.col - 1, 0) if self.readout_shift else ask.col
        new_B = source_B + 1 - cache.read_B
        if new_B.min() < 1:
            row = int(new_B.argmin())
            raise CanvasError(
                f"row {row}, column {ask.col[row]}: the cache has already read past the column "
                "that predicts it; ask with cache=None"
            )
        one, many = np.flatnonzero(new_B == 1), np.flatnonzero(new_B > 1)
        if not len(one) or not len(many):
            return self._begin(tokens_BL, ask.col, new_B, cache)
        caches = [cache.take(one), cache.take(many)]
        hidden = [
            self._begin(tokens_BL[_index(rows, tokens_BL)], ask.col[rows], new_B[rows], part)
            for rows, part in zip((one, many), caches, strict=True)
        ]
        back = np.argsort(np.concatenate([one, many]))
        cache.become(caches[0].cat(caches[1]).take(back))
        return torch.cat(hidden)[_index(back, tokens_BL)]

    def _begin(
        self, tokens_BL: Tensor, asked_B: np.ndarray, new_B: np.ndarray, cache: KVCache
    ) -> Tensor:
        """``_extend``, but rows that have read nothing and begin alike are fed as one."""
        if cache.read_B.any():
            return self._extend(tokens_BL, asked_B, new_B, cache)
        fed_BQ = tokens_BL[:, : int(new_B.max())].cpu().numpy()
        rows, place_B = once_each(
            fed_Q[:new].tobytes() for fed_Q, new in zip(fed_BQ, new_B, strict=True)
        )
        if len(rows) == len(new_B):
            return self._extend(tokens_BL, asked_B, new_B, cache)
        once = KVCache.empty(len(rows))
        hidden_Ud = self._extend(
            tokens_BL[_index(rows, tokens_BL)], asked_B[rows], new_B[rows], once
        )
        cache.become(once.take(place_B))
        return hidden_Ud[_index(place_B, tokens_BL)]

    def _extend(
        self, tokens_BL: Tensor, asked_B: np.ndarray, new_B: np.ndarray, cache: KVCache
    ) -> Tensor:
        """Feed ``new_B`` columns of each row; returns each row's last hidden state, ``[B, d]``."""
        rows, width = len(new_B), int(new_B.max())
        column_BQ = cache.read_B[:, None] + np.arange(width)
        fed_BQ = np.arange(width) < new_B[:, None]
        column_BQ = np.minimum(column_BQ, tokens_BL.shape[1] - 1)
        position_BQ = _index(column_BQ, tokens_BL)
        inputs: dict[str, Any] = {
            "input_ids": tokens_BL.gather(1, position_BQ),
            "position_ids": position_BQ,
            self._cache_name: cache.past,
            "use_cache": True,
        }
        plain = width == 1 or not cache.valid_BW.shape[1]
        if not (plain and fed_BQ.all() and cache.valid_BW.all()):
            past_BQW = cache.valid_BW[:, None].repeat(width, 1)
            new_BQQ = np.tri(width, dtype=bool) & fed_BQ[:, None] | np.eye(width, dtype=bool)
            see_BQW = np.concatenate([past_BQW, new_BQQ], 2)
            inputs["attention_mask"] = _index(see_BQW, tokens_BL)[:, None]
        hidden_BQd = self._body(**inputs)
        # Kept is what is committed: neither the chunk's padding nor an asked column that was fed.
        kept_BQ = column_BQ < asked_B[:, None]
        cache.valid_BW = np.concatenate([cache.valid_BW, kept_BQ], 1)
        cache.read_B = np.minimum(cache.read_B + new_B, asked_B)
        last_B = _index(new_B - 1, tokens_BL)
        return hidden_BQd[torch.arange(rows, device=hidden_BQd.device), last_B]


def _previous_real(real_BL: Tensor) -> Tensor:
    """For each column the nearest real one before it, or itself where there is none: ``[B, L]``."""
    column_L = torch.arange(real_BL.shape[1], device=real_BL.device)
    upto_BL = torch.where(real_BL, column_L, -1).cummax(1).values
    before_BL = nn.functional.pad(upto_BL, (1, -1), value=-1)
    return torch.where(before_BL < 0, column_L, before_BL)


def _index(host: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(host).to(like.device, non_blocking=True)


def _cacheable(model: Any) -> bool:
    """Whether every layer is softmax attention over the whole past, under our own masks."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config._attn_implementation == "sdpa"
        and kinds == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
        and not getattr(model, "_is_stateful", False)
    )
