"""The forward pass of training: the layers of a stock model, the last one only where it is read.

::

    tokens_BL ──> layers 1 .. n-1 ──> attention of layer n ──at (row_N, col_N)──> its MLP ──> hidden_Nd

The rest of the last layer would feed nothing but positions that nobody reads. Loss and gradients are
those of the whole forward pass, up to the rounding of the dtype that matrices are multiplied in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffucode.models.fused import attend, rms_norm, rotate, swiglu


def hidden_at(
    model: Any,
    tokens_BL: Tensor,
    real_BL: Tensor,
    row_N: Tensor,
    col_N: Tensor,
    *,
    causal: bool = False,
    see_LL: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Last hidden states ``[N, d]`` of a stock Llama, Qwen2 or Qwen3 for causal LM, in ``dtype``.

    Rows start at column 0 (padding on the right only). ``see_LL`` says which column (the second axis)
    a column (the first) sees, over at least L columns; every column must see itself. The residual
    stream is float32, and matrices are multiplied in ``dtype``.
    """
    body, (rows, length) = model.base_model, tokens_BL.shape
    bias = _bias(real_BL, see_LL, causal, body.layers[0].self_attn, dtype)
    x = body.embed_tokens(tokens_BL).float().view(rows * length, -1)
    positions = body.rotary_emb(x, torch.arange(length, device=x.device)[None])
    *layers, last = body.layers
    for layer in layers:
        x = x + _linear(_attended(layer, x, rows, positions, bias, dtype), layer.self_attn.o_proj)
        x = x + _mlp(layer, x, dtype)
    read_N = row_N * length + col_N
    attended_Nd = _attended(last, x, rows, positions, bias, dtype)[read_N]
    x = x[read_N] + _linear(attended_Nd, last.self_attn.o_proj)
    return _normed(body.norm, x + _mlp(last, x, dtype), dtype)


def _bias(
    real_BL: Tensor, see_LL: Tensor | None, causal: bool, attention: Any, dtype: torch.dtype
) -> Tensor | None:
    """What is added to the scores ``[B x heads, L, L]``; None where everybody sees everybody."""
    length = real_BL.shape[1]
    if causal:  # to the left of a right-padded column nothing is padding
        mask = torch.ones(1, length, length, dtype=torch.bool, device=real_BL.device).tril()
    elif real_BL.all() and see_LL is None:
        return None
    else:
        heads = attention.config.num_attention_heads
        mask = real_BL.repeat_interleave(heads, 0)[:, None]
    if see_LL is not None:
        mask = mask & see_LL[:length, :length]
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -1e9)


def _normed(norm: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
    return rms_norm(x, norm.weight, norm.variance_epsilon, dtype)


def _linear(x: Tensor, *layers: Any) -> Tensor:
    """Several linear layers of one input at once, their outputs side by side."""
    weight = torch.cat([layer.weight for layer in layers]).to(x.dtype)
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return F.linear(x, weight, torch.cat(biases).to(x.dtype) if biases else None)


def _attended(
    layer: Any,
    x_Td: Tensor,
    rows: int,
    positions: tuple[Tensor, Tensor],
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """What the heads read, side by side ``[T, heads x width]``, before the output projection."""
    attention, width = layer.self_attn, layer.self_attn.head_dim
    inner = _normed(layer.input_layernorm, x_Td, dtype)
    all_Td = _linear(inner, attention.q_proj, attention.k_proj, attention.v_proj)
    heads = attention.q_proj.weight.shape[0] // width
    keys = attention.k_proj.weight.shape[0] // width
    qk, v = all_Td.view(rows, -1, heads + 2 * keys, width).tensor_split([heads + keys], 2)
    if hasattr(attention, "q_norm"):
        norms = [
            attention.q_norm.weight.expand(heads, -1),
            attention.k_norm.weight.expand(keys, -1),
        ]
        qk = rms_norm(qk, torch.cat(norms), attention.q_norm.variance_epsilon, torch.float32)
    # The scale of the scores goes with the rotation of the queries.
    scale_h1 = torch.ones(heads + keys, 1, device=qk.device)
    scale_h1[:heads] = attention.scaling
    cos, sin = (position[0, :, None] * scale_h1 for position in positions)
    q, k = rotate(qk.float(), cos, sin).to(dtype).tensor_split([heads], 2)
    k, v = (z.repeat_interleave(heads // keys, 2) if keys < heads else z for z in (k, v))
    q, k, v = (z.transpose(1, 2).reshape(rows * heads, -1, width) for z in (q, k, v))
    read = attend(q, k, v, bias).view(rows, heads, -1, width)
    return read.transpose(1, 2).reshape(x_Td.shape[0], -1)


def _mlp(layer: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
    inner = _normed(layer.post_attention_layernorm, x, dtype)
    both = _linear(inner, layer.mlp.gate_proj, layer.mlp.up_proj)
    return _linear(swiglu(both), layer.mlp.down_proj)
