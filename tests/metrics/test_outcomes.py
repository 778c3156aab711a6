"""Figures of hand-made outcomes."""

from typing import Any

import pytest

from diffucode.metrics.outcomes import Outcome, grouped, sampled, solved


def outcome(index: int, **changes: Any) -> Outcome:
    fields = {"id": str(index), "signature": f"s{index}", "domain": "numbers"}
    fields |= {"band": 1 + index % 5, "trap": index % 4 == 0, "n": 1, "valid": 1, "reward": 1}
    fields |= {"plus": 0, "hollow": 0, "distinct": 1, "distinct_right": 0}
    return Outcome(**fields | changes)


def test_figures_of_solved_problems() -> None:
    outcomes = [outcome(i, plus=int(i % 5 < 2), hollow=int(i % 5 == 2)) for i in range(19)]
    outcomes.append(outcome(19, reward=0, signature="s0", domain="text"))
    found = solved(outcomes, 0)
    assert (found["scored"], found["signatures"]) == (20, 19)
    assert found["pass"]["value"] == pytest.approx(8 / 20)
    assert found["passes"] == 0
    assert found["reward"]["value"] == pytest.approx(19 / 20)
    assert found["hollow"]["value"] == pytest.approx(4 / 19)
    assert found["hollow"]["n"] == 19
    assert [found["bands"][str(band)]["value"] for band in range(1, 6)] == [1, 1, 0, 0, 0]
    assert {name: row["n"] for name, row in found["domains"].items()} == {"numbers": 19, "text": 1}
    assert found["traps"]["n"] == 5
    assert found["others"]["n"] == 15


def test_several_samples_count_by_their_mean() -> None:
    several = outcome(0, n=4, valid=3, reward=2, plus=1, hollow=1, passes=40)
    found = solved([several, outcome(1, plus=1, passes=20)], 0)
    assert found["passes"] == 12
    shares = {key: found[key]["value"] for key in ("pass", "valid", "reward", "hollow")}
    assert shares == {"pass": 0.625, "valid": 0.875, "reward": 0.75, "hollow": 0.25}


def test_no_problem_of_a_kind_has_no_figure() -> None:
    assert solved([outcome(1, reward=0)], 0)["hollow"] is None
    nothing = solved([], 0)
    assert (nothing["scored"], nothing["pass"], nothing["bands"]) == (0, None, {})


def test_figures_of_groups_and_of_many_samples() -> None:
    outcomes = [
        outcome(
            i, n=8, plus=i, reward=3 if i == 1 else 8, valid=8, distinct=i + 1, distinct_right=i
        )
        for i in range(9)
    ]
    groups = grouped(outcomes, 0)
    assert groups["samples"] == 8
    assert groups["mixed"]["value"] == pytest.approx(1 / 9)
    assert groups["mixed_plus"]["value"] == pytest.approx(7 / 9)
    assert groups["distinct"]["value"] == 5
    assert groups["distinct_right"]["value"] == 4
    many = sampled(outcomes, 8, 0)
    assert many["pass"]["value"] == pytest.approx(0.5)
    assert many["pass_k"]["value"] == pytest.approx(8 / 9)
    assert sampled(outcomes, 1, 0)["pass_k"]["value"] == pytest.approx(0.5)
