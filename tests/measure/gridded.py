"""Samples of cells that are made by hand."""

from collections.abc import Sequence

from diffucode.measure.sweep.cells import Drawn, Samples
from diffucode.measure.sweep.plan import Cell


def samples(id: str, right: Sequence[bool], trees: str | None = None, **more: object) -> Samples:
    """``trees``: a letter a sample; ``-`` is no Python. One kind for all if none are given."""
    n = len(right)
    tree = [None if letter == "-" else letter for letter in trees or "a" * n]
    columns: dict[str, object] = {
        "program": [f"# {letter}" for letter in tree],
        "tree": tree,
        "right": list(right),
        "label": list(tree),
        "nfe": [2] * n,
        "positions": [10] * n,
        "tokens": [4] * n,
        "ended": [True] * n,
        "local": [0.5] * n,
        "leftmost": [None] * n,
        "core_seconds": 0.5 * n,
        "seconds": 1.0 * n,
    }
    return Samples(id, f"s{id}", 1, **(columns | more))  # type: ignore[arg-type]


def drawn(cell: Cell, *problems: Samples) -> Drawn:
    return Drawn(cell, {one.id: one for one in problems})


def diffusion(temperature: float, order: float = 0.0) -> Cell:
    return Cell("mini", "diffusion", temperature, order)


def ar(temperature: float) -> Cell:
    return Cell("mini-ar", "ar", temperature, None)
