"""Samples to figures: worked numbers, undefined ones, and comparisons at equal quality."""

import math

import numpy as np
import pytest
from gridded import ar, diffusion, drawn, samples

from diffucode.measure.sweep.figures import Values, aligned, common, ea, eda, figures
from diffucode.measure.sweep.matched import at_equal_pass, at_equal_temperature


def flags(text: str) -> list[bool]:
    return [letter == "1" for letter in text]


def test_diversity_of_the_sheet() -> None:
    """n = 10, right clusters [3, 2], 5 wrong, K = 5; sizes [6, 3, 1]; one cluster is pass@k."""
    one = samples("p", flags("1111100000"), "aaabbccccc")
    assert eda(one, 5) == pytest.approx(1.694444, abs=1e-6)
    assert eda(samples("p", flags("1110000000")), 5) == pytest.approx(0.916667, abs=1e-6)
    assert ea(samples("p", [True] * 10, "aaaaaabbbc")) == pytest.approx(2.454556, abs=1e-6)
    assert math.isnan(ea(samples("p", [False] * 3)))


def test_a_wrong_program_adds_no_algorithm() -> None:
    one = samples("p", flags("1100"), "aabc")
    assert eda(one, 4) == 1 and ea(one) == 1


def values(*found: object) -> list[Values]:
    return aligned(found, ["p", "q"], 4, 2)  # type: ignore[arg-type]


def test_figures_of_a_cell() -> None:
    [one] = values(
        drawn(
            diffusion(1.0), samples("p", flags("1100"), "ab-c"), samples("q", flags("0000"), "aaaa")
        )
    )
    found = figures(one, 0, common([one]))
    value = {name: x["value"] for name, x in found.items() if isinstance(x, dict)}
    assert value["pass_1"] == 0.25 and value["pass_k"] == pytest.approx((1 - 1 / 6) / 2)
    assert value["eda_k"] == pytest.approx((2 * 0.5) / 2)
    assert value["ea"] == 2 and found["ea"]["n"] == 1  # of q it is undefined, not 0
    assert (value["distinct"], value["distinct_right"]) == (2, 1)
    assert (value["valid"], value["ended"], value["local"]) == (7 / 8, 1, 0.5)
    assert found["leftmost"] is found["ea_common"] is None
    assert (found["tokens_per_second"], found["tokens_per_core_second"]) == (4, 8)
    assert (found["core_seconds"], found["total_positions"]) == (0.5, 80)


def test_cells_are_compared_on_the_problems_that_all_have() -> None:
    p, q = (samples(id, flags("1111")) for id in "pq")
    short = samples("q", flags("11"))
    one, other, sure = values(
        drawn(diffusion(1.0), p, q),
        drawn(diffusion(1.3), p, short),
        drawn(diffusion(0.0), samples("p", [True]), samples("q", [True])),
    )
    assert [[x.id for x in cell.samples] for cell in (one, other, sure)] == [["p"]] * 3
    assert sure["pass_k"].tolist() == sure["eda_k"].tolist() == [1]  # all its samples are one


def test_common_problems_have_five_right_everywhere() -> None:
    many, few = samples("p", [True] * 6), samples("p", [True] * 4 + [False] * 2)
    cells = [Values(drawn(diffusion(t), x), [x], 2) for t, x in ((0.5, many), (1.0, few))]
    assert common(cells[:1]).tolist() == [True] and common(cells).tolist() == [False]


def test_equal_temperature_and_equal_pass() -> None:
    """AR: pass@1 of 0.75 and 0.25 with 1 and 3 kinds in all; diffusion stands in the middle, with 1.5."""
    right = {"p": flags("1110"), "q": flags("1110")}
    hot = {"p": flags("1000"), "q": flags("1000")}
    cells = values(
        drawn(ar(0.5), *(samples(id, x) for id, x in right.items())),
        drawn(ar(1.0), *(samples(id, x) for id, x in hot.items())),
        drawn(diffusion(1.0), *(samples(id, flags("1100"), "abaa") for id in "pq")),
    )
    equal_t = {one.measure: one for one in at_equal_temperature(cells, 0)}
    assert equal_t["pass_k"].difference is not None
    assert equal_t["pass_k"].difference.value == pytest.approx(5 / 6 - 1 / 2)
    equal = {one.measure: one for one in at_equal_pass(cells, 0)}
    assert {one.at for one in equal.values()} == {0.5}
    assert equal["ea"].difference is not None and equal["ea"].difference.value == pytest.approx(1)
    between = (1.0 + 0.5) / 2  # pass@2 of 3 and of 1 right among 4
    assert equal["pass_k"].difference is not None
    assert equal["pass_k"].difference.value == pytest.approx(5 / 6 - between)


def test_nothing_is_extrapolated() -> None:
    cells = values(
        drawn(ar(1.0), *(samples(id, flags("1000")) for id in "pq")),
        drawn(diffusion(1.0), *(samples(id, flags("1100")) for id in "pq")),
    )
    assert all(one.difference is None for one in at_equal_pass(cells, 0))
    assert np.isfinite(cells[0].mean("pass_1"))
