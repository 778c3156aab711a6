"""Rows to estimates, tables and a picture, from rows that are made by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from running import ROOT

from diffucode import config
from diffucode.metrics.gains import Moves
from diffucode.studies.figures import Found, elected, passed
from diffucode.studies.plan import Study
from diffucode.studies.plot import draw
from diffucode.studies.report import report
from diffucode.studies.rows import COLUMNS, Measured, Row, Votes, read

MANY = 40


@pytest.fixture(scope="module")
def study() -> Study:
    """The shipped plan."""
    return config.load(Study, ROOT / "configs/studies/coupled_grpo.yaml", ["resamples=200"])


def measured(pace: str, right: Sequence[int], *, tau: float = 0.0, **more: list[Any]) -> Measured:
    n = len(right)
    columns: dict[str, list[Any]] = {name: [1] * n for name in COLUMNS}
    columns |= {"id": [f"p{i}" for i in range(n)], "signature": [f"s{i // 2}" for i in range(n)]}
    return Measured(pace, "test", tau, columns | {"plus": list(right)} | more)


def row(arm: str, seed: int, share: float, *, half: float | None = None) -> Row:
    """A run that solves the first problems."""
    right = [int(i < share * MANY) for i in range(MANY)]
    lower = [int(i < (share if half is None else half) * MANY) for i in range(MANY)]
    paces = {"usual": right, "L": right, "L/2": lower, "L/4": lower}
    found = [measured(pace, values) for pace, values in paces.items()]
    cost = {"rollouts": 3840.0, "positions": 1000.0}
    curve: list[dict[str, float | None]] = [
        {"update": 0, "rollouts": 0, "positions": 0, "dev_pass": 0.5},
        {"update": 40, "rollouts": 3840, "positions": 1000, "dev_pass": share},
    ]
    return Row(arm, seed, None, None, 60.0, cost, curve, found)


def rows(**shares: float) -> list[Row]:
    """Five runs of each arm that differ by a problem."""
    return [
        row(arm, 10 + n, share + (n - 2) / MANY, half=share / 2)
        for arm, share in shares.items()
        for n in range(5)
    ]


def test_comparisons_are_decided(study: Study) -> None:
    base = [row("base", 0, 0.5)]
    found = Found.of(study, [*base, *rows(coupled=0.8, decoupled=0.5, full=0.75)])
    one, other = found.comparisons()
    assert one.found is not None and other.found is not None
    assert one.found.value == pytest.approx(0.3) and one.decision == "resolved"
    assert other.found.value == pytest.approx(0.05) and other.decision == "not resolved"
    assert one.adjusted == pytest.approx(2 * one.found.p) and other.adjusted == other.found.p
    assert abs(other.found.value) < other.found.detectable


def test_a_comparison_without_rows_is_not_resolved(study: Study) -> None:
    found = Found.of(study, rows(coupled=0.8, decoupled=0.5))
    one, other = found.comparisons()
    assert other.found is None and other.decision == "not resolved"
    assert one.found is not None and one.adjusted == pytest.approx(2 * one.found.p)


def test_parts_of_a_gain_add_up(study: Study) -> None:
    """Of 40: 4 invalid and 6 wrong become right, 2 right ones are lost to a full canvas."""
    before = [1] * 20 + [0] * 20
    valid = [1] * 20 + [0] * 10 + [1] * 10
    base = Row("base", 0, None, None, 1.0, measured=[measured("usual", before, valid=valid)])
    after = [0] * 2 + [1] * 18 + [1] * 4 + [0] * 6 + [1] * 6 + [0] * 4
    ended = [0] * 2 + [1] * 38
    runs = [
        Row("coupled", s, None, None, 1.0, measured=[measured("usual", after, ended=ended)])
        for s in (10, 11)
    ]
    found = Found.of(study, [base, *runs])
    parts = {
        kind: one and one.value for kind, one in found.gains(study.arm("coupled"), "usual").items()
    }
    assert parts == pytest.approx({"termination": -2 / 40, "syntax": 4 / 40, "semantics": 6 / 40})
    assert found.moves(study.arm("coupled"), "usual", "termination") == Moves(0, 2 / 40)
    assert found.moves(study.arm("coupled"), "usual", "syntax") == Moves(4 / 40, 0)
    whole = found.against("coupled", "base", passed("usual"))
    assert whole is not None and whole.value == pytest.approx(8 / 40)
    assert whole.runs == 2 and whole.error > 0  # the base has one run, which is not resampled


def test_what_half_of_the_steps_cost(study: Study) -> None:
    found = Found.of(study, rows(coupled=0.8))
    points, share = (found.drop("coupled", relative=relative) for relative in (False, True))
    assert points is not None and share is not None
    assert points.value == pytest.approx(0.4) and share.value == pytest.approx(0.5)


def test_problems_that_one_run_lacks_are_left_out_of_its_comparisons(study: Study) -> None:
    short = Row("coupled", 10, None, None, 1.0, measured=[measured("usual", [1, 1, 0])])
    long = Row("coupled", 11, None, None, 1.0, measured=[measured("usual", [1, 0, 0, 1])])
    share = Found.of(study, [short, long]).share("coupled", passed("usual"))
    assert share is not None and (share.n, share.value) == (3, 0.5)


def test_collapse_is_far_below_the_base(study: Study) -> None:
    base, low, fine = row("base", 0, 0.5), row("coupled", 10, 0.2), row("coupled", 11, 0.3)
    found = Found.of(study, [base, low, fine])
    assert found.collapsed(low) and not found.collapsed(fine) and not found.collapsed(base)


def votes(seed: int) -> Row:
    """One problem whose majority turns right with the third sample, one that is never right."""
    label: list[list[int | None]] = [[0, 1, 1, 1], [None, 0, 0, 0]]
    right = [[False, True, True, True], [False] * 4]
    return Row(
        "vote", seed, None, None, 1.0, votes=Votes(["a", "b"], ["a", "b"], label, right, 800)
    )


def test_the_vote(study: Study) -> None:
    assert elected(1)(votes(10)) == elected(2)(votes(10)) == {"a": 0, "b": 0}
    assert elected(3)(votes(10)) == {"a": 1, "b": 0}
    found = Found.of(study, [votes(10), votes(11), *rows(coupled=0.8)])
    third = found.vote("vote", 3)
    assert third is not None and (third.found.value, third.positions) == (0.5, 600)
    assert (
        found.equal_cost("coupled", "vote") == 5
    )  # 1,000 positions at 200 a sample of each problem
    assert found.equal_cost("full", "vote") is None


def test_a_report_and_a_picture(study: Study, tmp_path: Path) -> None:
    some = [row("base", 0, 0.5), *rows(coupled=0.8, decoupled=0.5, full=0.75), votes(10), votes(11)]
    text = report(study, some, [])
    assert "| `coupled` minus `decoupled` | 30.0 [" in text and "| resolved |" in text
    for title in ("Primary comparisons", "Arms", "What the arms reach", "What a gain", "AR-ness"):
        assert f"### {title}" in text
    assert "as much as training `" in text
    assert report(study, [], []).count("###") == 1  # the comparisons, empty
    draw(Found.of(study, some), tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


def test_rows_survive_the_disk(tmp_path: Path) -> None:
    for one in (row("coupled", 10, 0.5), votes(10)):
        one.write(tmp_path)
        assert read(tmp_path) == one
    assert read(tmp_path / "none") is None
