"""Logit edits against their definitions, and the repetition penalty against transformers'."""

import math

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from diffucode.decoding.canvas import Canvas
from diffucode.errors import PlanError
from diffucode.protocols import EditContext
from diffucode.sampling.edits import Ban, Bias, Repetition


def context(rows: list[int]) -> EditContext:
    canvas = Canvas.of(
        [[3, 5, 0, 0], [3, 1, 1, 0, 6, 0]],
        [[False, False, True, True], [False, False, False, True, False, True]],
        [(0, 0), (0, 1)],
        fill=9,
    )
    row_n = torch.tensor(rows)
    return EditContext(row_n, torch.zeros_like(row_n), canvas)


def test_ban_and_bias() -> None:
    z = torch.zeros(2, 10)
    assert torch.equal(
        Ban((2, 4))(z.clone(), context([0, 1])).isinf().nonzero()[:, 1], torch.tensor([2, 4, 2, 4])
    )
    biased = Bias({1: -3.0, 7: 0.5, 2: -math.inf})(z.clone(), context([0, 1]))
    assert biased[0].tolist() == [0, -3, -math.inf, 0, 0, 0, 0, 0.5, 0, 0] == biased[1].tolist()


def test_repetition_equals_transformers_on_visible_tokens() -> None:
    z = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    ours = Repetition(1.2)(z.clone(), context([0, 1]))
    theirs = RepetitionPenaltyLogitsProcessor(1.2)
    assert torch.equal(ours[:1], theirs(torch.tensor([[3, 5]]), z[:1].clone()))
    assert torch.equal(ours[1:], theirs(torch.tensor([[3, 1, 1, 6]]), z[1:].clone()))


def test_repetition_worked_numbers() -> None:
    """z = [3, 2, 1, 0, -1], penalty 1.2."""
    canvas = Canvas.of([[0, 1, 2, 3, 4, 0]], [[False] * 5 + [True]], [(0, 0)], fill=0)
    z = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]])
    out = Repetition(1.2)(z, EditContext(torch.tensor([0]), torch.tensor([0]), canvas))
    torch.testing.assert_close(out, torch.tensor([[2.5, 5 / 3, 5 / 6, 0.0, -1.2]]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bias({3: math.nan}),
        lambda: Repetition(0.0),
        lambda: Ban((10,))(torch.zeros(1, 10), context([0])),
        lambda: Bias({-1: 1.0})(torch.zeros(1, 10), context([0])),
    ],
)
def test_bad_edits_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError):
        make()
