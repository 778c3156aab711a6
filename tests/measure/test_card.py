"""The tables and the targets, from hand-made figures."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from diffucode.errors import TaskError
from diffucode.measure.card import BEGIN, END, card, put
from diffucode.measure.figures import predicted
from diffucode.measure.targets import targets

ROOT = Path(__file__).parents[2]
PACE = {"pace": ["quota", 32, 8]}


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 1000, "clusters": 800}


def result(**changes: Any) -> dict[str, Any]:
    """Figures that meet every target, but for the changes."""
    reached: dict[str, Any] = {
        "scored": 1000,
        "signatures": 700,
        "pass": 0.6,
        "valid": 0.95,
        "pass_k": 0.9,
        "bands": [0.9, 0.7, 0.5, 0.3, 0.1],
        "mixed": 0.4,
        "distinct": 4.0,
        "ratio": 5.0,
        "seconds": 0.25,
        "bytes": 24_000_000,
    }
    reached |= changes
    bands = {str(i): estimate(value) for i, value in enumerate(reached["bands"], start=1)}
    whole = {key: reached[key] for key in ("scored", "signatures")} | PACE | {"split": "test"}
    whole |= {key: estimate(reached[key]) for key in ("pass", "valid")} | {"bands": bands}
    whole |= (
        {"passes": 19.5} | dict.fromkeys(("reward", "hollow", "traps", "others")) | {"domains": {}}
    )
    group = (
        PACE
        | {"scored": 200, "samples": 8}
        | dict.fromkeys(("mixed_plus", "distinct_right", "pass"))
    )
    group |= {key: estimate(reached[key]) for key in ("mixed", "distinct")}
    sampled = {"temperature": 1.0, "k": 64, "samples": 64, "scored": 300, "pass": None}
    sampled |= {"pass_k": estimate(reached["pass_k"]), "valid": None, "distinct": None}
    forks = {"forks": 90, "fork_median": 1.0, "other_median": 0.2, "fork_mean": 1.0}
    forks |= {"other_mean": 0.3, "ratio": estimate(reached["ratio"])}
    mini = {"name": "mini", "decoder": "diffusion", "canvas": 64, "seeds": [1]} | PACE
    mini |= {"greedy": [whole], "samples": [sampled], "groups": group, "forks": forks}
    mini |= {"cost": {"seconds": reached["seconds"], "apart": 0.5, "batch": 64}}
    matched = {"name": "mini-ar-matched", "decoder": "ar", "canvas": 64, "seeds": [1]}
    matched |= {"pace": [None, None, None]}
    return {
        "models": [mini, matched | {"groups": group}],
        "picks": {},
        "bytes": reached["bytes"],
    }


def test_the_edges_of_the_targets_meet_them() -> None:
    assert {met for _, _, met in targets(result())} == {True}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"scored": 999}, 1),
        ({"signatures": 699}, 1),
        ({"pass": 0.49}, 2),  # at L/2 steps, which is the default pace here
        ({"pass": 0.71}, 2),
        ({"valid": 0.94}, 2),
        ({"bands": [0.9, 0.5, 0.5, 0.3, 0.1]}, 1),
        ({"bands": [0.85, 0.7, 0.5, 0.3, 0.1]}, 1),
        ({"bands": [0.9, 0.7, 0.5, 0.3, 0.21]}, 1),
        ({"bands": [0.9, 0.7, 0.5, 0.3, 0.0]}, 1),
        ({"pass_k": 0.91}, 1),
        ({"mixed": 0.39}, 2),
        ({"distinct": 3.9}, 2),
        ({"ratio": 4.9}, 1),
        ({"seconds": 0.26}, 1),
        ({"bytes": 25_000_000}, 1),
    ],
)
def test_every_target_can_be_missed(changes: dict[str, Any], missed: int) -> None:
    found = targets(result(**changes))
    assert [met for _, _, met in found].count(False) == missed


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    found = targets({"models": [], "picks": {}, "bytes": 1})
    assert {met for _, _, met in found[:-1]} == {None}


def test_the_card_takes_the_tables() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    tables = card(result())
    assert "| 60.0 [59.0, 61.0] |" in tables
    once = put(text, tables)
    assert tables in once
    assert put(once, tables) == once
    assert once.startswith(text.partition(BEGIN)[0])
    assert once.endswith(text.partition(END)[2])
    with pytest.raises(TaskError, match="the card needs one"):
        put("no marks", tables)


def test_a_fresh_set_of_problems_falls_where_the_card_says() -> None:
    """19 of 20 times: the interval of the mean alone would hold far fewer."""
    chance, scored, fresh, inside = Random(0), 300, 100, 0
    for _ in range(2000):
        share = sum(chance.random() < 0.6 for _ in range(scored)) / scored
        error = 1.96 * (share * (1 - share) / scored) ** 0.5
        found = predicted(
            {"value": share, "low": share - error, "high": share + error}, scored, fresh
        )
        assert found is not None
        inside += found[0] <= sum(chance.random() < 0.6 for _ in range(fresh)) / fresh <= found[1]
    assert 0.93 < inside / 2000 < 0.97  # four standard errors of the share
    assert predicted(estimate(0.995), 1000, 1000) == pytest.approx((0.995 - 0.01 * 2**0.5, 1.0))
    assert predicted({"value": 0.5, "low": None, "high": None}, 1, 1) is None
    # 60 % of 1,000 problems, +-1 point: +-1 x sqrt(6) of 200
    assert "| `mini` | 57.6 to 62.4 | 58.3 to 61.7 | 58.6 to 61.4 |" in card(result())
