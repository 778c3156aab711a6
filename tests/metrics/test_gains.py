"""The parts of a gain: worked cases, and that they add up."""

from itertools import product
from typing import get_args

import pytest

from diffucode.metrics.gains import FAILURE, Moves, State, gain, moves, state


def test_what_an_answer_is() -> None:
    assert state(right=True, valid=True, ended=False) == "right"
    assert state(right=False, valid=True, ended=False) == "unterminated"
    assert state(right=False, valid=False, ended=False) == "unterminated"
    assert state(right=False, valid=False, ended=True) == "invalid"
    assert state(right=False, valid=True, ended=True) == "wrong"


def test_parts_add_up_to_the_gain() -> None:
    for before, after in product(get_args(State), repeat=2):
        whole = (after == "right") - (before == "right")
        assert sum(gain(kind, before, after) for kind in FAILURE) == whole


def test_shares_of_problems_that_moved() -> None:
    before: list[State] = ["invalid", "invalid", "right", "wrong", "unterminated"]
    after: list[State] = ["right", "wrong", "invalid", "right", "right"]
    assert moves("syntax", before, after) == Moves(0.2, 0.2)
    assert moves("semantics", before, after) == Moves(0.2, 0.0)
    assert moves("termination", before, after) == Moves(0.2, 0.0)
    with pytest.raises(ValueError, match="shorter"):
        moves("syntax", before, after[:2])
