"""AR-ness: worked numbers, what random orders give, permutations of parallel steps, terminators, holes."""

import math
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from diffucode.decoding.engine import decode
from diffucode.decoding.order import LeftToRight
from diffucode.decoding.order import Random as RandomOrder
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.decoding.trace import Trace, blank
from diffucode.metrics.arness import (
    Order,
    at_random,
    global_arness,
    heat_map,
    local_arness,
    order_of,
    parallel_share,
    tie_share,
)
from diffucode.models.toy import TableDenoiser


def order(*steps: Any, logprob: Any = None) -> Order:
    """Positions by step: numbers, or tuples of those written together."""
    groups = [sorted(step) if isinstance(step, tuple) else [step] for step in steps]
    position = np.array([p for group in groups for p in group], dtype=np.int64)
    step = np.array([n for n, group in enumerate(groups) for _ in group], dtype=np.int64)
    given = -np.arange(len(position)) if logprob is None else logprob
    return Order(position, step, np.array(given, dtype=np.float32))


def trace_of(positions: list[int], given: set[int], length: int, tokens: Any = None) -> Trace:
    """A row in which the columns ``positions`` were written one a step."""
    trace = blank("r", 0, 0, min(set(range(length)) - given), length, 9)
    trace.given[list(given)] = True
    for step, column in enumerate(positions):
        trace.step[column], trace.rank[column] = step, 0
        trace.token[column] = 1 if tokens is None else tokens[column]
    return trace


def on_average(length: int, k: int, ordered: bool) -> float:
    """Local AR-ness@k of a random permutation: by hand, counting its runs."""
    total = math.factorial(length)
    runs = (length - k) * math.factorial(length - k) if k < length else 0
    found = runs * (1 if ordered else math.factorial(k)) / total
    for t in range(1, min(k, length) + 1):  # a run that begins at the end of the prompt
        arranged = 1 if ordered else math.factorial(t - 1)
        found += arranged * math.factorial(length - t) / total
    return found / length


def test_worked_numbers() -> None:
    # the reference sheet's example: at 2 (its 3, counted from 0), k = 1 fails and k = 2 holds as a set
    example = order(1, 0, 2)
    assert local_arness(example, 1) == 0
    assert local_arness(example, 2) == 0
    assert local_arness(example, 1, reading="set") == 0
    assert local_arness(example, 2, reading="set") == pytest.approx(1 / 3)
    assert [global_arness(example, k) for k in (1, 2, 3)] == [pytest.approx(2 / 3), 1, 1]
    backwards = order(3, 2, 1, 0)
    assert local_arness(backwards, 1) == 0  # 0 does not follow the prompt: 1 was written before it
    assert [global_arness(backwards, k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]
    outwards = order(0, 1, 4, 2, 3, 5)
    assert local_arness(outwards, 1) == pytest.approx(3 / 6)
    assert local_arness(outwards, 2) == pytest.approx(2 / 6)
    assert local_arness(outwards, 3, reading="set") == pytest.approx(
        3 / 6
    )  # 0, 1, and 5 behind 4, 2, 3
    assert [global_arness(outwards, k) for k in (1, 2, 3)] == [pytest.approx(5 / 6)] * 2 + [1]


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_from_left_to_right_is_exactly_1(length: int) -> None:
    reading = order(*range(length))
    for k, parallel in product((1, 2, 3, 9), ("sorted", "expected")):
        assert global_arness(reading, k, parallel=parallel) == 1
        for kind in ("ordered", "set"):
            assert local_arness(reading, k, reading=kind, parallel=parallel) == 1
    together = order(tuple(range(length)))
    assert local_arness(together, 2) == global_arness(together, 1) == 1, "sorted inside a step"


def test_curves_in_k() -> None:
    """Global AR-ness never falls, the ordered local one never rises, and the set holds where it does."""
    rng = np.random.default_rng(1)
    rose = 0
    for _ in range(50):
        found = order(*rng.permutation(9).tolist())
        ordered = [local_arness(found, k) for k in range(1, 10)]
        sets = [local_arness(found, k, reading="set") for k in range(1, 10)]
        whole = [global_arness(found, k) for k in range(1, 10)]
        assert ordered == sorted(ordered, reverse=True) and whole == sorted(whole)
        assert all(one <= two for one, two in zip(ordered, sets, strict=True))
        assert whole[-1] == 1 and ordered[0] == sets[0]
        rose += sets != sorted(sets, reverse=True)
    assert rose > 0


def test_a_row_written_at_once_has_the_expectations_of_a_random_order() -> None:
    for length, k in product((1, 2, 5, 12), (1, 2, 3, 6, 14)):
        row = at_random(length)
        for kind in ("ordered", "set"):
            found = local_arness(row, k, reading=kind, parallel="expected")
            assert found == pytest.approx(on_average(length, k, kind == "ordered"))
        harmonic = sum(min(k, m) / m for m in range(1, length + 1)) / length
        assert global_arness(row, k, parallel="expected") == pytest.approx(harmonic)
    assert on_average(12, 1, True) == pytest.approx(1 / 12)


def test_random_permutations_come_near_their_expectation() -> None:
    rng, length = np.random.default_rng(0), 12
    drawn = [order(*rng.permutation(length).tolist()) for _ in range(1500)]
    # 1,500 rows of 12: standard errors below 0.0025
    assert np.mean([local_arness(one) for one in drawn]) == pytest.approx(1 / 12, abs=0.01)
    harmonic = sum(1 / m for m in range(1, length + 1)) / length
    assert np.mean([global_arness(one) for one in drawn]) == pytest.approx(harmonic, abs=0.01)


@pytest.mark.parametrize(
    "steps",
    [
        [(0, 1, 2, 3, 4)],
        [(0, 1, 2), (3,), (4, 5)],
        [(1, 3), (0, 2, 4)],
        [(4,), (0, 1), (2, 3)],
        [(2, 3), (0, 1), (4, 5)],
        [(0, 2), (1,), (3, 5), (4,)],
    ],
)
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_expectation_over_parallel_steps_by_enumeration(steps: Any, k: int) -> None:
    row = order(*steps)
    flat = [
        order(*(p for group in chosen for p in group))
        for chosen in product(*(list(permutations(step)) for step in steps))
    ]
    for kind in ("ordered", "set"):
        mean = np.mean([local_arness(one, k, reading=kind) for one in flat])
        found = local_arness(row, k, reading=kind, parallel="expected")
        assert found == pytest.approx(mean, abs=1e-12), kind
    mean = np.mean([global_arness(one, k) for one in flat])
    assert global_arness(row, k, parallel="expected") == pytest.approx(mean, abs=1e-12)


def test_positions_behind_the_terminator_count_only_when_asked() -> None:
    tokens = {2: 1, 3: 1, 4: 7, 5: 7, 6: 7}
    trace = trace_of([6, 2, 3, 5, 4], {0, 1}, 7, tokens)
    assert order_of(trace).position_T.tolist() == [4, 0, 1, 3, 2]
    answer = order_of(trace, [7])
    assert answer.position_T.tolist() == [0, 1, 2], "the terminator is part of the answer"
    assert local_arness(answer) == 1 and local_arness(order_of(trace)) == pytest.approx(1 / 5)
    assert len(order_of(trace, [8])) == 5
    given = trace_of([2, 3], {0, 1}, 4)
    given.token[0] = 7
    assert len(order_of(given, [7])) == 2, "one in the prompt ends nothing"


def test_a_hole_follows_the_hole_before_it() -> None:
    trace = trace_of([1, 2, 5, 6], {0, 3, 4, 7}, 8)
    found = order_of(trace)
    assert found.position_T.tolist() == [0, 1, 2, 3]
    assert local_arness(found, 3) == global_arness(found) == 1
    # a position that was never written stays open to the left of those behind it
    cancelled = order_of(trace_of([2, 3], {0}, 5))
    assert cancelled.position_T.tolist() == [1, 2]
    assert (global_arness(cancelled, 1), global_arness(cancelled, 2)) == (0, 1)


def test_traces_of_the_decoder() -> None:
    def orders(chosen: Any, steps: int, length: int) -> list[Order]:
        plan = SamplingPlan(order=chosen, schedule=Quota(steps), retire=False)
        requests = [
            Request.completion(f"r{n}", [1, 2], length, plan, seed=n, sample=0) for n in range(40)
        ]
        return [order_of(done.trace) for done in decode(TableDenoiser(mask_id=7), requests)]

    for one in orders(LeftToRight(), 9, 9):
        assert local_arness(one, 4) == global_arness(one, 1) == 1 and parallel_share(one) == 0
    for one in orders(LeftToRight(), 3, 9):
        assert local_arness(one, 4) == 1 and parallel_share(one) == 1
    drawn = orders(RandomOrder(), 9, 9)
    # 40 rows of 9: standard error about 0.016
    assert np.mean([local_arness(one) for one in drawn]) == pytest.approx(1 / 9, abs=0.06)


def test_shares_of_parallel_and_tied_positions() -> None:
    row = order((0, 1), 2, (3, 4, 5), 6, logprob=[0, 0, -0.5, 0, -0.5, -0.5, -1])
    assert parallel_share(row) == pytest.approx(5 / 7)
    assert tie_share(row) == pytest.approx(4 / 7)
    assert parallel_share(order(1, 0)) == tie_share(order(1, 0)) == 0


def test_the_heat_map() -> None:
    found = heat_map([order(0, 1, 2), order(1, 0)])
    assert found.tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0.5]]
    assert heat_map([]).shape == (0, 0)


def test_nothing_written_is_no_number_and_k_has_to_be_positive() -> None:
    empty = order()
    for value in (
        local_arness(empty),
        global_arness(empty),
        parallel_share(empty),
        tie_share(empty),
    ):
        assert math.isnan(value)
    assert math.isnan(local_arness(empty, parallel="expected"))
    for measure in (local_arness, global_arness):
        with pytest.raises(ValueError, match="AR-ness@0"):
            measure(order(0), 0)
