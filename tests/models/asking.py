"""Canvases and questions for the tests of this folder."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from diffucode.decoding.canvas import Canvas
from diffucode.protocols import Denoiser, Positions, Tree


def canvas_of(rows: Sequence[str | Sequence[int]], fill: int) -> Canvas:
    """Rows as lists of ids, -1 for an open position."""
    opened = [[token == -1 for token in row] for row in rows]
    tokens = [[max(int(token), 0) for token in row] for row in rows]
    return Canvas.of(tokens, opened, [(0, b) for b in range(len(rows))], fill=fill)


def padded(canvas: Canvas, left: int, right: int, fill: int) -> Canvas:
    """The same rows with unreal columns around them."""

    def wider(x: Tensor, value: int) -> Tensor:
        return pad(x, (left, right), value=value)

    return replace(
        canvas,
        tokens_BL=wider(canvas.tokens_BL, fill),
        given_BL=wider(canvas.given_BL, 0),
        open_BL=wider(canvas.open_BL, 0),
        real_BL=wider(canvas.real_BL, 0),
        position_BL=wider(canvas.position_BL, 0),
        start_B=canvas.start_B + left,
    )


def everywhere(canvas: Canvas) -> Positions:
    """All open positions."""
    row, col = canvas.open_BL.nonzero().T.numpy()
    return Positions.of(row, col)


def at(*positions: tuple[int, int]) -> Positions:
    row, col = np.array(positions).reshape(-1, 2).T
    return Positions.of(row, col)


def first_open(canvas: Canvas) -> Positions:
    """The leftmost open position of every row."""
    col = canvas.open_BL.int().argmax(1).numpy()
    return Positions.of(np.arange(len(col)), col)


def keep(logits_nV: Tensor, where: slice) -> Tree:
    return {"logits": logits_nV.clone()}


def logits(denoiser: Denoiser, canvas: Canvas, ask: Positions | None = None) -> Tensor:
    """Logits ``[N, V]`` of the asked positions, by default of all open ones."""
    with torch.no_grad():
        return denoiser(canvas, ask or everywhere(canvas), keep)["logits"]


def assert_same(a: Tensor, b: Tensor) -> None:
    """Equal up to what the alignment of weights in memory does to the last bits of a product."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
