"""Attention patterns: their spelling, and exactly who sees whom."""

import pytest
import torch

from diffucode.errors import ConfigError
from diffucode.models.attention import Attention


@pytest.mark.parametrize("text", ["full", "causal", "block-causal(1)", "block-causal(32)"])
def test_spelling_round_trips(text: str) -> None:
    assert str(Attention.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "Full", "block-causal", "block-causal(0)", "block-causal(-1)", "causal ", "both"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected full, causal or block-causal"):
        Attention.parse(text)


def test_who_sees_whom() -> None:
    real = torch.tensor([[False, True, True, True, True, False]])
    position = torch.tensor([[0, 0, 1, 2, 3, 0]])
    drawn = {
        "full": ["#####.", ".####.", ".####.", ".####.", ".####.", ".#####"],
        "causal": ["##....", ".#....", ".##...", ".###..", ".####.", ".#...#"],
        "block-causal(2)": ["###...", ".##...", ".##...", ".####.", ".####.", ".##..#"],
    }
    for text, picture in drawn.items():
        mask = Attention.parse(text).mask(real, position)
        assert mask.shape == (1, 1, 6, 6)
        assert ["".join("#" if see else "." for see in row) for row in mask[0, 0]] == picture


def test_blocks_of_one_are_causal() -> None:
    real, position = torch.ones(2, 7, dtype=torch.bool), torch.arange(7).expand(2, 7)
    ones = Attention.parse("block-causal(1)").mask(real, position)
    assert torch.equal(ones, Attention.parse("causal").mask(real, position))
