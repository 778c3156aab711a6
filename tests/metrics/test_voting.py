"""Voting across temperatures with early exit."""

import pytest

from diffucode.errors import ConfigError
from diffucode.metrics.voting import Ballot, Rule, Winner, decided, elect, plain, tally

FIVE = Rule(least=5)
EXIT = [[7], [7, 7, 7, 3, 7], [7, 7, 7, 7, 5]]
STAY = [[7] * 5, [7, 7, 3, 3, 7]]


def test_the_pools_of_the_sheet() -> None:
    assert decided(EXIT, FIVE) == (0, 0)
    found = elect(EXIT, FIVE)
    assert found.easy and found.used_T == (1, 5, 5)
    assert decided(STAY, FIVE) is None
    stayed = elect(STAY, FIVE)
    assert not stayed.easy and stayed.winner == (0, 0)


@pytest.mark.parametrize(
    ("pools", "answer"),
    [
        ([[1] * 4 + [2], [2] * 4 + [1]], None),  # both sure, of different answers
        ([[1, 1, 1, 2, 2], [1] * 5], None),  # a share of 0.6
        ([[None] * 5, [1] * 5], None),  # nothing to compare
        ([[None, 1, 1, 1, 1], [1] * 5], (0, 1)),  # a broken program counts in the share, 0.8
        ([[None, None, 1, 1, 1], [1] * 5], None),
        ([[1], [2] * 5], None),  # a pool of one is sure, and of another answer
    ],
)
def test_confidence(pools: list[list[int | None]], answer: Winner | None) -> None:
    assert decided(pools, FIVE) == answer


def test_a_tie_is_no_confidence() -> None:
    assert decided([[1, 2], [1, 2]], Rule(inside=0.5, across=0.5)) is None
    assert decided([[1], [2]], Rule(across=0.5)) is None
    assert decided([[1], [2], [1]], Rule(across=0.5)) == (0, 0)
    assert decided([[1, 1, None, None]], Rule(inside=0.5)) == (
        0,
        0,
    )  # None is no answer to tie with


def test_votes_come_round_by_round() -> None:
    """The third sample of the second cell spoils 8, 12 makes up for it: 10 of 12."""
    pools = [[1] * 16, [1, 1, 2, 2] + [1] * 12]
    found = elect(pools, Rule())
    assert found.easy and found.used_T == (12, 12)
    assert elect(pools, Rule(inside=0.75)).used_T == (8, 8)
    assert elect(pools, Rule(inside=0.9)) == (Winner(0, 0), False, (16, 16))
    assert elect([[1] * 3, [1] * 5], Rule()).used_T == (3, 5)  # all there is, less than 8


def test_hard_ones_go_by_plain_majority() -> None:
    pools = [[1, 1, 2], [2, 2, 3]]
    assert elect(pools, Rule(least=3)).winner == (0, 2) == plain(pools)
    assert plain([[None], [None, None]]) is None
    assert elect([[None], [None]], Rule()).winner is None
    assert plain([[3, 1], [1, 3]]) == (0, 0)  # of equals, the one seen first


def test_tally() -> None:
    rule = Rule(round=1, least=2, inside=1.0)
    easy_right = Ballot([[1, 1, 2], [1, 1, 2]], [[True, True, False]] * 2, [[1, 1, 1]] * 2)
    easy_wrong = Ballot([[1, 1, 2], [1, 1, 2]], [[False, False, True]] * 2, [[2, 2, 2]] * 2)
    lost = Ballot([[1, 1, 2], [1, 1] + [2] * 4], [[False] * 2 + [True], [False] * 2 + [True] * 4],
                  [[1] * 3, [1] * 6])  # fmt: skip
    hard = Ballot([[1, 2, 2], [1, 2, 2]], [[False, True, True]] * 2, [[1, 1, 1]] * 2)
    nothing = Ballot([[None], [None]], [[False], [False]], [[1], [1]])
    found = tally([easy_right, easy_wrong, lost, hard, nothing], rule)
    assert (found.problems, found.exits, found.right, found.right_full) == (5, 3, 2, 3)
    assert (found.false_exits, found.lost) == (2, 1)
    assert (found.used, found.full) == (4 + 8 + 4 + 6 + 2, 6 + 12 + 9 + 6 + 2)
    assert found.saved == pytest.approx(1 - 24 / 35)


def test_looser_rules_exit_earlier() -> None:
    pools = [[1, 1, 1, 2] * 4, [1] * 16, [1, 2, 1, 1] * 4]
    used = [sum(elect(pools, Rule(inside=share)).used_T) for share in (0.5, 0.75, 0.8, 1.0)]
    assert used == sorted(used) and used[0] < used[-1]


@pytest.mark.parametrize("wrong", [{"round": 0}, {"least": 0}, {"inside": 0}, {"across": 1.1}])
def test_rules_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Rule(**wrong)  # type: ignore[arg-type]


def test_no_pools() -> None:
    for pools in ([], [[1], []]):
        with pytest.raises(ValueError, match="each with a sample"):
            elect(pools, Rule())
