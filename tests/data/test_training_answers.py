"""Rows, masks and weights of instruction tuning, without a model."""

import itertools
from typing import Any, get_args

import numpy as np
import pytest
import torch

from diffucode.data.answers import AnswerBatches, Ids, Normaliser, Part, Width, room
from diffucode.data.batches import Weighting
from diffucode.data.packed import Packed, pack_ids
from diffucode.errors import ConfigError

END, FILL, MASK, LENGTH = 1, 2, 3, 30
ROWS = 4
WIDTHS: tuple[Width, ...] = ("answer", "batch", "length", 14)
DIFFUSION = Ids(END, FILL, MASK)


def data(width: Width, many: int = 9) -> Packed:
    """Prompts of 3 to 7 tokens, 10 to 99, and answers of 1 to 12, ids over 100 that tell the row."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(many):
        prompt = rng.integers(10, 100, rng.integers(3, 8)).tolist()
        answer = [70_000 + 100 * n + i for i in range(rng.integers(1, 13))]
        given = room(width, len(prompt), len(answer) + 1, LENGTH)
        assert given is not None
        rows.append((prompt, answer, given))
    return pack_ids(rows)


def batches(width: Width = "batch", ids: Ids = DIFFUSION, **changes: Any) -> AnswerBatches:
    chosen: dict[str, Any] = {
        "score_fill": True,
        "weighting": "bound",
        "normaliser": "answer",
        "least_time": 1e-3,
        "batch": ROWS,
        "rows": ROWS,
        "seed": 5,
    }
    return AnswerBatches(data(width), ids, width=width, **{**chosen, **changes})


def whole(part: Part) -> torch.Tensor:
    """Tokens with every target written where it stands."""
    tokens_BL = part.canvas.tokens_BL.clone()
    tokens_BL[part.ask.row_N, part.ask.col_N] = part.target_N
    return tokens_BL


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_are_prompt_answer_end_and_fill(width: Width) -> None:
    source, made = data(width), batches(width)
    seen = []
    for step in range(2 * made.per_epoch):
        (part,) = made.at(step)
        for b, tokens in enumerate(whole(part)):
            row = tokens[part.canvas.real_BL[b]].tolist()
            start = int(part.canvas.start_B[b])
            n = (row[start] - 70_000) // 100
            seen.append(n)
            learnt = source.row(n).tolist()
            assert row[: len(learnt) + 1] == [*learnt, END] and start == source.prompt_n[n]
            assert set(row[len(learnt) + 1 :]) <= {FILL}
            assert part.canvas.real_BL[b, : len(row)].all()
            behind = len(row) - start
            if width == "answer":
                assert behind == source.answer_n[n] + 1
            elif width == "length":
                assert len(row) == LENGTH
            elif isinstance(width, int):
                assert behind == width
        if width == "batch":
            assert part.canvas.real_BL.all()
            ends = [tokens.tolist().index(END) for tokens in whole(part)]
            assert max(ends) == part.canvas.shape[1] - 1, "the longest row has no fill"
    for epoch in (seen[:8], seen[8:]):
        assert len(set(epoch)) == 8, "each at most once an epoch"
    assert seen[:8] != seen[8:]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("score_fill", [True, False])
def test_prompts_are_never_hidden_and_everything_behind_them_is_at_times(
    width: Width, score_fill: bool
) -> None:
    made = batches(width, score_fill=score_fill)
    hidden: dict[tuple[int, int], int] = {}
    scored = {FILL: 0}
    for step in range(60):
        (part,) = made.at(step)
        open_BL, column_L = part.canvas.open_BL, torch.arange(part.canvas.shape[1])
        assert not (open_BL & (column_L < part.canvas.start_B[:, None])).any()
        assert not (open_BL & ~part.canvas.real_BL).any()
        assert ((part.canvas.tokens_BL == MASK) == open_BL).all()
        assert torch.equal(part.canvas.given_BL, part.canvas.real_BL & ~open_BL)
        assert open_BL[part.ask.row_N, part.ask.col_N].all(), "only hidden positions are scored"
        scored[FILL] += int((part.target_N == FILL).sum())
        if score_fill:
            assert int(open_BL.sum()) == len(part.target_N)
        for b, col in open_BL.nonzero().tolist():
            at = (int(part.canvas.tokens_BL[b, 0]), col - int(part.canvas.start_B[b]))
            hidden[at] = hidden.get(at, 0) + 1
    # hidden half of the time: none of the about 120 positions is missed but with 120 x 2 ** -26
    offsets = {offset for _, offset in hidden}
    assert offsets == set(range(max(offsets) + 1))
    assert (scored[FILL] > 0) == (score_fill and width != "answer")


@pytest.mark.parametrize("width", ["answer", "batch"])
@pytest.mark.parametrize("score_fill", [True, False])
@pytest.mark.parametrize("weighting", get_args(Weighting))
def test_weights_sum_to_one_as_expected(
    width: Width, score_fill: bool, weighting: Weighting
) -> None:
    """By ``answer``: to 1, or 1/2 where they are even. The deviation of a row's sum is below 0.7 (measured
    for ``bound`` on rows of 2 positions or more), so that of the mean over 4 x 250 is below 0.023."""
    made = batches(width, weighting=weighting, score_fill=score_fill, least_time=0.02)
    sums = [float(part.weight_N.sum()) for step in range(250) for part in made.at(step)]
    if weighting == "near":  # nothing at all in a row that has nothing hidden
        assert max(sums) <= 1 + 1e-6 and np.mean(sums) > 0.7
    else:
        expected = {"even": 0.51}.get(weighting, 1.0)
        assert np.mean(sums) == pytest.approx(expected, abs=0.12)


@pytest.mark.parametrize("ids", [DIFFUSION, Ids(END, FILL, None)])
@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_parts_and_processes_share_out_the_same_targets(ids: Ids, normaliser: Normaliser) -> None:
    """Row by row the same tokens, targets and weights, in whatever company."""
    width: Width = "batch" if ids.mask is not None else "answer"

    def table(rows: int, world: int) -> set[tuple[Any, ...]]:
        made = batches(width, ids, rows=rows, normaliser=normaliser)
        found = set()
        for rank in range(world):
            for part in made.at(3, rank, world):
                for n, (row, col) in enumerate(zip(part.ask.row, part.ask.col, strict=True)):
                    seen = part.canvas.tokens_BL[row][part.canvas.real_BL[row]].tolist()
                    target, weight = part.target_N[n].item(), part.weight_N[n].item()
                    found.add((tuple(seen), int(col), target, weight))
        return found

    one = table(ROWS, 1)
    assert len(one) > 10
    for rows, world in ((1, 1), (3, 1), (1, 2), (2, 3)):
        assert table(rows, world) == one


def test_the_answer_and_its_end_are_read_to_the_left() -> None:
    for normaliser, each in (("answer", None), ("batch", 1), ("masked", 1)):
        made = batches("answer", Ids(END, FILL, None), normaliser=normaliser, weighting="even")
        (part,) = made.at(0)
        assert not part.canvas.open_BL.any()
        tokens_BL, sums = part.canvas.tokens_BL, []
        for b in range(ROWS):
            here, start = part.ask.row == b, int(part.canvas.start_B[b])
            last = int(part.canvas.real_BL[b].sum())
            assert part.ask.col[here].tolist() == list(range(start, last))
            assert part.target_N[here].tolist() == tokens_BL[b, start:last].tolist()
            assert part.target_N[here][-1] == END and (part.target_N[here][:-1] > 100).all()
            sums.append(float(part.weight_N[here].sum()))
        assert sum(sums) == pytest.approx(1, rel=1e-5)
        if each is None:
            assert sums == pytest.approx([1 / ROWS] * ROWS, rel=1e-5)
        else:
            assert len({round(float(w), 9) for w in part.weight_N}) == 1


def test_a_step_is_a_function_of_seed_and_step() -> None:
    one, again, other = batches(), batches(), batches(seed=6)
    for step in (4, 0, 9):
        (a,), (b,), (c,) = (made.at(step) for made in (one, again, other))
        assert torch.equal(a.canvas.tokens_BL, b.canvas.tokens_BL)
        assert torch.equal(a.weight_N, b.weight_N)
        assert not torch.equal(a.canvas.tokens_BL, c.canvas.tokens_BL)


@pytest.mark.parametrize(
    ("width", "prompt", "answer", "expected"),
    [
        ("answer", 20, 10, 10),
        ("answer", 21, 10, None),
        ("batch", 20, 3, 10),
        ("length", 20, 3, 10),
        ("batch", 20, 11, None),
        (8, 22, 8, 8),
        (8, 22, 9, None),
        (8, 23, 2, None),
    ],
)
def test_room(width: Width, prompt: int, answer: int, expected: int | None) -> None:
    assert room(width, prompt, answer, LENGTH) == expected


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch 10: only 9 examples"):
        batches(batch=10)
    assert batches(batch=9).per_epoch == 1


def test_at_time_1_everything_is_hidden() -> None:
    for step, normaliser in itertools.product(range(20), get_args(Normaliser)):
        (part,) = batches("length", least_time=1.0, normaliser=normaliser).at(step)
        behind = part.canvas.real_BL & ~part.canvas.given_BL
        assert int(behind.sum()) == int((LENGTH - part.canvas.start_B).sum())
        assert float(part.weight_N.sum()) == pytest.approx(1, rel=1e-5)
