"""The forward pass of training: a stock body, its last layer only where it is read.

::

    tokens_BL ──> layers 1 .. n-1 ──> attention of layer n ──at (row_N, col_N)──> its MLP ──> hidden_Nd

The rest of the last layer would feed nothing but positions that nobody reads. Loss and gradients are
those of the whole forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def hidden_at(
    model: Any,
    tokens_BL: Tensor,
    real_BL: Tensor,
    row_N: Tensor,
    col_N: Tensor,
    *,
    causal: bool = False,
    see_LL: Tensor | None = None,
) -> Tensor:
    """Last hidden states ``[N, d]`` of a stock Llama, Qwen2 or Qwen3 for causal LM.

    Rows start at column 0 (padding on the right only). ``see_LL`` says which column (the second axis)
    a column (the first) sees, over at least L columns; every column must see itself.
    """
    body, length = model.base_model, tokens_BL.shape[1]
    mask: Tensor | None = None
    if not (causal or real_BL.all()):  # to the left of a right-padded column nothing is padding
        mask = real_BL[:, None, None, :]
    if see_LL is not None:
        see_11LL = see_LL[None, None, :length, :length]
        mask = see_11LL if mask is None else mask & see_11LL
    x = body.embed_tokens(tokens_BL)
    positions = body.rotary_emb(x, torch.arange(length, device=x.device)[None])
    how = {"attention_mask": mask, "position_embeddings": positions, "is_causal": causal}
    *layers, last = body.layers
    for layer in layers:
        x = layer(x, **how)
    attended_BLd, _ = last.self_attn(hidden_states=last.input_layernorm(x), **how)
    x = (x + attended_BLd)[row_N, col_N]
    x = x + last.mlp(last.post_attention_layernorm(x))
    hidden_Nd: Tensor = body.norm(x)
    return hidden_Nd


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
