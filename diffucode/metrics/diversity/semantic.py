"""Effective semantic diversity (Shypula et al. 2025, arXiv:2504.12522): valid and different behaviours.

A label is what a program does (``execution.outputs.labels``), None if the program is not valid. All samples
count, right and wrong: by their outputs all right ones are the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal

from diffucode.metrics.diversity.undefined import Figure, Undefined

Rule = Literal["both", "one"]


def fixed(labels: Sequence[Hashable | None]) -> Figure:
    """Different valid behaviours over samples. Falls as samples are added: compare equal numbers of them."""
    if not labels:
        return Undefined("no sample")
    return len(set(labels) - {None}) / len(labels)


def pairwise(labels: Sequence[Hashable | None], rule: Rule = "both") -> Figure:
    """The share of pairs of samples that do different things; it does not depend on how many there are.

    ``both``: and both are valid. ``one``: at least one of them is. The paper's own text could not be read at
    the time of writing, so which of the two it means is not known: state the rule with the figure.
    """
    if len(labels) < 2:
        return Undefined("fewer than 2 samples")
    enough = {"both": all, "one": any}[rule]
    return fmean(
        one != other and enough((one is not None, other is not None))
        for one, other in combinations(labels, 2)
    )
