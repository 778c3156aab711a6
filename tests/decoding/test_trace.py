"""Traces: the JSON round trip is the identity, frames rebuild the canvas, bad files are named."""

import json
from typing import Any

import numpy as np
import pytest

from diffucode.decoding.engine import decode
from diffucode.decoding.order import Random
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.decoding.trace import Trace
from diffucode.errors import TraceError
from diffucode.models.toy import TableDenoiser
from diffucode.sampling.temperature import Constant

MASK = 7


def finished(**plan: Any) -> Any:
    settings = {"temperature": Constant(1.3), "order": Random(), "schedule": Quota(4)} | plan
    request = Request.completion("r", [1, 2], 9, SamplingPlan(**settings), seed=3, sample=2)
    return decode(TableDenoiser(mask_id=MASK), [request])[0]


@pytest.mark.parametrize("retire", [True, False])
def test_round_trip_is_the_identity(retire: bool) -> None:
    trace = finished(retire=retire).trace
    again = Trace.from_json(json.loads(json.dumps(trace.to_json(), allow_nan=False)))
    assert again == trace
    assert again.raw_logprob.dtype == np.float32


def test_frames_end_in_the_canvas() -> None:
    row = finished(retire=False)
    assert np.array_equal(row.trace.frame(row.steps, MASK), row.tokens)
    first = row.trace.frame(0, MASK)
    assert (first != MASK).sum() == 2 + 3  # the prompt and the first of the quotas 3, 2, 2, 2
    assert np.array_equal(row.trace.frame(-1, MASK)[:2], [1, 2])


def test_commits_come_in_order() -> None:
    trace = finished(retire=False).trace
    at = trace.committed
    keys = list(zip(trace.step[at], trace.rank[at], strict=True))
    assert keys == sorted(keys) and len(set(keys)) == 9


def edit(change) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    value = finished().trace.to_json()
    change(value)
    return value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(version=2), "version 2"),
        (lambda v: v.pop("events"), "events"),
        (lambda v: v["events"].append(v["events"][0]), "written twice"),
        (lambda v: v["events"][0].update(position=0), "written twice"),
        (lambda v: v["events"][0].update(position=99), "IndexError"),
        (lambda v: v["events"][0].pop("tau"), "tau"),
    ],
)
def test_bad_traces_are_named(change: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        Trace.from_json(edit(change))
