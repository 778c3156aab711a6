"""Logit edits: what changes the model's logits before anything else looks at them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.protocols import EditContext


@dataclass(frozen=True)
class Ban:
    """Never draw these ids (-inf)."""

    ids: tuple[int, ...]
    kind: Literal["ban"] = "ban"

    def __call__(self, logits_nV: Tensor, context: EditContext) -> Tensor:
        return logits_nV.index_fill_(1, _ids(self.ids, logits_nV), -math.inf)


@dataclass(frozen=True)
class BanInside:
    """Never draw these ids where given text still follows: terminators inside a hole."""

    ids: tuple[int, ...]
    kind: Literal["ban_inside"] = "ban_inside"

    def __call__(self, logits_nV: Tensor, context: EditContext) -> Tensor:
        canvas = context.canvas
        position_n = canvas.start_B[context.row_n] + context.offset_n
        last_B = (canvas.given_BL * (canvas.position_BL + 1)).amax(1) - 1
        inside_n = position_n < last_B[context.row_n]
        banned_V = torch.zeros(logits_nV.shape[1], dtype=torch.bool, device=logits_nV.device)
        banned_V.index_fill_(0, _ids(self.ids, logits_nV), True)
        return logits_nV.masked_fill_(inside_n[:, None] & banned_V, -math.inf)


@dataclass(frozen=True)
class Bias:
    """Add a constant to the logits of some ids (OpenAI's ``logit_bias``).

    An end-of-text or pad penalty is a negative bias on the terminators: a model whose canvas is far
    longer than its answers commits them first and the answer drowns (Dream issues 51 and 56).
    """

    bias: dict[int, float] = field(hash=False)
    kind: Literal["bias"] = "bias"

    def __post_init__(self) -> None:
        bad = {i: b for i, b in self.bias.items() if math.isnan(b) or b == math.inf}
        if bad:
            raise PlanError(f"logit bias {bad}: expected finite numbers or -inf")

    def __call__(self, logits_nV: Tensor, context: EditContext) -> Tensor:
        values = torch.tensor(tuple(self.bias.values()), dtype=logits_nV.dtype)
        ids = _ids(tuple(self.bias), logits_nV)
        return logits_nV.index_add_(
            1, ids, values.to(logits_nV.device, non_blocking=True).expand(len(logits_nV), -1)
        )


@dataclass(frozen=True)
class Repetition:
    """Divide positive and multiply negative logits of ids already visible in the row by ``penalty``.

    Keskar et al. 2019 (CTRL), as transformers' RepetitionPenaltyLogitsProcessor: once per id, prompt
    included; on a diffusion canvas the committed positions count on both sides.
    """

    penalty: float
    kind: Literal["repetition"] = "repetition"

    def __post_init__(self) -> None:
        if not 0 < self.penalty < math.inf:
            raise PlanError(
                f"repetition penalty {self.penalty}: expected a positive number, 1 = none"
            )

    def __call__(self, logits_nV: Tensor, context: EditContext) -> Tensor:
        canvas, vocab = context.canvas, logits_nV.shape[1]
        visible_BL = canvas.real_BL & ~canvas.open_BL
        seen_BV = torch.zeros(canvas.shape[0], vocab + 1, dtype=torch.bool, device=logits_nV.device)
        seen_BV.scatter_(1, canvas.tokens_BL.where(visible_BL, vocab), True)
        penalised = torch.where(logits_nV > 0, logits_nV / self.penalty, logits_nV * self.penalty)
        return penalised.where(seen_BV[context.row_n, :vocab], logits_nV)


Edit = Ban | BanInside | Bias | Repetition


def _ids(ids: tuple[int, ...], logits_nV: Tensor) -> Tensor:
    vocab = logits_nV.shape[1]
    outside = [i for i in ids if not 0 <= i < vocab]
    if outside:
        raise PlanError(f"token ids {outside}: the model's vocabulary is 0..{vocab - 1}")
    return torch.tensor(ids, dtype=torch.long).to(logits_nV.device, non_blocking=True)
