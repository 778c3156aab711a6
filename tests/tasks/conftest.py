"""Problems of every split, drawn once for all files here: most of the time goes into drawing them."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

import pytest

from diffucode.tasks import minicode
from diffucode.tasks.problem import Problem

SIZES = {"train": 300, "ood": 120, "rl": 70, "dev": 70, "test": 70}
AT_ONCE = 10


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    """Two processes that share nothing with this one, not even the seed of string hashes."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as opened:
        yield opened


@pytest.fixture(scope="session")
def problems(pool: Executor) -> dict[str, list[Problem]]:
    """The first problems of every split under seed 0."""
    calls = [
        (split, pool.submit(minicode.problems, split, 0, AT_ONCE, start))
        for split, size in SIZES.items()
        for start in range(0, size, AT_ONCE)
    ]
    found: dict[str, list[Problem]] = {split: [] for split in SIZES}
    for split, call in calls:
        found[split] += call.result()
    return found
