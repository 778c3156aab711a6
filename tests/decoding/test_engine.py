"""What the engine refuses, and what its steps report."""

from dataclasses import replace

import pytest

from diffucode.decoding.engine import Engine, decode, run
from diffucode.decoding.plan import Request, SamplingPlan, dream_plan, llada_plan
from diffucode.decoding.schedule import EntropyBound, Quota, reveal_share
from diffucode.errors import ModelOutputError, PlanError
from diffucode.models.toy import TableDenoiser
from diffucode.sampling.temperature import Constant, Regions

PLAN = SamplingPlan(retire=False)
REQUEST = Request.completion("r", [1, 2], 4, PLAN)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (replace(REQUEST, open=(True,)), "6 tokens, 1 open flags"),
        (replace(REQUEST, open=(False,) * 6), "at least one"),
        (replace(REQUEST, regions=(0, 1)), "2 region labels for 6 tokens"),
    ],
)
def test_requests_that_fit_nothing(request_: Request, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Engine(TableDenoiser()).admit([request_])


def test_autoregression_needs_a_causal_model_and_no_holes() -> None:
    with pytest.raises(PlanError, match="causal"):
        Engine(TableDenoiser(), decoder="ar").admit([REQUEST])
    hole = replace(REQUEST, open=(False, False, True, False, True, True))
    with pytest.raises(PlanError, match="cannot fill holes"):
        Engine(TableDenoiser(causal=True), decoder="ar").admit([hole])


def test_logits_that_are_not_numbers_name_the_request() -> None:
    model = TableDenoiser()
    model._table[:, 3] = float("nan")
    for tau in (0.0, 1.0):
        with pytest.raises(ModelOutputError, match="'r', step 0"):
            decode(model, [replace(REQUEST, plan=SamplingPlan(Constant(tau)))])


def test_regions_need_labels() -> None:
    plan = SamplingPlan(Regions(text=Constant(1.0), code=Constant(0.0)))
    with pytest.raises(PlanError, match="region"):
        decode(TableDenoiser(), [replace(REQUEST, plan=plan)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Engine(TableDenoiser(), capacity=0),
        lambda: Request.completion("r", [1], 0, PLAN),
        lambda: SamplingPlan(order_temperature=-1.0),
        lambda: SamplingPlan(order_temperature=float("nan")),
        lambda: SamplingPlan(confidence_temperature=0.0),
        lambda: SamplingPlan(schedule=EntropyBound(0.1), order_temperature=0.5),
        lambda: dream_plan("best"),  # type: ignore[arg-type]
        lambda: llada_plan(remasking="worst"),  # type: ignore[arg-type]
    ],
)
def test_plans_that_ask_for_the_impossible(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError, match=r"expected|would do nothing"):
        make()


def test_steps_report_what_happened() -> None:
    requests = [Request.completion(f"r{n}", [1], n, PLAN) for n in (3, 1, 2)]
    steps = list(run(Engine(TableDenoiser(), capacity=2), requests))
    assert [(s.asked, s.calls, len(s.rows), len(s.finished)) for s in steps] == [
        (4, 1, 2, 1),  # 3 and 1 open positions; the second row is full
        (4, 1, 2, 0),  # 2 and, refilled, 2
        (2, 1, 2, 2),
    ]
    assert [row.open_left for s in steps for row in s.rows if row.id == "r3"] == [2, 1, 0]
    assert [row.step for s in steps for row in s.rows if row.id == "r2"] == [0, 1]
    assert steps[0].finished[0].reason == "length"


def test_a_step_that_commits_nothing_asks_nothing() -> None:
    """The published grid commits nothing at its first step: the model is not asked."""
    model = TableDenoiser()
    row = decode(model, [Request.completion("r", [1], 8, dream_plan(steps=8))])[0]
    assert (row.steps, row.nfe, model.calls) == (8, 7, 7)
    quota = decode(model, [Request.completion("r", [1], 8, replace(PLAN, schedule=Quota(3)))])[0]
    assert (quota.steps, quota.nfe) == (3, 3)


def test_an_empty_engine_has_nothing_to_do() -> None:
    engine = Engine(TableDenoiser())
    step = engine.step()
    assert (step.rows, step.finished, step.calls) == ((), (), 0)
    engine.cancel(["nobody"])
    assert engine.step().finished == ()


def test_the_published_count_is_a_batch_mean_that_no_row_exceeds() -> None:
    """Rows of 10 and 4 open positions, 4 steps: each commits trunc(mean * (1 - s / t)) at most."""
    steps = 4
    share = reveal_share(steps, 1e-3)
    requests = [Request.completion(f"r{n}", [1], n, dream_plan(steps=steps)) for n in (10, 4)]
    left, expected = {"r10": 10, "r4": 4}, []
    for step in range(steps + 1):
        live = [n for n in left.values() if n]
        mean = sum(live) / len(live) if live else 0
        count = int(mean * (1 if step == steps - 1 else share[min(step, steps - 1)]))
        count = max(live) if step == steps and live else count
        expected.append({name: min(n, count) for name, n in left.items() if min(n, count)})
        left = {name: n - min(n, count) for name, n in left.items()}
    happened = [
        {row.id: len(row.positions) for row in step.rows}
        for step in run(Engine(TableDenoiser()), requests)
    ]
    assert happened == [commits for commits in expected if commits]
    assert expected[0] == {"r10": 1, "r4": 1}  # a mean of 7 opens one, where 10 alone would open 2
