"""Where answers part, and how entropy there compares with entropy elsewhere."""

import pytest

from diffucode.metrics.forks import Fork, contrast, first_fork


def test_the_first_difference() -> None:
    assert first_fork([[1, 2, 3, 0], [1, 2, 4, 0]]) == 2
    assert first_fork([[1, 0], [1, 2, 0]]) == 1
    assert first_fork([[1, 2, 0], [1, 2, 0], [3, 2, 0]]) == 0
    assert first_fork([[1, 0], [1, 0]]) is None
    assert first_fork([[1, 0]]) is None


def test_medians_are_compared() -> None:
    forks = [Fork(f"s{i}", 1.0 + i, [0.1, 0.2, 0.6]) for i in range(3)]
    found = contrast(forks, 0)
    assert found["ratio"]["value"] == pytest.approx(10)
    assert found["ratio"]["low"] < 10 < found["ratio"]["high"]
    assert (found["fork_median"], found["other_median"]) == (2.0, 0.2)
    assert (found["fork_mean"], found["other_mean"]) == (2.0, pytest.approx(0.3))
    assert contrast([], 0) == {"forks": 0, "ratio": None}
