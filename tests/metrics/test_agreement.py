"""Agreement of clusters with classes: worked numbers, limits, and what a missing label does."""

import math

import pytest

from diffucode.metrics.agreement import Pairs, pairs, together


def test_pairs_by_hand() -> None:
    found = pairs([0, 0, 1, 1, None], "aabab")
    assert found == Pairs(both=1, cluster_only=1, class_only=3, neither=5)
    assert (found.precision, found.recall) == (0.5, 0.25)
    assert found.f1 == pytest.approx(1 / 3)
    assert together([found, found]) == Pairs(2, 2, 6, 10)


def test_two_things_without_a_cluster_are_not_in_one() -> None:
    assert pairs([None, None], "aa") == Pairs(0, 0, 1, 0)


def test_adjusted_rand_is_hubert_and_arabies() -> None:
    # 9 things, contingency [[2, 1, 0], [0, 2, 1], [0, 0, 3]]: index 5, expected 10 * 9 / 36, limit 9.5
    clusters, classes = "aaabbbccc", "xxyyyzzzz"
    expected = 9 * 10 / 36
    assert pairs(clusters, classes).adjusted_rand == pytest.approx(
        (5 - expected) / ((9 + 10) / 2 - expected)
    )


@pytest.mark.parametrize("classes", ["aaaa", "abcd", "aabb"])
def test_equal_partitions_agree_whatever_they_are_called(classes: str) -> None:
    found = pairs([ord(c) * 7 for c in classes], classes)
    assert found.adjusted_rand == 1
    assert math.isnan(found.f1) == (classes == "abcd")


def test_all_in_one_is_no_better_than_chance() -> None:
    assert pairs([0] * 6, "aabbcc").adjusted_rand == 0
