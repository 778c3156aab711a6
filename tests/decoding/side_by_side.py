"""What the comparisons with the published loops share: one model seen by both, one form of result."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from chisquare import p_of_same_law
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.engine import Finished
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.models.toy import TableDenoiser
from diffucode.protocols import Positions

Logits = Callable[[Tensor, Tensor | None], Tensor]


class Row(NamedTuple):
    """A decoded row: its final tokens, and the step that committed each position (-1: none did)."""

    tokens: list[int]
    step: list[int]


def model_logits(model: Any) -> Logits:
    """A transformers model's own output, padding as the published loops pass it."""

    def logits(tokens_BL: Tensor, attention_BL: Tensor | None) -> Tensor:
        if attention_BL is None:
            return model(input_ids=tokens_BL, use_cache=False).logits
        itself_LL = torch.eye(tokens_BL.shape[1], dtype=torch.bool)
        return model(
            input_ids=tokens_BL,
            attention_mask=(attention_BL[:, None, :] | itself_LL)[:, None],
            position_ids=(attention_BL.long().cumsum(-1) - 1).masked_fill(~attention_BL, 1),
            use_cache=False,
        ).logits

    return logits


def table_logits(denoiser: TableDenoiser, *, shifted: bool) -> Logits:
    """A table of logits, moved one to the left for a loop that shifts. No padding."""

    def logits(tokens_BL: Tensor, attention_BL: Tensor | None) -> Tensor:
        assert attention_BL is None
        rows, length = tokens_BL.shape
        open_BL = tokens_BL == denoiser.mask_id
        none_BL = torch.zeros_like(open_BL)
        canvas = Canvas(
            tokens_BL=tokens_BL,
            given_BL=~open_BL,
            open_BL=open_BL,
            real_BL=~none_BL,
            position_BL=torch.arange(length).expand(rows, length),
            key_B2=torch.zeros(rows, 2, dtype=torch.long),
            start_B=open_BL.int().argmax(1),
        )
        row_N, col_N = (~none_BL).nonzero(as_tuple=True)
        ask = Positions.of(row_N.numpy(), col_N.numpy())
        z_NV = denoiser(canvas, ask, lambda z_nV, where: {"z": z_nV.clone()})["z"]
        z_BLV = z_NV.view(rows, length, -1)
        return z_BLV.roll(-1, dims=1) if shifted else z_BLV

    return logits


def without_mask(denoiser: TableDenoiser) -> TableDenoiser:
    """The same table in which the mask id has no mass: the published loops may draw it, ours never."""
    denoiser._table[:, denoiser.mask_id] = -1e4
    return denoiser


def pad_left(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Prompts of unequal length as the published loops want them: tokens and attention ``[B, P]``."""
    width = max(map(len, prompts))
    rows = [[pad] * (width - len(p)) + list(p) for p in prompts]
    real = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
    return torch.tensor(rows), torch.tensor(real)


def published_rows(frames: list[Tensor], mask_id: int, lengths: Sequence[int]) -> list[Row]:
    """Rows of a published run, their left padding cut off (``lengths``: of prompt and canvas)."""
    step_BL = torch.full_like(frames[0], -1)
    for step, (before, after) in enumerate(pairwise(frames)):
        step_BL[(before == mask_id) & (after != mask_id)] = step
    return [
        Row(tokens[-length:].tolist(), step[-length:].tolist())
        for tokens, step, length in zip(frames[-1], step_BL, lengths, strict=True)
    ]


def requests_for(
    prompts: Sequence[Sequence[int]], new: int, plan: SamplingPlan, mask_id: int
) -> list[Request]:
    """Prompts (mask ids in them are holes) followed by ``new`` open positions."""
    rows = [[*prompt, *[mask_id] * new] for prompt in prompts]
    return [
        Request(str(i), tuple(row), tuple(token == mask_id for token in row), plan)
        for i, row in enumerate(rows)
    ]


def our_rows(finished: Sequence[Finished]) -> list[Row]:
    return [Row(f.tokens.tolist(), f.trace.step.tolist()) for f in finished]


def least_p(ours: Sequence[Row], published: Sequence[Row]) -> float:
    """The smallest p-value of "one law" over five views of rows with three open positions: which
    tokens came in which order, the order alone, and the token of each position.

    The joint view misses nothing but is spread over many cells; the others see small differences.
    """
    views = [lambda row: (tuple(row.tokens), tuple(row.step)), lambda row: tuple(row.step)]
    views += [lambda row, i=i: row.tokens[i] for i in (-3, -2, -1)]
    return min(p_of_same_law(Counter(map(v, ours)), Counter(map(v, published))) for v in views)
