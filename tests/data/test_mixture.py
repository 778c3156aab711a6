"""Mixtures: shares of every step and of the whole, nobody skipped, no state."""

import numpy as np
import pytest

from diffucode.data.mixture import Mixture

SHARES = np.array([0.703, 0.2, 0.09, 0.007])


@pytest.mark.parametrize("batch", [1, 4, 33])
def test_shares(batch: int) -> None:
    steps = 20_000
    mixture = Mixture(SHARES, batch, steps, seed=3)
    assert (mixture.count_SK.sum(1) == batch).all()
    assert (abs(mixture.count_SK - batch * SHARES) < 1 + 1e-9).all()
    # counts of a source differ from its share by less than a row a step, independently
    error = abs(mixture.count_SK.mean(0) - batch * SHARES)
    assert (error < 5 * 0.5 / steps**0.5).all()


def test_a_source_that_always_gets_whole_rows() -> None:
    mixture = Mixture(np.array([0.5, 0.25, 0.25]), 4, 50, seed=0)
    assert (mixture.count_SK == [2, 1, 1]).all()
    assert (Mixture(np.array([1.0]), 4, 50, seed=0).count_SK == 4).all()


def test_each_source_gives_its_rows_one_after_another() -> None:
    mixture = Mixture(SHARES, 7, 300, seed=1)
    given: dict[int, list[int]] = {k: [] for k in range(4)}
    for step in range(300):
        for source, nth in zip(*mixture.at(step), strict=True):
            given[int(source)].append(int(nth))
    assert all(given[k] == list(range(len(given[k]))) for k in given)
    assert mixture.before_SK[-1].tolist() == [len(given[k]) for k in given]


def test_a_step_knows_its_seed_and_nothing_else() -> None:
    def at(step: int, steps: int, seed: int) -> list[list[int]]:
        return [column.tolist() for column in Mixture(SHARES, 5, steps, seed).at(step)]

    assert at(7, 10, 0) == at(7, 1000, 0), "a longer run begins like a shorter one"
    assert [at(s, 50, 0) for s in range(50)] != [at(s, 50, 1) for s in range(50)]
