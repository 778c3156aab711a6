"""The jackknife: Student's interval for a mean, honest coverage for a statistic of pairs."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from diffucode.metrics.jackknife import jackknife, student


@pytest.mark.parametrize(("confidence", "close"), [(0.95, 0.002), (0.99, 0.008)])
def test_quantiles_are_students(confidence: float, close: float) -> None:
    for freedom in range(3, 60):
        wanted = stats.t.ppf((1 + confidence) / 2, freedom)
        assert student(freedom, confidence) == pytest.approx(wanted, rel=close)


def test_a_mean_has_students_interval() -> None:
    value_D = np.random.default_rng(0).normal(size=9)
    found = jackknife(lambda some: float(value_D[some].mean()), 9)
    reach = student(8) * value_D.std(ddof=1) / 3
    assert found.value == pytest.approx(value_D.mean())
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    assert (found.n, found.clusters) == (9, 9)


def test_an_interval_covers_as_often_as_it_says() -> None:
    """The ratio of a variance to a square, in logarithms: 95 % of 400, 85 to 99 being allowed."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        value_D = rng.normal(3, 1, size=12)

        def ratio(some: NDArray[np.intp], value_D: NDArray[np.float64] = value_D) -> float:
            return float(value_D[some].var(ddof=1) / value_D[some].mean() ** 2)

        found = jackknife(ratio, 12, log=True)
        hits += found.low <= 1 / 9 <= found.high
    assert 340 < hits < 396


def test_what_is_not_known_is_not_a_number() -> None:
    found = jackknife(lambda some: -1.0, 4, log=True)
    assert all(map(math.isnan, found[:3]))
    one = jackknife(lambda some: 2.0 if len(some) == 4 else math.nan, 4, log=True)
    assert one.value == pytest.approx(2) and math.isnan(one.low) and math.isnan(one.high)
    wide = jackknife(lambda some: 1e300 if 0 in some else 1e-300, 4, log=True)
    assert wide.low == 0 and math.isfinite(wide.high)
    with pytest.raises(ValueError, match="at least two"):
        jackknife(lambda some: 0.0, 1)
