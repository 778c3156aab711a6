"""Figures of a trace file: over prompts, with what random orders give, agreement, the first step."""

import numpy as np
import pytest

from diffucode.decoding.trace import Trace, blank
from diffucode.errors import TraceError
from diffucode.generate.traces import TraceFile
from diffucode.measure.orders import orders

END = 9


def written(id: str, sample: int, steps: list[int], tokens: list[int] | None = None) -> Trace:
    """A prompt of two tokens; step of each position behind it, -1 for never."""
    trace = blank(id, sample, 0, 2, 2 + len(steps), 0)
    trace.given[:2] = True
    trace.step[2:] = steps
    trace.token[2:] = tokens or [5] * len(steps)
    trace.raw_logprob[2:] = -np.arange(len(steps))
    return trace


def recorded(*traces: Trace, ends: tuple[int, ...] = (END,)) -> TraceFile:
    return TraceFile("toy", {0: "", 5: "x", END: "<|end|>"}, traces, ends)


def test_figures_are_means_over_prompts_of_means_over_samples() -> None:
    forward, backward = [0, 1, 2, 3], [3, 2, 1, 0]
    found = orders(
        "here",
        recorded(written("a", 0, forward), written("a", 1, backward), written("b", 0, forward)),
    )
    answer = found.parts["answer"]
    assert (found.prompts, found.samples, answer.count) == (2, 3, 12)
    [first, *_] = answer.curve("local")
    # prompt a: (1 + 0) / 2, prompt b: 1; samples alone would give 2 / 3
    assert first.sorted.value == pytest.approx(3 / 4) and first.sorted.n == 2
    assert first.sorted.low == 0.5 and first.sorted.high == 1
    assert first.random == pytest.approx(1 / 4)
    leftmost = answer.curve("global")
    assert leftmost[0].sorted.value == pytest.approx(((1 + 1 / 4) / 2 + 1) / 2)
    assert leftmost[0].random == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert [point.k for point in leftmost] == [1, 2, 3, 4]
    assert len(answer.curve("local as a set")) == 9
    assert np.diag(answer.heat_SL) == pytest.approx([2 / 3] * 4)


def test_agreement_within_and_between_prompts() -> None:
    forward, backward = [0, 1, 2], [2, 1, 0]
    traces = [
        written("a", 1, forward), written("a", 0, forward), written("b", 0, backward),
        written("b", 1, backward),
    ]  # fmt: skip
    tau = orders("here", recorded(*traces)).agreement["tau"]
    assert tau.within is not None and tau.within.value == 1 and tau.within.n == 2
    assert tau.between is not None and tau.between.value == -1
    alone = orders("here", recorded(written("a", 0, forward))).agreement["tau"]
    assert alone.within is None and alone.between is None


def test_answers_end_with_the_terminator_if_the_file_names_one() -> None:
    trace = written("a", 0, [1, 2, 3, 0], [5, 5, END, END])
    found = orders("here", recorded(trace))
    assert found.ends_known
    assert found.parts["answer"].count == 3 and found.parts["canvas"].count == 4
    assert found.parts["answer"].curve("local")[0].sorted.value == 1
    assert found.parts["canvas"].curve("local")[0].sorted.value == pytest.approx(1 / 2)
    older = orders("here", recorded(trace, ends=()))
    assert not older.ends_known and older.parts["answer"].count == 4


def test_parallel_steps_and_the_json() -> None:
    found = orders("here", recorded(written("a", 0, [0, 0, 1]))).to_json()
    answer = found["answer"]
    assert answer["parallel"]["value"] == pytest.approx(2 / 3)
    [first, *_] = answer["arness"]
    assert (first["kind"], first["k"], first["sorted"]["value"]) == ("local", 1, 1)
    # 0, 1 | 2 gives 1, and 1, 0 | 2 none
    assert first["expected"]["value"] == pytest.approx(1 / 2)
    assert first["sorted"]["low"] is None, "one prompt has no interval"


def test_nothing_written_is_an_error() -> None:
    with pytest.raises(TraceError, match="here: no token was written in any of its 1 traces"):
        orders("here", recorded(written("a", 0, [-1, -1])))
