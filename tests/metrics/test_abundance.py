"""Cluster sizes to figures: the worked numbers, and every estimator against an enumeration of draws."""

import math
from collections import Counter
from itertools import combinations, pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffucode.metrics.diversity.abundance import (
    chao1,
    coverage,
    da_at_k,
    eda_at_k,
    effective_at_k,
    hill,
    nauadc,
    sizes_of,
)
from diffucode.metrics.diversity.undefined import Figure, Undefined, defined
from diffucode.metrics.diversity.vendi import vendi
from diffucode.metrics.passk import pass_at_k

A = (6, 3, 1)
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) <= 8)


def value(figure: Figure) -> float:
    assert not isinstance(figure, Undefined), figure
    return figure


def near(x: float) -> object:
    return pytest.approx(x, abs=6e-7)


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 1.6), (3, 1.975), (5, 2.416667), (10, 3)])
def test_da_of_the_worked_example(k: int, expected: float) -> None:
    assert da_at_k(A, k) == near(expected)


def test_da_of_the_worked_example_by_drawing() -> None:
    rng = np.random.default_rng(0)
    programs = np.repeat([0, 1, 2], A)
    draws = [len(set(rng.permutation(programs)[:5])) for _ in range(4000)]
    assert fmean(draws) == pytest.approx(
        2.4167, abs=0.04
    )  # four standard errors; the sheet has 2.42


def test_worked_numbers_of_the_other_figures() -> None:
    assert hill(A, 1) == near(2.454556)
    assert hill(A, 2) == near(2.173913)
    assert nauadc(A) == near(2.757440)
    assert nauadc(A, 10) == near(2.353175)
    assert nauadc([10]) == 1.0
    assert nauadc([1] * 25) == near(13)
    assert nauadc([1] * 10) == near(8.3125)
    assert chao1([5, 2, 1, 1, 1]) == near(9.05)
    assert coverage([5, 2, 1, 1, 1]) == near(0.70)
    assert eda_at_k([3], 10, 5) == near(0.916667)
    assert eda_at_k([3, 2], 10, 5) == near(1.694444)


def test_the_mean_over_two_problems() -> None:
    assert fmean([value(nauadc(A)), value(nauadc([4]))]) == near(1.878720)
    assert fmean([value(hill(A, 1)), value(hill([4], 1))]) == near(1.727278)
    curves = [[value(da_at_k(sizes, k)) for k in range(1, 5)] for sizes in (A, [4])]
    mean = [fmean(column) for column in zip(*curves, strict=True)]
    of_mean = (sum(mean) - (mean[0] + mean[-1]) / 2) / 3
    assert of_mean == pytest.approx(fmean([value(nauadc(A, 4)), value(nauadc([4], 4))]))


@given(SIZES, st.integers(1, 8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_da_and_eda_are_means_over_all_draws(sizes: list[int], k: int, wrong: int) -> None:
    right = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    if k <= len(right):
        drawn = [len(set(some)) for some in combinations(right, k)]
        assert da_at_k(sizes, k) == pytest.approx(fmean(drawn))
    pool = right + [-1] * wrong
    if k <= len(pool):
        drawn = [len(set(some) - {-1}) for some in combinations(pool, k)]
        assert eda_at_k(sizes, len(pool), k) == pytest.approx(fmean(drawn))


@given(SIZES, st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_effective_at_k_is_of_the_mean_entropy_of_all_draws(sizes: list[int], k: int) -> None:
    right = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    if k > len(right):
        assert isinstance(effective_at_k(sizes, k), Undefined)
        return
    entropies = [
        math.log(value(hill(list(Counter(some).values()), 1))) for some in combinations(right, k)
    ]
    assert effective_at_k(sizes, k) == pytest.approx(math.exp(fmean(entropies)))


@given(SIZES, st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_one_cluster_is_pass_at_k(sizes: list[int], k: int) -> None:
    pool = sum(sizes) + 2
    if k <= pool:
        assert eda_at_k([sum(sizes)], pool, k) == pytest.approx(pass_at_k(pool, sum(sizes), k))
        assert value(eda_at_k(sizes, pool, k)) >= pass_at_k(pool, sum(sizes), k) - 1e-12


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_effective_numbers(sizes: list[int]) -> None:
    numbers = [value(hill(sizes, q)) for q in (0, 0.5, 1, 2, 7, math.inf)]
    assert numbers[0] == len(sizes)
    assert all(one >= other - 1e-9 for one, other in pairwise(numbers))
    assert numbers[-1] == pytest.approx(sum(sizes) / max(sizes))
    assert effective_at_k(sizes, sum(sizes)) == pytest.approx(numbers[2])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    same_NN = (labels[:, None] == labels[None, :]).astype(float)
    for q in (1, 2, math.inf):
        assert vendi(same_NN, q) == pytest.approx(hill(sizes, q))


def test_chao1_without_clusters_of_two() -> None:
    assert chao1([4, 1, 1]) == near(3 + 5 / 6 * 1)
    assert chao1([4, 1]) == 2
    assert chao1([4, 4]) == 2


def test_labels_to_sizes() -> None:
    assert sizes_of(["a", "b", None, "b", None]) == (2, 1)
    assert sizes_of([None]) == ()


def test_what_is_not_known_is_undefined_and_says_why() -> None:
    nothing: list[int] = []
    for figure in (
        da_at_k(nothing, 1),
        effective_at_k(nothing, 1),
        hill(nothing, 1),
        nauadc(nothing),
        chao1(nothing),
        coverage(nothing),
    ):
        assert figure == Undefined("no correct program")
    assert da_at_k(A, 11) == Undefined("fewer than 11 correct programs")
    assert eda_at_k(A, 20, 21) == Undefined("fewer than 21 samples")
    assert nauadc(A, 1) == Undefined("a curve needs two points")
    assert eda_at_k(nothing, 20, 5) == 0  # an unsolved task counts
    assert defined([1.0, Undefined("x"), 0.0]) == [1.0, 0.0]


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="K = 0"):
        da_at_k(A, 0)
    with pytest.raises(ValueError, match="expected all to be >= 1"):
        hill([3, 0], 1)
    with pytest.raises(ValueError, match="10 correct programs of 9 samples"):
        eda_at_k(A, 9, 2)
    with pytest.raises(ValueError, match="order -1"):
        hill(A, -1)
