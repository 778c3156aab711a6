"""Windows of corpora: where they lie, whose they are, what is hidden of them and what it weighs."""

from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch

from diffucode.data.answers import Normaliser, Part
from diffucode.data.batches import annealed
from diffucode.data.windows import TimeWeighting, WindowBatches, Windows

MASK, LENGTH, BATCH, STEP = 9999, 8, 6, 6
ALL: dict[str, Any] = {
    "mask": MASK, "shift": True, "length": LENGTH, "weighting": "bound", "normaliser": "masked",
    "least_time": 0.01, "short": 0.0, "clean": 0.0, "anneal": 0, "steps": 200, "batch": BATCH,
    "rows": BATCH, "seed": 0,
}  # fmt: skip


def made(sizes: tuple[int, ...] = (43, 90), **changes: Any) -> WindowBatches:
    """Sources whose tokens say where they stand: 1000 a source, and the place in it."""
    chosen = {**ALL, **changes}
    length, seed = chosen["length"], chosen["seed"]
    sources = [
        Windows(np.arange(1000 * k, 1000 * k + size, dtype=np.uint16), length, seed, k)
        for k, size in enumerate(sizes)
    ]
    return WindowBatches(sources, np.full(len(sizes), 1 / len(sizes)), **chosen)


def begins(parts: list[Part]) -> list[int]:
    """The first token of every row."""
    found = []
    for part in parts:
        tokens_BL = part.canvas.tokens_BL.clone()
        tokens_BL[part.ask.row_N, part.ask.col_N] = part.target_N
        for row in tokens_BL.tolist():
            (first,) = {token - n for n, token in enumerate(row) if token != MASK}
            found.append(first)
    return found


def test_each_window_once_in_every_epoch_and_the_rest_never() -> None:
    windows = Windows(np.arange(43, dtype=np.uint16), LENGTH, seed=0, number=0)
    assert len(windows) == 5
    epochs = [[windows.row(5 * epoch + n).tolist() for n in range(5)] for epoch in range(6)]
    for epoch in epochs:
        assert sorted(epoch) == [list(range(8 * n, 8 * n + 8)) for n in range(5)]
    assert len({str(epoch) for epoch in epochs}) > 3, "in another order"
    assert windows.row(0).dtype == np.int64
    other = Windows(np.arange(43, dtype=np.uint16), LENGTH, seed=0, number=1)
    assert [other.row(n).tolist() for n in range(30)] != [row for epoch in epochs for row in epoch]


@pytest.mark.parametrize(("world", "rows"), [(1, 6), (1, 1), (2, 2), (3, 1), (4, 2)])
def test_processes_share_a_step(world: int, rows: int) -> None:
    """Disjoint, complete, and nothing but ``rows`` at a time."""
    whole, batches = made(short=0.3, clean=0.3).at(3)[0], made(rows=rows, short=0.3, clean=0.3)
    shares = [batches.at(3, rank, world) for rank in range(world)]
    assert all(part.canvas.shape[0] <= rows for parts in shares for part in parts)
    taken: dict[int, tuple[list[int], list[float]]] = {}
    for rank, parts in enumerate(shares):
        numbers = iter(range(rank, BATCH, world))
        for part in parts:
            for b in range(part.canvas.shape[0]):
                here = part.ask.row_N == b
                taken[next(numbers)] = (part.target_N[here].tolist(), part.weight_N[here].tolist())
    assert sorted(taken) == list(range(BATCH))
    for b, found in taken.items():
        here = whole.ask.row_N == b
        assert found == (whole.target_N[here].tolist(), whole.weight_N[here].tolist())


def test_a_run_reads_each_window_once_an_epoch() -> None:
    """5 and 11 windows at 3 rows of each a step: 55 steps are 33 and 15 epochs."""
    batches = made()
    read = [first for step in range(55) for first in begins(batches.at(step))]
    counts = np.unique(read, return_counts=True)
    assert counts[0].tolist() == [8 * n for n in range(5)] + [1000 + 8 * n for n in range(11)]
    assert counts[1].tolist() == [33] * 5 + [15] * 11
    assert batches.figures(55) == {"tokens": 55.0 * BATCH * LENGTH, "epoch": 33.0}


def test_a_step_needs_neither_the_ones_before_it_nor_more_than_its_rows() -> None:
    class Counting(np.ndarray):
        reads = 0

        def __getitem__(self, key: Any) -> Any:
            Counting.reads += len(self) > LENGTH  # of the whole, not of a window
            return super().__getitem__(key)

    walked, fresh = made(short=0.3, clean=0.3), made(short=0.3, clean=0.3)
    fresh.sources = [Windows(w.token_T.view(Counting), LENGTH, 0, w.number) for w in walked.sources]
    steps = [walked.at(step) for step in range(60)]
    (one,), (other,) = steps[59], fresh.at(59)
    assert Counting.reads == BATCH
    assert torch.equal(one.canvas.tokens_BL, other.canvas.tokens_BL)
    assert torch.equal(one.target_N, other.target_N) and torch.equal(one.weight_N, other.weight_N)
    (different,) = made(seed=1).at(59)
    assert not torch.equal(different.canvas.tokens_BL, made().at(59)[0].canvas.tokens_BL)


@pytest.mark.parametrize("shift", [False, True])
def test_what_is_hidden_and_what_it_weighs_by_hand(shift: bool) -> None:
    """Draws are made once more here, and the rest in loops."""
    for weighting, normaliser in product(get_args(TimeWeighting), get_args(Normaliser)):
        changes = {"short": 0.4, "clean": 0.4, "shift": shift}
        batches = made(weighting=weighting, normaliser=normaliser, **changes)
        (part,) = batches.at(STEP)
        rng = np.random.default_rng([0, 7, STEP])
        offset = rng.random()
        level_B = rng.permutation([1 - (b + offset) / BATCH for b in range(BATCH)])
        cut_B, begun_B = rng.random(BATCH) < 0.4, rng.random(BATCH) < 0.4
        cuts_B = rng.integers(2, LENGTH + 1, BATCH)
        length_B = [int(c) if cut else LENGTH for c, cut in zip(cuts_B, cut_B, strict=True)]
        points_B = rng.integers(0, length_B)
        noise_BL = rng.random((BATCH, LENGTH))
        assert cut_B.any() and begun_B.any() and not (cut_B & begun_B).all()

        weights, sizes, hidden, spared = {}, [], set(), False
        for b in range(BATCH):
            time = 0.01 + 0.99 * level_B[b]
            start = int(points_B[b]) if begun_B[b] else 0
            spared |= bool((noise_BL[b, :start] < time).any())
            scored = [c for c in range(start, length_B[b]) if c > 0 or not shift]
            sizes.append(len(scored))
            u = {"bound": 1 / time, "clipped": 1 / (max(time, 0.2) * 0.9), "even": 1.0}[weighting]
            for c in range(start, length_B[b]):
                if noise_BL[b, c] < time:
                    hidden.add((b, c))
                    if c in scored:
                        weights[b, c] = u / (BATCH * len(scored))
        assert spared, "a clean beginning in which something would be hidden"
        if normaliser != "answer":
            total = sum(sizes) if normaliser == "batch" else len(weights)
            weights = {(b, c): w * BATCH * sizes[b] / total for (b, c), w in weights.items()}
        asked = zip(part.ask.row.tolist(), part.ask.col.tolist(), strict=True)
        assert dict(zip(asked, part.weight_N.tolist(), strict=True)) == pytest.approx(weights)
        assert {(int(b), int(c)) for b, c in part.canvas.open_BL.nonzero()} == hidden
        assert part.canvas.real_BL.sum(1).tolist() == length_B
        row = batches.sources[0].row(int(batches.mixture.at(STEP)[1][0]))
        here = part.ask.row_N == 0
        assert part.target_N[here].tolist() == row[part.ask.col_N[here].numpy()].tolist()


def test_the_bound_sums_to_one_as_expected() -> None:
    """Over positions, not over those that happen to be hidden."""
    for normaliser in ("answer", "batch"):
        batches = made(normaliser=normaliser, least_time=0.2, short=0.2, clean=0.2)
        sums = [float(batches.at(step)[0].weight_N.sum()) for step in range(200)]
        assert np.mean(sums) == pytest.approx(1, abs=5 * np.std(sums) / 200**0.5)


def test_shares_of_short_rows_and_clean_beginnings() -> None:
    batches = made(short=0.1, clean=0.25, least_time=1.0, length=40, sizes=(400,))
    short = clean = 0
    for step in range(100):
        (part,) = batches.at(step)
        short += int((part.canvas.real_BL.sum(1) < 40).sum())
        clean += int((~part.canvas.open_BL[:, 0]).sum())
    assert short / 600 == pytest.approx(0.1 * 38 / 39, abs=0.05)
    assert clean / 600 == pytest.approx(0.25 * 39 / 40, abs=0.08)


def test_attention_opens_column_by_column() -> None:
    batches = made(anneal=10, rows=2)
    for step in (0, 4, 8):
        seen = [part.see_LL for part in batches.at(step)]
        assert all(torch.equal(see, annealed(LENGTH, (step + 1) / 10, 0, step)) for see in seen)
    assert all(part.see_LL is None for step in (9, 10, 50) for part in batches.at(step))
    assert made(anneal=0).at(0)[0].see_LL is None
