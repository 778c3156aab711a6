"""Pass@All and mixtures: against enumeration, and the sheet's worked numbers."""

from itertools import combinations, product

import numpy as np
import pytest

from diffucode.metrics.passk import pass_at_k
from diffucode.metrics.scaling import mixture, most, solvability


def enumerated(pools: list[list[bool]], k: int) -> float:
    """Every choice of the cells that draw one more, and of the samples in each cell."""
    each, rest = divmod(k, len(pools))
    found = []
    for more in combinations(range(len(pools)), rest):
        sizes = [each + (cell in more) for cell in range(len(pools))]
        draws = product(
            *(combinations(pool, size) for pool, size in zip(pools, sizes, strict=True))
        )
        found.append(np.mean([any(map(any, draw)) for draw in draws]))
    return float(np.mean(found))


@pytest.mark.parametrize("k", range(1, 10))
def test_a_mixture_is_the_mean_over_all_draws(k: int) -> None:
    pools = [[True, False, False, False], [False] * 3, [True, True, False]]
    n, passed = [len(pool) for pool in pools], [sum(pool) for pool in pools]
    assert most(n) == 9
    assert mixture(n, passed, k) == pytest.approx(enumerated(pools, k))


def test_a_mixture_of_one_cell_is_pass_at_k() -> None:
    for k, value in {1: 0.3, 2: 0.533333, 5: 0.916667, 8: 1.0}.items():
        assert mixture([10], [3], k) == pass_at_k(10, 3, k) == pytest.approx(value, abs=1e-6)


def test_a_budget_that_is_no_whole_number_lies_between() -> None:
    low, high = mixture([4, 4], [1, 2], 2), mixture([4, 4], [1, 2], 3)
    assert mixture([4, 4], [1, 2], 2.25) == pytest.approx(0.75 * low + 0.25 * high)
    assert mixture([4, 4], [1, 2], 0.5) == pytest.approx(0.5 * (1 / 4 + 2 / 4) / 2)
    assert mixture([4, 4], [1, 2], 0) == 0


@pytest.mark.parametrize(("n", "k"), [([4, 2], 5), ([], 1), ([4], -1), ([4], float("nan"))])
def test_what_samples_cannot_tell(n: list[int], k: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        mixture(n, [0] * len(n), k)


def test_pass_all_of_the_sheet() -> None:
    """n = 4 in two cells, three problems: each cell alone solves a third, both two thirds."""
    passed_QT = np.array([[3, 0], [0, 2], [0, 0]])
    found = solvability(passed_QT)
    assert (found.by_any, found.by_all) == (2, 0)
    assert found.by_cell == found.by_it_alone == (1, 1)
    assert [pass_at_k(4, int(c), 2) for c in passed_QT[:, 0]] == [1, 0, 0]
    assert [pass_at_k(4, int(c), 2) for c in passed_QT[:, 1]] == pytest.approx([0, 5 / 6, 0])
    one_each = [mixture([4, 4], row.tolist(), 2) for row in passed_QT]
    assert one_each == pytest.approx([0.75, 0.5, 0])


def test_solvability_counts_who_is_alone() -> None:
    found = solvability(np.array([[1, 2, 3], [1, 0, 0], [0, 2, 1], [0, 0, 0], [4, 0, 0]]))
    assert found == (4, 1, (3, 2, 2), (2, 0, 0))


def test_splitting_costs_where_the_best_temperature_is_known() -> None:
    """p = 0 and 0.01, K = 100, of the sheet: the limit of many samples in the pools."""
    n = 1_000_000
    assert mixture([n], [0], 100) == 0
    assert mixture([n], [n // 100], 100) == pytest.approx(0.633968, abs=1e-4)
    assert mixture([n, n], [0, n // 100], 100) == pytest.approx(0.394994, abs=1e-4)
