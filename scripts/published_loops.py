"""The published decoding loops, written down plainly: what ours is compared with.

``dream`` is the loop that Dream and DiffuCoder ship, ``llada`` the one of LLaDA. Both are kept as
their authors wrote them down to the quirks, in the obvious full-vocabulary style::

    canvas [B, L] -> logits [B, L, V] -> (Dream) shifted copy -> draw and score every open position
                  -> commit the best n of each row -> the next step throws the other draws away

Quirks that are kept on purpose, because they decide what is written when:

- Dream's time grid ends at ``eps`` and its counts are truncated, so ``steps == length`` wastes the
  first forward pass and commits two tokens in the last step;
- Dream's count is the *mean* number of open positions, so a row that has fewer gets mask ids
  written over tokens that were given or already committed;
- Dream's order looks at the distribution after temperature, top-p and top-k;
- nothing forbids drawing the mask id, after which the position simply is open again;
- a distribution that ``Categorical`` refuses turns every draw of that call into argmax.

Nothing here is meant for use: it is slow, and it draws from torch's global generator, as published;
seed that outside. The package does not import this file and this file does not import the package.

Sources: generation_utils.py of Dream-v0 and DiffuCoder-7B; generate.py of LLaDA-8B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Categorical

Logits = Callable[[Tensor, "Tensor | None"], Tensor]
"""``logits(tokens_BL, attention_BL)``: the model's own output ``[B, L, V]``, no read-out shift.
``attention_BL`` is bool, False at padding; None where every position is real."""

Alg = Literal["origin", "maskgit_plus", "topk_margin", "entropy"]
Remasking = Literal["low_confidence", "random"]


# --- Dream and DiffuCoder ------------------------------------------------------------------------


@torch.no_grad()
def dream(
    logits: Logits,
    prompt_BP: Tensor,
    attention_BP: Tensor | None = None,
    *,
    mask_id: int,
    max_new_tokens: int,
    steps: int = 512,
    eps: float = 1e-3,
    alg: Alg = "origin",
    temperature: float = 0.0,
    top_p: float | None = None,
    top_k: int | None = None,
    alg_temp: float | None = None,
    read: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """The canvas before the first step and after each step: ``steps + 1`` tensors ``[B, L]``.

    ``prompt_BP`` may hold mask ids (holes to fill) and left padding, which ``attention_BP`` marks
    with zeros. ``read`` stands in for ``open_logits``, for those who want to time it.
    """
    read = read or open_logits
    x_BL = torch.nn.functional.pad(prompt_BP, (0, max_new_tokens), value=mask_id)
    keys_BL = None
    if attention_BP is not None and bool((attention_BP == 0).any()):
        keys_BL = torch.nn.functional.pad(attention_BP, (0, max_new_tokens), value=1).bool()
    grid = torch.linspace(1, eps, steps + 1)
    frames = [x_BL.clone()]
    for i in range(steps):
        last = i == steps - 1
        open_BL = x_BL == mask_id
        z_NV = read(logits(x_BL, keys_BL), open_BL)
        reveal = 1 - grid[i + 1] / grid[i]
        if alg == "origin":
            drawn_N = torch.full_like(x_BL[open_BL], mask_id)
            chosen_N = torch.rand(drawn_N.shape) < (1.0 if last else reveal)
            _, drawn_N[chosen_N] = dream_draw(z_NV[chosen_N], alg, temperature, top_p, top_k)
            x_BL[open_BL] = drawn_N
        else:
            score_N, drawn_N = dream_draw(z_NV, alg, temperature, top_p, top_k)
            mean_open = open_BL.sum() / open_BL.shape[0]
            count = int(mean_open) if last else int(mean_open * reveal)
            score_BL = torch.full_like(x_BL, -torch.inf, dtype=z_NV.dtype)
            score_BL[open_BL] = score_N
            if count > 0:
                if alg_temp:
                    weight_BL = torch.softmax(score_BL / alg_temp, dim=-1)
                    picked_Bn = torch.multinomial(weight_BL, count)
                else:
                    picked_Bn = score_BL.topk(count).indices
                fill_BL = torch.full_like(x_BL, mask_id)
                fill_BL[open_BL] = drawn_N
                x_BL = x_BL.scatter(1, picked_Bn, fill_BL.gather(1, picked_Bn))
        frames.append(x_BL.clone())
    return frames


def open_logits(z_BLV: Tensor, open_BL: Tensor) -> Tensor:
    """The read-out shift, position i from the output at i - 1, and of it the open positions."""
    z_BLV = torch.cat([z_BLV[:, :1], z_BLV[:, :-1]], dim=1)
    return z_BLV[open_BL]


def dream_draw(
    z_NV: Tensor, alg: Alg, temperature: float, top_p: float | None, top_k: int | None
) -> tuple[Tensor, Tensor]:
    """Score ``[N]`` (higher is sooner) and drawn token ``[N]`` of each position."""
    if temperature > 0:
        z_NV = z_NV / temperature
    if top_p is not None and top_p < 1:
        z_NV = keep_top_p(z_NV, top_p)
    if top_k is not None:
        z_NV = keep_top_k(z_NV, top_k)
    p_NV = torch.softmax(z_NV, dim=-1)
    if temperature > 0:
        try:
            drawn_N = Categorical(probs=p_NV).sample()  # type: ignore[no-untyped-call]
            score_N = p_NV.gather(1, drawn_N[:, None]).squeeze(1)
        except (ValueError, RuntimeError):
            score_N, drawn_N = p_NV.max(dim=-1)
    else:
        score_N, drawn_N = p_NV.max(dim=-1)
    if alg == "topk_margin":
        sorted_NV = p_NV.sort(dim=-1, descending=True).values
        score_N = sorted_NV[:, 0] - sorted_NV[:, 1]
    elif alg == "entropy":
        score_N = (p_NV * torch.log(p_NV + 1e-10)).sum(-1)
    return score_N, drawn_N


def keep_top_p(z_NV: Tensor, top_p: float) -> Tensor:
    """Keep the tokens up to and including the one that crosses ``top_p``."""
    sorted_NV, order_NV = z_NV.sort(dim=-1, descending=True)
    over_NV = torch.softmax(sorted_NV, dim=-1).cumsum(-1) > top_p
    over_NV = torch.cat([torch.zeros_like(over_NV[:, :1]), over_NV[:, :-1]], dim=1)
    drop_NV = torch.zeros_like(over_NV).scatter(1, order_NV, over_NV)
    return z_NV.masked_fill(drop_NV, torch.finfo(z_NV.dtype).min)


def keep_top_k(z_NV: Tensor, top_k: int) -> Tensor:
    """Keep the tokens that are at least as likely as the k-th."""
    kth_N1 = z_NV.topk(min(top_k, z_NV.shape[-1])).values[:, -1:]
    return z_NV.masked_fill(z_NV < kth_N1, torch.finfo(z_NV.dtype).min)


# --- LLaDA ---------------------------------------------------------------------------------------


@torch.no_grad()
def llada(
    logits: Logits,
    prompt_BP: Tensor,
    attention_BP: Tensor | None = None,
    *,
    mask_id: int,
    gen_length: int = 128,
    steps: int = 128,
    block_length: int = 128,
    temperature: float = 0.0,
    remasking: Remasking = "low_confidence",
) -> list[Tensor]:
    """The canvas before the first step and after each step: ``steps + 1`` tensors ``[B, L]``.

    ``gen_length`` must be a multiple of ``block_length`` and ``steps`` of the number of blocks.
    Classifier-free guidance is left out.
    """
    blocks, rest = divmod(gen_length, block_length)
    steps_per_block, rest_of_steps = divmod(steps, blocks)
    assert not rest and not rest_of_steps, (gen_length, block_length, steps)
    start = prompt_BP.shape[1]
    x_BL = torch.nn.functional.pad(prompt_BP, (0, gen_length), value=mask_id)
    keys_BL = None
    if attention_BP is not None:
        keys_BL = torch.nn.functional.pad(attention_BP, (0, gen_length), value=1).bool()
    frames = [x_BL.clone()]
    for block in range(blocks):
        left, right = start + block * block_length, start + (block + 1) * block_length
        quota_BS = llada_quota((x_BL[:, left:right] == mask_id).sum(1), steps_per_block)
        for i in range(steps_per_block):
            open_BL = x_BL == mask_id
            z_BLV = logits(x_BL, keys_BL)
            drawn_BL = gumbel_argmax(z_BLV, temperature)
            if remasking == "low_confidence":
                p_BLV = torch.softmax(z_BLV, dim=-1)
                score_BL = p_BLV.gather(-1, drawn_BL[..., None]).squeeze(-1)
            else:
                score_BL = torch.rand(drawn_BL.shape)
            score_BL[:, right:] = -torch.inf
            score_BL = score_BL.masked_fill(~open_BL, -torch.inf)
            drawn_BL = torch.where(open_BL, drawn_BL, x_BL)
            for row in range(len(x_BL)):
                picked_n = score_BL[row].topk(int(quota_BS[row, i])).indices
                x_BL[row, picked_n] = drawn_BL[row, picked_n]
            frames.append(x_BL.clone())
    return frames


def llada_quota(open_B: Tensor, steps: int) -> Tensor:
    """Positions each step commits, ``[B, steps]``: as even as integers allow, more at first."""
    base_B, extra_B = open_B // steps, open_B % steps
    return base_B[:, None] + (torch.arange(steps) < extra_B[:, None])


def gumbel_argmax(z_BLV: Tensor, temperature: float) -> Tensor:
    """A draw from softmax(z / temperature), in float64 as published; argmax at temperature 0."""
    if temperature == 0:
        return z_BLV.argmax(-1)
    z_BLV = z_BLV.to(torch.float64)
    u_BLV = torch.rand_like(z_BLV, dtype=torch.float64)
    return (z_BLV.exp() / (-u_BLV.log()) ** temperature).argmax(-1)
