"""Majority vote over samples that are known by what they do, not by what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def majority(labels: Sequence[Hashable | None]) -> int | None:
    """The first sample of the label that most samples have; of equally frequent ones, the one seen first.

    None is the label of a sample that cannot win (it did nothing that could be compared); where all are,
    there is no winner.
    """
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        return None
    winner, _ = counts.most_common(1)[0]  # in order of first appearance among equals
    return labels.index(winner)
