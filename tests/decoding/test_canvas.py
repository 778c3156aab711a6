"""The canvas: open is stored, a position is written once, rows can be taken and joined."""

import pytest
import torch

from diffucode.decoding.canvas import Canvas
from diffucode.errors import CanvasError

MASK = 9


def canvas() -> Canvas:
    return Canvas.of(
        [[1, 0, 0], [MASK, 2, 0, 0, 3]],
        [[False, True, True], [False, False, True, True, False]],
        [(1, 2), (3, 4)],
        fill=MASK,
    )


def test_rows_from_lists() -> None:
    c = canvas()
    assert c.tokens_BL.tolist() == [[1, 9, 9, 9, 9], [9, 2, 9, 9, 3]]
    assert c.real_BL.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert c.start_B.tolist() == [1, 2]
    # a mask token that was given is not open, and nothing unreal is given
    assert c.given_BL.tolist() == [[True] + [False] * 4, [True, True, False, False, True]]
    assert (c.open_BL & ~c.real_BL).sum() == 0


def test_commit_writes_once() -> None:
    where = torch.zeros(2, 5, dtype=torch.bool)
    where[0, 2] = where[1, 2] = True
    before = canvas()
    after = before.commit(torch.full((2, 5), 7), where)
    assert after.tokens_BL.tolist() == [[1, 9, 7, 9, 9], [9, 2, 7, 9, 3]]
    assert after.open_BL.sum() == before.open_BL.sum() - 2
    assert before.tokens_BL[0, 2] == MASK  # the old canvas is a value of its own
    for row, col, name in ((0, 2, "column 2"), (0, 0, "column 0"), (0, 4, "column 4")):
        again = torch.zeros(2, 5, dtype=torch.bool)
        again[row, col] = True
        with pytest.raises(CanvasError, match=f"row {row}, {name}"):
            after.commit(torch.zeros(2, 5, dtype=torch.long), again)


def test_take_and_cat() -> None:
    c = canvas()
    short = c.take(torch.tensor([0]), 3)
    assert short.shape == (1, 3) and short.key_B2.tolist() == [[1, 2]]
    both = short.cat(c.take(torch.tensor([1])), fill=MASK)
    for name in ("tokens_BL", "given_BL", "open_BL", "real_BL", "position_BL", "key_B2", "start_B"):
        assert torch.equal(getattr(both, name), getattr(c, name)), name


def test_cat_keeps_regions_of_one_side() -> None:
    labelled = Canvas.of([[1, 0]], [[False, True]], [(0, 0)], fill=MASK, regions=[[0, 1]])
    assert labelled.cat(canvas(), fill=MASK).region_BL.tolist() == [
        [0, 1, 0, 0, 0],
        [0] * 5,
        [0] * 5,
    ]
    assert canvas().cat(labelled, fill=MASK).region_BL.tolist()[2] == [0, 1, 0, 0, 0]


def test_rows_that_look_alike_are_one() -> None:
    """Not seen: keys, what stands in open columns. Seen: a given mask, where a row ends."""
    yes, no = True, False
    rows = [
        ([1, 5, 0], [no, no, yes]),
        ([1, MASK, 0], [no, yes, yes]),
        ([1, MASK, 0], [no, no, yes]),
        ([1, 5, 0, 0], [no, no, yes, yes]),
        ([1, 5, 0], [no, no, yes]),
        ([1, 0, 0], [no, yes, yes]),
    ]
    tokens, opened = zip(*rows, strict=True)
    whole = Canvas.of(tokens, opened, [(b, b) for b in range(len(rows))], fill=MASK)
    whole.tokens_BL[1, 1] = 7
    few, place_B = whole.distinct()
    assert few.shape[0] == 4
    assert place_B[0] == place_B[4] and place_B[1] == place_B[5]
    assert len(set(place_B.tolist())) == 4
    for b, u in enumerate(place_B.tolist()):
        assert torch.equal(few.open_BL[u], whole.open_BL[b])
        assert torch.equal(few.real_BL[u], whole.real_BL[b])
    assert few.take(place_B).distinct()[0].shape == few.shape
    again, places = few.distinct()
    assert again is few and places.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("opened", [[[False, False]], [[True]], [[True, True, True]]])
def test_rows_that_cannot_be_decoded(opened: list[list[bool]]) -> None:
    with pytest.raises(CanvasError, match="row 0"):
        Canvas.of([[1, 2]], opened, [(0, 0)], fill=MASK)
