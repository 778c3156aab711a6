"""The published coupled-GRPO update, written down plainly: what ours is compared with.

::

    tokens [B, L] -> three copies: completion hidden | M hidden | the rest hidden      [3B, L]
                  -> logits of every position                                          [3B, L, V]
                  -> all but the last, of those the completion's                       [3B, C, V]
                  -> row by row: log-softmax of its three copies, gather, combine      [B, C]
                  -> ratios, clip, divergence, mean over the tokens of this micro-batch

Kept as its authors wrote it, in the obvious full-vocabulary style, with what decides cost or result:

- every position of the prompt goes through the head too, and every token of the completion in all three
  passes, although each is read in two;
- the three copies of a row are picked out of all logits by an index, once a row; the backward pass of
  each pick is a tensor of the size of all completions' logits;
- one masking ratio for all rows; weights inside the ratio of a token, whose exponent they amplify;
- neither attention mask nor position ids, so rows must have no padding.

Left out: the global seed and the draw of the masks (they are given), bfloat16 (equality is to be
checked), metrics, and several iterations in one call. Added: ``always_BL``, columns hidden in every copy,
because our updates hide what follows an answer's terminator; the published one draws masks there too.

Nothing here is meant for use. The package does not import this file and this file does not import the
package. Source: coupled_grpo.py of apple/ml-diffucoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]
"""``logits(tokens_BL)``: the model's own output ``[B, L, V]``; that at i - 1 predicts the token at i."""


class Copies(NamedTuple):
    """Three noisy copies of each row, copy after copy."""

    inputs_3BL: Tensor
    masked_BC: Tensor
    """Which tokens of the completion the second copy hides."""
    weight_3: tuple[float, float, float]


def copies(
    tokens_BL: Tensor,
    start: int,
    masked_BL: Tensor,
    ratio: float,
    *,
    mask_id: int,
    always_BL: Tensor | None = None,
) -> Copies:
    """The completion begins at column ``start`` in every row; ``masked_BL`` was drawn at ``ratio``."""
    completion_L = torch.arange(tokens_BL.shape[1]) >= start
    always_BL = torch.zeros_like(masked_BL) if always_BL is None else always_BL
    hidden = (completion_L.expand_as(masked_BL), masked_BL, ~masked_BL)
    inputs = [
        torch.where(completion_L & (hidden_BL | always_BL), mask_id, tokens_BL)
        for hidden_BL in hidden
    ]
    return Copies(torch.cat(inputs), masked_BL[:, start:], (1.0, 1 / ratio, 1 / (1 - ratio)))


Select = Callable[[Tensor, Tensor, Copies], Tensor]
"""Logits ``[3B, C, V]`` and labels ``[B, C]`` to combined log-probabilities ``[B, C]``."""


def row_by_row(logits_3BCV: Tensor, label_BC: Tensor, made: Copies) -> Tensor:
    """The published loop."""
    rows, found = len(label_BC), []
    for b in range(rows):
        logits_3CV = logits_3BCV[torch.tensor([b, rows + b, 2 * rows + b])]
        each_3CV = logits_3CV.log_softmax(-1)
        each_3C = each_3CV.gather(-1, label_BC[b].expand(3, -1)[..., None])[..., 0]
        found.append(_combined(each_3C, made.masked_BC[b], made.weight_3))
    return torch.stack(found)


def all_rows(logits_3BCV: Tensor, label_BC: Tensor, made: Copies) -> Tensor:
    """The same without the loop: to see what the loop costs."""
    each_3BCV = logits_3BCV.log_softmax(-1)
    each_3BC = each_3BCV.gather(-1, label_BC.repeat(3, 1)[..., None])[..., 0]
    return _combined(each_3BC.unflatten(0, (3, -1)), made.masked_BC, made.weight_3)


def _combined(each_3: Tensor, masked: Tensor, weight_3: tuple[float, float, float]) -> Tensor:
    partial = torch.where(masked, weight_3[1] * each_3[1], weight_3[2] * each_3[2])
    return (weight_3[0] * each_3[0] + partial) / 2


def log_probabilities(
    logits: Logits, tokens_BL: Tensor, made: Copies, select: Select = row_by_row
) -> Tensor:
    """What the update calls the log-probability of each token of the completion, ``[B, C]``."""
    width = made.masked_BC.shape[1]
    logits_3BCV = logits(made.inputs_3BL)[:, :-1][:, -width:]
    return select(logits_3BCV, tokens_BL[:, -width:], made)


def loss(
    new_BC: Tensor,
    old_BC: Tensor,
    ref_BC: Tensor,
    advantage_B: Tensor,
    counted_BC: Tensor,
    *,
    epsilon: float,
    beta: float,
) -> Tensor:
    """The clipped objective and the divergence, a mean over the counted tokens, to minimise."""
    ratio_BC = (new_BC - old_BC).exp()
    clipped_BC = ratio_BC.clamp(1 - epsilon, 1 + epsilon)
    policy_BC = torch.min(ratio_BC * advantage_B[:, None], clipped_BC * advantage_B[:, None])
    kl_BC = (ref_BC - new_BC).exp() - (ref_BC - new_BC) - 1
    each_BC = -policy_BC + beta * kl_BC
    return (each_BC * counted_BC).sum() / counted_BC.sum().clamp(min=1.0)
