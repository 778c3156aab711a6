"""Estimates against enumeration, published numbers and coverage on a known law."""

import itertools
import math

import numpy as np
import pytest

from diffucode.metrics.passk import bootstrap, clustered, clustered_share, pass_at_k, wilson


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("passed", [0, 1, 3, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_solution(passed: int, k: int) -> None:
    samples = [i < passed for i in range(5)]
    subsets = list(itertools.combinations(samples, k))
    assert pass_at_k(5, passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_at_the_worked_numbers() -> None:
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(10, 3, 5) == pytest.approx(0.916667, abs=1e-6)
    assert pass_at_k(10, 3, 7) == pytest.approx(0.991667, abs=1e-6)
    assert pass_at_k(10, 3, 8) == 1
    assert pass_at_k(1000, 1, 64) == pytest.approx(0.064)  # large binomials lose nothing


@pytest.mark.parametrize(("n", "passed", "k"), [(4, 2, 5), (4, 5, 1), (4, -1, 1), (4, 1, 0)])
def test_pass_at_k_refuses_what_samples_cannot_tell(n: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="expected 1 <= k <= n"):
        pass_at_k(n, passed, k)


def test_wilson_at_known_values() -> None:
    """10 of 20 and 0 of 10, by hand from the score equation."""
    half = wilson(10, 20)
    assert (half.low, half.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    none = wilson(0, 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10).low == pytest.approx(1 - 0.2775, abs=1e-4)
    for n in range(1, 200):
        assert wilson(0, n).low == 0 and wilson(n, n).high == 1


def test_the_mean_is_of_problems_not_of_clusters() -> None:
    found = clustered([1, 1, 1, 0], ["a", "a", "a", "b"], seed=0)
    assert (found.value, found.n, found.clusters) == (0.75, 4, 2)
    assert (found.low, found.high) == (0.0, 1.0)  # one draw in four takes b twice, one a twice


def test_intervals_know_that_problems_of_a_cluster_are_not_independent() -> None:
    """Ten copies of each outcome tell no more than the outcomes; as independent ones they would."""
    outcomes = [i % 3 == 0 for i in range(60)]
    once = clustered_share(outcomes, range(60), seed=1)
    copied = [hit for hit in outcomes for _ in range(10)]
    honest = clustered_share(copied, [i // 10 for i in range(600)], seed=1)
    naive = clustered_share(copied, range(600), seed=1)
    assert (honest.low, honest.high) == pytest.approx((once.low, once.high))
    assert honest.high - honest.low > 2.5 * (naive.high - naive.low)


def test_intervals_cover() -> None:
    """Over 200 draws of 80 clusters of random sizes; binomial odds of under 0.89 at 0.94: 1 in 300."""
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        sizes = rng.integers(1, 5, 80)
        chances = rng.beta(2, 2, 80)
        clusters = np.repeat(np.arange(80), sizes)
        hits = rng.random(len(clusters)) < chances[clusters]
        found = clustered_share(hits.tolist(), clusters.tolist(), seed=trial, resamples=300)
        covered += found.low <= 0.5 <= found.high
    assert 178 <= covered < 200


def test_the_same_seed_gives_the_same_interval() -> None:
    values, clusters = [0.1 * i for i in range(30)], [i // 2 for i in range(30)]
    assert clustered(values, clusters, 3) == clustered(values, clusters, 3)
    assert clustered(values, clusters, 3) != clustered(values, clusters, 4)


def test_outcomes_that_all_agree_are_not_certain() -> None:
    found = clustered_share([True] * 40, [i // 4 for i in range(40)], seed=0)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(wilson(10, 10).low)


def test_one_cluster_tells_no_interval() -> None:
    found = clustered([0.0, 1.0], ["a", "a"], seed=0)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert found.to_json() == {"value": 0.5, "low": None, "high": None, "n": 2, "clusters": 1}


def test_bootstrap_of_the_mean_is_clustered() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.random(50), rng.integers(0, 20, 50).tolist()
    general = bootstrap(lambda index_N: float(values[index_N].mean()), clusters, seed=2)
    assert general == pytest.approx(clustered(values.tolist(), clusters, seed=2))


def test_no_values_and_other_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 values"):
        clustered([], [], 0)
    with pytest.raises(ValueError, match="2 values in 1 clusters"):
        clustered([1, 2], ["a"], 0)
