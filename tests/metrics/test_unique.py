"""Unique solves: the null distribution against all permutations of labels."""

from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from diffucode.metrics.unique import at_least, replicated, unique_solves

Counts = NDArray[np.int64]


def permuted(n_T: list[int], right: int) -> Counter[int]:
    """How often each cell alone is right (-1: none, or several), over all permutations of labels."""
    labels = [cell for cell, n in enumerate(n_T) for _ in range(n)]
    found: Counter[int] = Counter()
    for order in permutations(range(len(labels))):
        cells = {labels[order[i]] for i in range(right)}
        found[cells.pop() if len(cells) == 1 else -1] += 1
    return found


def shares(n_T: list[int], right: int) -> float:
    found = permuted(n_T, right)
    return 1 - found[-1] / sum(found.values())


def test_the_null_is_that_of_permuted_labels() -> None:
    n_QT = np.array([[3, 2, 2], [3, 2, 2], [2, 2, 2], [2, 2, 2]])
    passed_QT = np.array([[2, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    chances = [
        shares(n.tolist(), int(c.sum())) if c.sum() else 0.0
        for n, c in zip(n_QT, passed_QT, strict=True)
    ]
    found = unique_solves(n_QT, passed_QT)
    assert (found.by_cell, found.found) == ((2, 0, 0), 2)
    assert found.expected == pytest.approx(sum(chances))
    by_hand = sum(
        np.prod([c if hit else 1 - c for c, hit in zip(chances, hits, strict=True)])
        for hits in product([0, 1], repeat=4)
        if sum(hits) >= 2
    )
    assert found.p == pytest.approx(by_hand)


def test_a_single_right_sample_is_no_evidence() -> None:
    """One right sample in all always lies in one cell."""
    found = unique_solves(np.full((5, 3), 4), np.eye(3, dtype=int)[[0, 0, 1, 2, 1]])
    assert (found.found, found.expected, found.p) == (5, 5, 1)


def test_solves_that_follow_the_temperature_are_more_than_chance() -> None:
    passed_QT = np.array([[4, 0], [0, 4]] * 5)
    found = unique_solves(np.full((10, 2), 4), passed_QT)
    assert found.expected == pytest.approx(10 * 2 / 70) and found.p < 1e-6


def test_replication() -> None:
    n_QT = np.full((4, 2), 2)
    first = np.array([[2, 0], [0, 1], [1, 0], [1, 1]])
    second = np.array([[2, 0], [0, 0], [1, 1], [0, 2]])
    found = replicated((n_QT, first), (n_QT, second))
    # 0: alone again; 1: by none; 2: again, and by the other; 3: was not unique
    assert (found.found, found.solved, found.again) == (3, 2, 1)
    chance = permuted([2, 2], 2)[0] / 24
    assert found.expected == pytest.approx(2 * chance)
    assert found.p == pytest.approx(1 - (1 - chance) ** 2)


def test_sums_of_trials() -> None:
    assert [at_least([0.5, 0.5], n) for n in (0, 1, 2, 3)] == [1, 0.75, 0.25, 0]
    assert at_least([], 0) == 1


@pytest.mark.parametrize("shape", [(3, 1), (2, 2), (3,)])
def test_arrays_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more"):
        unique_solves(np.ones(shape, dtype=int), np.ones((3, 1), dtype=int))
