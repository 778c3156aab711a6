"""Small models for tests and examples: a table of logits, a random transformer, a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from diffucode.decoding.canvas import Canvas
from diffucode.models.build import finish, parameter_shapes, put, skeleton
from diffucode.models.head import HEAD_BYTES, chunk_rows, read_out
from diffucode.models.transformer import TransformerDenoiser
from diffucode.protocols import Cache, Positions, Readout, Then, Tree

STATES = 4093
"""Rows of the table: contexts that hash alike share their logits."""


class TableCache:
    """The prefix each row has read, as a causal ``TableDenoiser`` remembers it."""

    def __init__(self, prefix: list[list[int]]) -> None:
        self.prefix = prefix

    def take(self, rows: Sequence[int]) -> TableCache:
        return TableCache([list(self.prefix[row]) for row in rows])

    def cat(self, other: Cache) -> TableCache:
        assert isinstance(other, TableCache), "caches of one kind"
        return TableCache([list(row) for row in (*self.prefix, *other.prefix)])


class TableDenoiser:
    """Logits looked up by the exact context: what an arbitrary conditional model looks like.

    The state of a position is a Zobrist hash: the sum, modulo 2**64, of a random key per visible
    (position, token), plus a key of the asked position. Visible is what is real and not open, and,
    if ``causal``, to the left. Integer sums and a table row: a result is the same bits in any
    batch, under any padding. ``causal=True`` has a cache too, which believes what it has read.
    """

    def __init__(
        self,
        vocab_size: int = 8,
        *,
        mask_id: int | None = 7,
        terminator_ids: tuple[int, ...] = (0,),
        causal: bool = False,
        scale: float = 2.0,
        seed: int = 0,
        max_length: int = 1024,
        device: torch.device | str = "cpu",
        head_bytes: int = HEAD_BYTES,
    ) -> None:
        self.vocab_size = vocab_size
        self.mask_id = mask_id
        self.terminator_ids = terminator_ids
        self.causal = causal
        self.device = torch.device(device)
        self.calls = 0
        self.rows_read = 0
        generator = torch.Generator().manual_seed(seed)
        words = torch.iinfo(torch.long)
        keys = torch.randint(
            words.min, words.max, (max_length, vocab_size + 1), generator=generator
        ).to(device)
        self._token_PV, self._asked_P = keys[:, :-1], keys[:, -1]
        self._table = scale * torch.randn(STATES, vocab_size, generator=generator).to(device)
        self._chunk = chunk_rows(vocab_size, head_bytes)

    def logits_for(self, tokens: Sequence[int], opened: Sequence[bool], position: int) -> Tensor:
        """Float32 logits ``[V]`` of one position of one unpadded row."""
        canvas = Canvas.of([list(tokens)], [list(opened)], [(0, 0)], fill=0, device=self.device)
        row, col = torch.tensor([0]), torch.tensor([position])
        ask = Positions(row.numpy(), col.numpy(), row.to(self.device), col.to(self.device))
        return self._table[self._states(canvas.tokens_BL, canvas, ask)][0].clone()

    def empty_cache(self, rows: int) -> TableCache | None:
        return TableCache([[] for _ in range(rows)]) if self.causal else None

    def __call__(
        self,
        canvas: Canvas,
        ask: Positions,
        readout: Readout,
        *,
        then: Then | None = None,
        cache: Cache | None = None,
    ) -> Tree:
        """See ``diffucode.protocols.Denoiser``."""
        self.calls += 1
        tokens_BL = canvas.tokens_BL
        if cache is not None:
            assert isinstance(cache, TableCache), "a cache made by this denoiser's empty_cache"
            tokens_BL = self._read_on(tokens_BL, ask, cache)
        return read_out(
            self._states(tokens_BL, canvas, ask), self._head, readout, then, self._chunk
        )

    def _head(self, state_n: Tensor) -> Tensor:
        self.rows_read += len(state_n)
        return self._table[state_n]

    def _states(self, tokens_BL: Tensor, canvas: Canvas, ask: Positions) -> Tensor:
        """Table rows ``[N]`` of the asked positions."""
        key_BL = self._token_PV[canvas.position_BL, tokens_BL.clamp(0, self.vocab_size - 1)]
        position_N = canvas.position_BL[ask.row_N, ask.col_N]
        seen_NL = (canvas.real_BL & ~canvas.open_BL)[ask.row_N]
        if self.causal:
            seen_NL = seen_NL & (canvas.position_BL[ask.row_N] < position_N[:, None])
        context_N = torch.where(seen_NL, key_BL[ask.row_N], 0).sum(1)
        return (context_N + self._asked_P[position_N]) % STATES

    def _read_on(self, tokens_BL: Tensor, ask: Positions, cache: TableCache) -> Tensor:
        tokens_BL = tokens_BL.clone()
        assert ask.row.tolist() == list(range(len(cache.prefix))), "one position of every row"
        for row, col in zip(ask.row.tolist(), ask.col.tolist(), strict=True):
            prefix = cache.prefix[row]
            prefix += tokens_BL[row, len(prefix) : col].tolist()
            tokens_BL[row, : len(prefix)] = torch.tensor(prefix, dtype=torch.long)
        return tokens_BL


def tiny_model(
    vocab_size: int,
    layers: int = 2,
    hidden: int = 32,
    *,
    family: str = "qwen2",
    heads: int = 4,
    kv_heads: int = 2,
    tied: bool = False,
    seed: int = 0,
) -> Any:
    """A random ``Qwen2ForCausalLM`` or (``family="llama"``) ``LlamaForCausalLM`` in float32.

    Logits have a standard deviation of about 2; biases and norms are random too, so that none of
    them can be forgotten unnoticed.
    """
    config_class, model_class = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[family]
    config = config_class(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=None,
        eos_token_id=None,
    )
    model = skeleton(model_class, config)
    generator = torch.Generator().manual_seed(seed)
    for name, shape in parameter_shapes(model).items():
        value = torch.randn(shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.1 * value
        elif name.endswith("bias"):
            value = 0.1 * value
        elif name.startswith("lm_head") or "embed_tokens" in name:
            value = 2 * value / hidden**0.5
        else:
            value = value / shape[-1] ** 0.5
        put(model, name, value)
    return finish(model, "cpu")


def tiny_transformer(
    vocab_size: int,
    layers: int = 2,
    hidden: int = 32,
    *,
    causal: bool = False,
    shift: bool | None = None,
    mask_id: int | None = None,
    terminator_ids: tuple[int, ...] = (0,),
    family: str = "qwen2",
    head_bytes: int = HEAD_BYTES,
    seed: int = 0,
) -> TransformerDenoiser:
    """A tiny random denoiser; ``mask_id`` defaults to the last id, ``shift`` to ``causal``."""
    return TransformerDenoiser(
        tiny_model(vocab_size, layers, hidden, family=family, seed=seed),
        mask_id=vocab_size - 1 if mask_id is None else mask_id,
        terminator_ids=terminator_ids,
        readout_shift=causal if shift is None else shift,
        attention="causal" if causal else "full",
        head_bytes=head_bytes,
    )


def tiny_tokenizer(
    specials: Sequence[str] = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>"),
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: 256 bytes, then the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens(list(specials))
    roles = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "mask_token": "<|mask|>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, **{k: v for k, v in roles.items() if v in specials}
    )
