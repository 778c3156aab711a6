"""Batches by hand, the laws of their masks, and that a batch is a pure function of its step."""

import math

import numpy as np
import pytest
import torch

from diffucode.data.batches import (
    Batch,
    Batches,
    SpecialIds,
    causal_batch,
    masked_batch,
    nearness,
    padded,
)
from diffucode.data.packed import Packed
from diffucode.errors import ConfigError

IDS = SpecialIds(end=0, mask=1, pad=2)


def data(n: int, canvas: int = 12) -> Packed:
    """``n`` examples of random lengths, every other with half the canvas."""
    rng = np.random.default_rng(0)
    prompt_n, answer_n = rng.integers(1, 9, n), rng.integers(0, canvas // 2, n)
    total_n = prompt_n + answer_n
    token_T = rng.integers(3, 100, total_n.sum()).astype(np.uint16)
    canvas_n = np.where(np.arange(n) % 2, canvas // 2, canvas)
    region_T = np.ones(len(token_T), np.int8)
    return Packed(token_T, region_T, prompt_n, answer_n, canvas_n, np.cumsum(total_n) - total_n)


def batches(packed: Packed, **changes: object) -> Batches:
    usual = {"objective": "diffusion", "weighting": "bound", "batch": 4, "rows": 3}
    return Batches(
        packed, IDS, **{**usual, "full_canvas": 0.2, "frontier": 0.0, "seed": 0, **changes}
    )  # type: ignore[arg-type]


def test_the_masked_batch_by_hand() -> None:
    """Two rows on canvases of 4 and 2; hidden positions are read in place, or one column earlier."""
    hide = np.array([[True, False, True, True], [False, True, True, True]])
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    rows = [np.array([10, 11, 20, 21]), np.array([12, 22])]
    for shift, first in ((False, 2), (True, 1)):
        batch = masked_batch(rows, np.array([2, 1]), np.array([4, 2]), hide, weights, IDS, shift)
        assert batch.tokens_BL.tolist() == [[10, 11, 1, 21, 1, 1], [12, 22, 1, 2, 2, 2]]
        assert batch.real_BL.sum(1).tolist() == [6, 3]
        assert batch.row_N.tolist() == [0, 0, 0, 1]
        assert batch.col_N.tolist() == [first, first + 2, first + 3, first]
        assert batch.target_N.tolist() == [20, 0, 0, 0]
        assert batch.weight_N.tolist() == pytest.approx([0.1, 0.3, 0.4, 0.6])


def test_the_first_column_of_a_row_reads_itself() -> None:
    batch = masked_batch(
        [np.array([20])],
        np.array([0]),
        np.array([2]),
        np.ones((1, 2), bool),
        np.ones((1, 2)),
        IDS,
        True,
    )
    assert batch.col_N.tolist() == [0, 0] and batch.target_N.tolist() == [20, 0]


def test_the_causal_batch_by_hand() -> None:
    """Answer and one end of text, each read one position earlier, mean over all targets."""
    rows = [np.array([10, 11, 20, 21]), np.array([12, 22])]
    batch = causal_batch(rows, np.array([2, 1]), 5, IDS)
    assert batch.tokens_BL.tolist() == [[10, 11, 20, 21, 0], [12, 22, 0, 2, 2]]
    assert batch.row_N.tolist() == [0, 0, 0, 1, 1]
    assert batch.col_N.tolist() == [1, 2, 3, 0, 1]
    assert batch.target_N.tolist() == [20, 21, 0, 22, 0]
    assert batch.weight_N.tolist() == pytest.approx([0.2] * 5)


def test_padding_adds_only_weightless_positions() -> None:
    batch = batches(data(24), rows=4).at(0)[0]
    more, n, length = padded(batch), len(batch.row_N), batch.tokens_BL.shape[1]
    assert more.tokens_BL.shape[1] % 8 == 0 == len(more.row_N) % 64
    assert not more.real_BL[:, length:].any() and not more.weight_N[n:].any()
    for old, new in zip(batch[2:], more[2:], strict=True):
        assert torch.equal(new[:n], old)
    for old, new in zip(batch[:2], more[:2], strict=True):
        assert torch.equal(new[:, :length], old)
    assert all(map(torch.equal, padded(more), more))


def scored(parts: list[Batch]) -> list[tuple[float, ...]]:
    """What a step asks, whatever the order of rows and parts."""
    found: list[tuple[float, ...]] = []
    for part in parts:
        sums = part.tokens_BL.where(part.real_BL, 0).sum(1)[part.row_N]
        columns = (sums, part.col_N, part.target_N, part.weight_N)
        found += zip(*(c.tolist() for c in columns), strict=True)
    return sorted(found)


@pytest.mark.parametrize("objective", ["diffusion", "adapt", "ar"])
@pytest.mark.parametrize("weighting", ["bound", "even", "near"])
def test_processes_and_rows_at_a_time_change_nothing(objective: str, weighting: str) -> None:
    """The shares of a batch together hold its rows, positions and weights."""
    packed = data(24)
    whole = batches(packed, objective=objective, weighting=weighting, rows=4)
    parts = batches(packed, objective=objective, weighting=weighting, rows=1)
    for step in (0, 7):
        expected = scored(whole.at(step))
        assert len(whole.at(step)) == 1 and len(parts.at(step)) == 4
        assert scored(parts.at(step)) == expected
        shares = [whole.at(step, rank, world=2) for rank in (0, 1)]
        assert sorted(scored(shares[0]) + scored(shares[1])) == expected and all(shares)


def test_an_epoch_visits_every_example_once_and_epochs_differ() -> None:
    packed = data(24)
    drawn = batches(packed)
    (width_n, plan), (_, second) = drawn._epoch(0), drawn._epoch(1)
    assert sorted(plan.flatten()) == list(range(24)) == sorted(second.flatten())
    assert plan.tolist() != second.tolist()
    assert (width_n > packed.answer_n).all() and (width_n <= packed.canvas_n).all()
    full = batches(packed, full_canvas=1.0)._epoch(0)[0]
    assert full.tolist() == packed.canvas_n.tolist()


def test_seeds_and_steps_give_other_masks() -> None:
    packed = data(24)
    same, other = batches(packed), batches(packed, seed=1)
    assert scored(same.at(3)) == scored(batches(packed).at(3))
    assert scored(same.at(3)) != scored(other.at(3)) and scored(same.at(3)) != scored(same.at(9))


@pytest.mark.parametrize("weighting", ["bound", "clipped"])
def test_every_position_is_hidden_at_the_rate_of_its_time(weighting: str) -> None:
    """E[weight x hidden] = 1 / (B width) per canvas position, so the loss estimates the bound."""
    drawn = batches(data(64), weighting=weighting, batch=64, rows=64, full_canvas=1.0)
    totals = [float(drawn.at(step)[0].weight_N.sum()) for step in range(300)]
    assert np.mean(totals) == pytest.approx(1.0, abs=4 * np.std(totals) / math.sqrt(300))
    assert np.std(totals) < 0.15


def test_weights_are_the_reciprocal_of_the_time_or_of_its_clipped_value() -> None:
    """Canvases all of width 6, times a regular grid: the batch's weights are known up to their order."""
    drawn = [
        batches(data(200, canvas=6), weighting=weighting, batch=100, rows=100, full_canvas=1.0)
        for weighting in ("bound", "clipped")
    ]
    width_B, answer_B = np.full(100, 6), np.full(100, 3)
    hide_BC, bound_BC = drawn[0]._masks(5, width_B, answer_B)
    same_BC, clipped_BC = drawn[1]._masks(5, width_B, answer_B)
    assert (hide_BC == same_BC).all()
    bound_B, clipped_B = bound_BC[:, 0], clipped_BC[:, 0]
    assert (bound_BC == bound_B[:, None]).all() and (clipped_BC == clipped_B[:, None]).all()
    time_B = 1 / (600 * bound_B)
    assert np.diff(np.sort(time_B)) == pytest.approx([0.01] * 99) and 0 < time_B.min() <= 0.01
    np.testing.assert_allclose(clipped_B, 1 / (600 * 0.9 * np.maximum(time_B, 0.2)))


def test_even_weights_are_the_mean_over_hidden_positions() -> None:
    weight_N = batches(data(24), weighting="even", rows=4).at(2)[0].weight_N
    torch.testing.assert_close(weight_N, torch.full_like(weight_N, 1 / len(weight_N)))


def test_weights_by_what_is_known_around_by_hand() -> None:
    """Rows ``_ k _`` and ``_ _ _`` behind the prompt, a row without hidden positions; p = 0.3."""
    hidden = np.array([[True, False, True], [True, True, True], [False, False, False]])
    known = np.array([[False, True, False], [False, False, False], [True, True, True]])
    side = [0.5 * 0.7**d for d in range(3)]  # the prompt, known up to d positions away
    first = np.array([side[0] + 0.5 * 0.3, 0, side[2] + 0.5 * 0.3])
    expected = [first / first.sum(), np.array(side) / sum(side), np.zeros(3)]
    np.testing.assert_allclose(nearness(hidden, known), expected)


def test_near_weights_give_every_row_with_hidden_positions_the_same() -> None:
    batch = batches(data(64), weighting="near", batch=64, rows=64, frontier=0.5).at(1)[0]
    sums = torch.zeros(64).index_add_(0, batch.row_N, batch.weight_N)
    torch.testing.assert_close(sums[sums > 0], torch.full_like(sums[sums > 0], 1 / 64))
    assert (sums > 0).sum() >= 56  # few rows have a time near 0


def test_nothing_is_known_behind_the_canvas() -> None:
    """Where a whole canvas is hidden, only the prompt is known, and weights fall with the distance to it."""
    drawn = batches(data(200), weighting="near", batch=100, rows=100)
    hide_BC, weight_BC = drawn._masks(0, np.full(100, 6), np.full(100, 3))
    whole_BC = weight_BC[hide_BC[:, :6].all(1), :6]
    assert len(whole_BC) >= 5 and (np.diff(whole_BC) < 0).all()


def test_behind_a_point_of_a_frontier_row_nearly_all_is_hidden_and_before_it_nothing() -> None:
    drawn = batches(data(200), weighting="even", batch=100, rows=100, frontier=1.0)
    width_B, answer_B = np.full(100, 10), np.full(100, 5)
    hide_BC = np.concatenate([drawn._masks(step, width_B, answer_B)[0] for step in range(30)])
    assert not hide_BC[:, 10:].any()
    first_B = np.where(hide_BC.any(1), hide_BC.argmax(1), 10)
    behind_BC = (np.arange(12) > first_B[:, None]) & (np.arange(12) < 10)
    assert hide_BC[behind_BC].mean() == pytest.approx(0.85, abs=0.02)
    # points are uniform on 0..5, and the position at a point is open with probability 0.15
    starts = np.bincount(first_B, minlength=11) / len(first_B)
    assert starts[0] == pytest.approx(0.85 / 6, abs=0.03) and starts[1:6].min() > 0.1
    some = batches(data(200), weighting="even", batch=100, rows=100, frontier=0.4)
    last = [some._masks(step, width_B, answer_B)[0][:, 9] for step in range(60)]
    assert np.mean(last) == pytest.approx(0.4 * 0.85 + 0.6 * 0.5, abs=0.03)


@pytest.mark.parametrize("weighting", ["bound", "clipped"])
def test_rows_without_a_time_are_refused_where_the_time_weighs(weighting: str) -> None:
    with pytest.raises(ConfigError, match="these rows have no time"):
        batches(data(24), weighting=weighting, frontier=0.5)


def test_fewer_examples_than_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"problems.*24 .*batch=64"):
        batches(data(24), batch=64)
