"""One pass through the model for rows of several plans.

The asked positions of the groups lie one after another, whatever pieces the denoiser reads them in::

    ask        g0 g0 g0 g0 g0 | g1 g1 | g2 g2 g2
    chunks     ------- ---------- ----------
    chosen        *     *        *         *       read again, in the same order, if drawn late
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.diffusion import Asked, Chosen, choose, read, sample
from diffucode.protocols import Cache, Denoiser, Positions, Reread, Tree


class Outcome(NamedTuple):
    """What one group commits: the choice, its positions, and their tree, ``[M, ...]``."""

    chosen: Chosen
    at: Asked
    tree: Tree


def forward(
    denoiser: Denoiser,
    canvas: Canvas,
    ask: Positions,
    groups: Sequence[Asked],
    cache: Cache | None,
) -> list[Outcome]:
    """Ask the model, choose and draw; all groups draw late or none does."""
    spans = spans_of([len(group.row_N) for group in groups])

    def readout(logits_nV: Tensor, where: slice) -> Tree:
        trees = []
        for group, span in zip(groups, spans, strict=True):
            low, high = max(where.start, span.start), min(where.stop, span.stop)
            if low < high:
                part = group.take(slice(low - span.start, high - span.start))
                trees.append(read(part, logits_nV[low - where.start : high - where.start]))
        return _joined(trees)

    if not all(group.late for group in groups):
        tree = denoiser(canvas, ask, readout, cache=cache)
        outcomes = []
        for group, span in zip(groups, spans, strict=True):
            part = _take(tree, span)
            chosen = choose(group, part)
            at = group.take(chosen.index_M)
            outcomes.append(Outcome(chosen, at, _take(part, chosen.index_M)))
        return outcomes

    choices: list[Chosen] = []
    places: list[Asked] = []

    def then(tree: Tree) -> Reread:
        choices.extend(choose(g, _take(tree, span)) for g, span in zip(groups, spans, strict=True))
        places.extend(g.take(c.index_M) for g, c in zip(groups, choices, strict=True))
        index_M = torch.cat(
            [c.index_M + span.start for c, span in zip(choices, spans, strict=True)]
        )
        first = _take(tree, index_M)

        def reread(logits_mV: Tensor) -> Tree:
            picked = spans_of([len(c.index_M) for c in choices])
            return _joined(
                [
                    sample(at, logits_mV[span], _take(first, span))
                    for at, span in zip(places, picked, strict=True)
                ]
            )

        return Reread(index_M, reread)

    tree = denoiser(canvas, ask, readout, then=then, cache=cache)
    picked = spans_of([len(c.index_M) for c in choices])
    return [
        Outcome(c, at, _take(tree, span))
        for c, at, span in zip(choices, places, picked, strict=True)
    ]


def spans_of(sizes: Sequence[int]) -> list[slice]:
    """Slices of these sizes, one after another."""
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _take(tree: Tree, index: slice | Tensor) -> Tree:
    return {name: value[index] for name, value in tree.items()}


def _joined(trees: Sequence[Tree]) -> Tree:
    """Trees one after another. A cap that only some groups have is filled with what caps nothing."""
    if len(trees) == 1:
        return trees[0]
    names = {name for tree in trees for name in tree}
    return {
        name: torch.cat([tree.get(name, _free(name, tree)) for tree in trees]) for name in names
    }


def _free(name: str, tree: Tree) -> Tensor:
    if name == "top_k":
        return torch.full_like(tree["tau"], torch.iinfo(torch.long).max, dtype=torch.long)
    return torch.full_like(tree["tau"], torch.inf)
