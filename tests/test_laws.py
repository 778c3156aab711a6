"""The laws of decoding that cross modules: determinism, batch invariance, AR as a special case."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffucode.decoding import engine as engine_module
from diffucode.decoding.diffusion import Asked
from diffucode.decoding.engine import Engine, Finished, decode, run
from diffucode.decoding.order import (
    BlockWise,
    Confidence,
    DrawnConfidence,
    Entropy,
    LeftToRight,
    Margin,
    Order,
    Random,
)
from diffucode.decoding.plan import Request, SamplingPlan, dream_plan, llada_plan
from diffucode.decoding.schedule import (
    CosineQuota,
    DreamOrigin,
    EntropyBound,
    Quota,
    Schedule,
    Threshold,
)
from diffucode.models.toy import TableDenoiser, tiny_transformer
from diffucode.protocols import Denoiser
from diffucode.sampling import draw as draw_module
from diffucode.sampling import truncation
from diffucode.sampling.edits import Ban, Bias, Repetition
from diffucode.sampling.temperature import (
    Annealed,
    Constant,
    Cosine,
    HapoAdaptive,
    HapoStats,
    Linear,
    MirostatV1,
    MirostatV2,
    Product,
    Regions,
    Temperature,
)
from diffucode.sampling.truncation import Truncation

MASK, END = 11, 0
VOCAB = 12

POLICIES: dict[str, Temperature] = {
    "greedy": Constant(0.0),
    "constant": Constant(0.8),
    "linear": Linear(1.5, 0.2),
    "cosine": Cosine(1.5, 0.2, clock="position"),
    "annealed": Annealed(clock="progress"),
    "annealed by position": Annealed(d=5.0, cutoff=1),
    "mirostat v1": MirostatV1(target=1.5),
    "mirostat v2": MirostatV2(target=1.5),
    "hapo scaled": HapoAdaptive(stats=HapoStats(q=0.3, sigma=1.0, h_max=1.0, h_min=-3.0)),
    "hapo z-score": HapoAdaptive(
        form="zscore", stats=HapoStats(q=0.3, sigma=1.0, h_max=1.0, h_min=-3.0)
    ),
    "regions": Regions(text=Constant(1.2), code=MirostatV2(target=1.0)),
    "product": Product((Constant(1.1), MirostatV2(target=2.0))),
}
ORDERS: list[Order] = [
    Confidence(),
    DrawnConfidence(),
    Margin(),
    Entropy(),
    Random(),
    LeftToRight(),
    BlockWise(3, Entropy()),
]
SCHEDULES: list[Schedule] = [
    Quota(),
    Quota(3),
    Quota(50),
    CosineQuota(5),
    Threshold(0.5),
    EntropyBound(1.0),
    DreamOrigin(6),
]


def table(**options: Any) -> TableDenoiser:
    settings = {"mask_id": MASK, "terminator_ids": (END,)} | options
    return TableDenoiser(VOCAB, **settings)


def request(plan: SamplingPlan, index: int = 0, *, seed: int = 0, hole: bool = False) -> Request:
    """Rows of unequal prompts and canvases; ``hole`` gives one with given tokens in between."""
    prompt, new = [1 + index % 5] * (1 + index % 3), 5 + (index * 7) % 6
    made = Request.completion(f"r{index}", prompt, new, plan, seed=seed)
    regions = tuple((i // 3) % 2 for i in range(len(made.tokens)))
    made = replace(made, regions=regions)
    if not hole:
        return made
    closed = [*made.open]
    closed[-2] = False
    closed[0] = True
    return replace(made, open=tuple(closed), tokens=(*made.tokens[:-2], 5, 0))


def same(a: Finished, b: Finished) -> bool:
    return a.trace == b.trace and (a.reason, a.steps, a.nfe) == (b.reason, b.steps, b.nfe)


def plans() -> list[SamplingPlan]:
    made = [SamplingPlan(temperature=policy, order=Entropy()) for policy in POLICIES.values()]
    made += [
        SamplingPlan(temperature=Constant(0.7), order=order, schedule=schedule)
        for order, schedule in product(ORDERS, SCHEDULES)
    ]
    made += [
        SamplingPlan(Constant(1.0), Truncation(top_p=0.8, temperature_last=True), ties="random"),
        SamplingPlan(Constant(1.0), order_temperature=0.5, schedule=Quota(4)),
        SamplingPlan(Constant(1.0), order_temperature=2.0, order_scale="dream", order=Margin()),
        SamplingPlan(Constant(1.0), Truncation(top_k=3), confidence_temperature=None),
        SamplingPlan(Constant(0.9), Truncation(min_p=0.1), confidence_truncated=True),
        SamplingPlan(Constant(1.0), edits=(Ban((3,)), Bias({END: -2.0}), Repetition(1.3))),
        dream_plan(steps=5, temperature=0.6, top_p=0.9, alg_temp=0.3),
        llada_plan(steps=6, block_length=4, temperature=0.6),
    ]
    return made


# --- law 1: what the seed decides ------------------------------------------------------------------


@pytest.mark.parametrize("order", [o for o in ORDERS if not isinstance(o, Random)])
def test_zero_temperature_ignores_the_seed(order: Order) -> None:
    plan = SamplingPlan(Constant(0.0), order=order)
    a, b = (decode(table(), [request(plan, seed=seed)])[0] for seed in (0, 1))
    assert np.array_equal(a.tokens, b.tokens) and np.array_equal(a.trace.step, b.trace.step)


def test_the_same_seed_gives_the_same_trace_and_another_does_not() -> None:
    """Eight canvases of 5 or more tokens at temperature 3 agree by chance with odds below 1e-15."""
    plan = SamplingPlan(Constant(3.0), order=Random())
    runs = [decode(table(), [request(plan, i, seed=s) for i in range(8)]) for s in (0, 0, 1)]
    assert all(map(same, runs[0], runs[1]))
    assert not any(
        np.array_equal(a.tokens, b.tokens) for a, b in zip(runs[0], runs[2], strict=True)
    )


def test_samples_of_a_request_differ() -> None:
    plan = SamplingPlan(Constant(3.0))
    rows = decode(table(), [replace(request(plan), sample=k) for k in range(8)])
    assert len({row.tokens.tobytes() for row in rows}) > 4


# --- law 4: a row alone equals the row in any batch -----------------------------------------------


def test_a_row_alone_equals_the_row_in_any_batch() -> None:
    """Every plan at once, unequal rows, through retirement and refill: exactly, floats included."""
    requests = [request(plan, i, hole=i % 4 == 3) for i, plan in enumerate(plans())]
    alone = [decode(table(), [r])[0] for r in requests]
    for capacity in (3, 10, len(requests)):
        together = decode(table(), requests, capacity=capacity)
        differ = [
            r.plan for r, a, b in zip(requests, alone, together, strict=True) if not same(a, b)
        ]
        assert not differ, capacity


@pytest.mark.parametrize("decoder", ["diffusion", "ar"])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_policies_keep_their_rows_through_retirement_and_refill(
    policy: Temperature, decoder: Any
) -> None:
    causal = decoder == "ar"
    model = table(causal=causal, mask_id=None if causal else MASK, seed=5)
    requests = [request(SamplingPlan(policy, retire=i % 2 == 0), i) for i in range(9)]
    alone = [decode(model, [r], decoder=decoder)[0] for r in requests]
    together = decode(model, requests, decoder=decoder, capacity=4)
    assert all(map(same, alone, together))


def test_a_transformer_row_alone_equals_the_row_in_any_batch() -> None:
    """Tokens and order; a decision margin below 1e-5 would be allowed to differ, none occurs here."""
    model = tiny_transformer(VOCAB, shift=True, mask_id=MASK, terminator_ids=(END,), seed=1)
    requests = [
        request(SamplingPlan(Constant(0.7), order=order, schedule=Quota(4)), i, hole=i % 3 == 2)
        for i, order in enumerate(ORDERS * 2)
    ]
    requests = [replace(r, sample=k) for r in requests for k in range(2)]
    together = decode(model, requests, capacity=9)
    for r, b in zip(requests, together, strict=True):
        a = decode(model, [r])[0]
        assert np.array_equal(a.tokens, b.tokens) and np.array_equal(a.trace.step, b.trace.step)
        np.testing.assert_allclose(a.trace.raw_logprob, b.trace.raw_logprob, atol=2e-5)


def contents(row: Finished) -> list[bytes]:
    """What the row held before each of its steps, one commit each."""
    found = []
    for step in range(row.steps):
        known = row.trace.given | (row.trace.step >= 0) & (row.trace.step < step)
        found.append(np.where(known, row.tokens, -1).tobytes())
    return found


@pytest.mark.parametrize("tau", [0.0, 0.7, 3.0])
def test_rows_of_equal_content_are_read_once(tau: float) -> None:
    """Samples of a prompt are one row until their noise parts them; each ends as it would alone."""
    plan = SamplingPlan(Constant(tau), Truncation(top_p=0.9))
    requests = [replace(request(plan, i), sample=k) for i in range(3) for k in range(6)]
    steps = list(run(Engine(table(), capacity=len(requests)), requests))
    rows = {(f.request.id, f.request.sample): f for step in steps for f in step.finished}
    for one in requests:
        assert same(rows[one.id, one.sample], decode(table(), [one])[0])
    for n, step in enumerate(steps):
        before = {contents(row)[n] for row in rows.values() if n < row.steps}
        assert step.read == len(before)
    assert steps[0].read == 3
    parted = {row.tokens.tobytes() for row in rows.values()}
    assert len(parted) == 3 if tau == 0 else len(parted) > 6


def test_a_given_mask_token_is_not_an_open_position() -> None:
    """Two rows of the same ids that differ in what is open, in one batch."""
    opened = Request.completion("open", [1, 2], 4, SamplingPlan(Constant(0.0)))
    given = replace(
        opened, id="given", tokens=(1, 2, MASK, 0, 0, 0), open=(False,) * 3 + (True,) * 3
    )
    together = decode(table(), [opened, given])
    assert all(
        same(a, decode(table(), [r])[0]) for a, r in zip(together, (opened, given), strict=True)
    )


def test_a_short_row_behind_rows_of_equal_content_sees_no_padding() -> None:
    model = tiny_transformer(VOCAB, mask_id=MASK, terminator_ids=(END,), seed=1)
    plan = SamplingPlan(Constant(0.0), retire=False)
    long, short = (Request.completion(f"n{n}", [1], n, plan) for n in (9, 4))
    together = decode(model, [long, replace(long, sample=1), short])
    alone = decode(model, [short])[0]
    np.testing.assert_allclose(together[2].trace.raw_logprob, alone.trace.raw_logprob, atol=2e-5)


def test_rows_that_sit_a_step_out_are_not_read() -> None:
    """A cosine schedule skips steps, others than its neighbour's."""
    plan = SamplingPlan(order=Random(), schedule=CosineQuota(30), retire=False)
    requests = [Request.completion(f"q{n}", [1], n, plan) for n in (24, 7, 16)]
    steps = list(run(Engine(table(), capacity=3), requests))
    assert any(len(step.rows) < 3 for step in steps[:-6])
    assert all(step.read == len(step.rows) for step in steps)


# --- law 3: autoregressive decoding is a special case ---------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("cached", [True, False])
def test_ar_equals_left_to_right_diffusion(tau: float, cached: bool) -> None:
    models: list[Denoiser] = [
        table(causal=True, mask_id=None),
        tiny_transformer(VOCAB, causal=True, shift=True, mask_id=None, terminator_ids=(END,)),
    ]
    plan = SamplingPlan(Constant(tau), Truncation(top_p=0.95), order=LeftToRight())
    requests = [request(plan, i) for i in range(8)]
    for model in models:
        with uncached(model, cached):
            ar = decode(model, requests, decoder="ar", capacity=3)
        diffusion = decode(model, requests, capacity=5)
        for a, b in zip(ar, diffusion, strict=True):
            assert np.array_equal(a.tokens, b.tokens)
            assert np.array_equal(a.trace.step, b.trace.step)
            np.testing.assert_allclose(
                a.trace.behaviour_logprob, b.trace.behaviour_logprob, atol=2e-5
            )
            steps = a.trace.step[a.trace.step >= 0]
            assert np.array_equal(
                steps, np.arange(len(steps))
            )  # step is the position in the answer


@contextmanager
def uncached(model: Any, cached: bool) -> Iterator[None]:
    original = model.empty_cache
    if not cached:
        model.empty_cache = lambda rows: None
    yield
    model.empty_cache = original


# --- law 5: commit once ------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("retire", [True, False])
def test_every_open_position_is_committed_exactly_once(
    order: Order, schedule: Schedule, retire: bool
) -> None:
    plan = SamplingPlan(Constant(1.5), order=order, schedule=schedule, retire=retire)
    requests = [request(plan, i, hole=i % 2 == 1) for i in range(6)]
    engine = Engine(table(), capacity=4)
    written: dict[str, list[int]] = {r.id: [] for r in requests}
    finished = {}
    for step in run(engine, requests):
        for row in step.rows:
            written[row.id] += row.positions.tolist()
        finished |= {f.request.id: f for f in step.finished}
    for r in requests:
        row, opened = finished[r.id], np.array(r.open)
        assert len(set(written[r.id])) == len(written[r.id])
        committed = row.trace.step >= 0
        assert sorted(written[r.id]) == np.flatnonzero(committed).tolist()
        assert not committed[~opened].any()
        assert np.array_equal(row.tokens[~opened], np.array(r.tokens)[~opened])
        assert not (row.tokens[committed] == MASK).any()
        left = np.flatnonzero(opened & ~committed)
        if retire and len(left):
            ends = np.flatnonzero(committed & (row.tokens == END))
            assert row.reason == "terminator" and left.min() > ends.min()
        else:
            assert not len(left)


def test_a_mask_that_the_model_wants_is_never_drawn() -> None:
    model = table()
    model._table[:, MASK] = 30.0
    for tau in (0.0, 1.0):
        row = decode(model, [request(SamplingPlan(Constant(tau)))])[0]
        assert not (row.tokens[row.trace.step >= 0] == MASK).any()


# --- the engine ----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [Confidence(), Margin(), Entropy(), Random(), BlockWise(4)])
@pytest.mark.parametrize("order_temperature", [0.0, 0.6])
def test_drawing_late_equals_drawing_everything(
    order: Order, order_temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SamplingPlan(
        Constant(1.0), order=order, order_temperature=order_temperature, schedule=Quota(4)
    )
    requests = [request(plan, i) for i in range(5)]
    late = decode(table(), requests)
    monkeypatch.setattr(engine_module._Turn, "can_draw_late", False)
    assert all(map(same, late, decode(table(), requests)))


def test_retirement_saves_the_predicted_steps_and_keeps_the_text() -> None:
    plan = SamplingPlan(Constant(1.0), order=LeftToRight())
    requests = [request(plan, i) for i in range(12)]
    full = decode(table(), [replace(r, plan=replace(plan, retire=False)) for r in requests])
    early = decode(table(), requests)
    for r, a, b in zip(requests, full, early, strict=True):
        answer = a.tokens[np.array(r.open)].tolist()
        needed = answer.index(END) + 1 if END in answer else len(answer)
        assert b.nfe == needed
        assert np.array_equal(a.tokens[b.trace.step >= 0], b.tokens[b.trace.step >= 0])
    assert sum(b.nfe for b in early) < sum(a.nfe for a in full)


def test_cancel_frees_the_row_and_touches_nobody() -> None:
    plan = SamplingPlan(Constant(1.0), retire=False)
    requests = [request(plan, i) for i in range(6)]
    alone = {r.id: decode(table(), [r])[0] for r in requests}
    engine = Engine(table(), capacity=2)
    engine.admit(requests)
    finished: list[Finished] = []
    for number in range(100):
        if number == 2:
            engine.cancel(["r0", "r4"])
        finished += engine.step().finished
        if not engine.live and not engine.pending:
            break
    by_id = {f.request.id: f for f in finished}
    assert by_id["r0"].reason == by_id["r4"].reason == "cancelled"
    assert by_id["r0"].nfe == 2 and by_id["r4"].nfe == 0
    for name in ("r1", "r2", "r3", "r5"):
        assert same(by_id[name], alone[name])


def test_rows_through_the_head_are_the_open_positions() -> None:
    model = tiny_transformer(VOCAB, shift=False, mask_id=MASK, terminator_ids=(END,))
    plan = SamplingPlan(Constant(0.5), retire=False)
    asked = [step.asked for step in run(Engine(model), [request(plan, i) for i in range(4)])]
    lengths = [sum(request(plan, i).open) for i in range(4)]
    assert model.rows_read == sum(asked) == sum(n * (n + 1) // 2 for n in lengths)
    assert model.calls == len(asked) == max(lengths)


class Synchronisations(TorchDispatchMode):
    """Counts operations whose result the host must wait for."""

    waits = (
        "aten._local_scalar_dense",
        "aten.nonzero",
        "aten.masked_select",
        "aten.equal",
        "aten.unique",
    )

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func._schema.name == "aten::index" and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        self.count += by_mask or str(func).startswith(self.waits)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("plan", "model"),
    [
        *((plan, table()) for plan in plans()),
        (SamplingPlan(), tiny_transformer(VOCAB, mask_id=MASK, terminator_ids=(END,))),
    ],
)
def test_at_most_one_synchronisation_a_step(
    plan: SamplingPlan, model: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator: nothing but the one fetch may wait for the device, also where rows of
    unequal lengths join and leave."""
    for module in (truncation, draw_module):
        monkeypatch.setattr(module, "free_to_ask", lambda x: False)
    fetched = []
    fetch = engine_module._fetch
    monkeypatch.setattr(engine_module, "_fetch", lambda t: fetched.append(1) or fetch(t))
    engine = Engine(model, capacity=3)
    engine.admit([request(plan, i) for i in range(5)])
    while engine.live or engine.pending:
        fetched.clear()
        with Synchronisations() as waits:
            calls = engine.step().calls
        assert waits.count == 0 and len(fetched) == calls <= 1


def test_the_temperature_leaves_the_raw_order_alone() -> None:
    """The first step of an entropy-ordered row: the same position at any tau, unless tied to it."""

    def first(tau: float, **plan: Any) -> list[int]:
        made = SamplingPlan(Constant(tau), order=Entropy(), retire=False, **plan)
        rows = decode(table(scale=4.0), [request(made, i) for i in range(30)])
        return [int(row.trace.committed[0]) for row in rows]

    assert first(0.2) == first(1.0) == first(2.0)
    tied = {"confidence_temperature": None, "confidence_truncated": True}
    assert first(0.2, **tied) != first(2.0, **tied)


def test_view_of_a_policy_is_what_the_protocol_says() -> None:
    """Progress, step, offset and length as a policy sees them, for rows that started apart."""
    seen: list[tuple[list[float], list[int], list[int]]] = []

    class Watching(Constant):
        def control(self, view: Any, state: Any) -> Any:
            seen.append((view.progress_B.tolist(), view.step_B.tolist(), view.length_B.tolist()))
            assert view.offset_N.min() >= 0
            return super().control(view, state)

    plan = SamplingPlan(Watching(0.0), order=LeftToRight(), schedule=Quota(2), retire=False)
    requests = [Request.completion(f"q{n}", [1], n, plan) for n in (4, 2, 6)]
    decode(table(), requests, capacity=2)
    assert seen == [
        ([0.0, 0.0], [0, 0], [4, 2]),
        ([0.5, 0.5], [1, 1], [4, 2]),
        ([0.0], [0], [6]),
        ([0.5], [1], [6]),
    ]


def test_asked_positions_are_a_value() -> None:
    """Taking positions from an ask leaves the ask as it was."""
    assert Asked.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_blocks_share_the_steps_and_skip_what_is_given() -> None:
    """Block by block: never ahead of the current block, and exactly the steps that were asked for."""
    plan = SamplingPlan(
        Constant(1.0), order=BlockWise(4, Random()), schedule=Quota(7), retire=False
    )
    opened = (
        False,
        *[True] * 5,
        *[False] * 8,
        *[True] * 7,
    )  # blocks of 4, 1, 3 and 4 open positions
    row = decode(table(), [Request("holes", (1,) * len(opened), opened, plan)])[0]
    steps = [
        row.trace.step[np.array(columns)]
        for columns in ([1, 2, 3, 4], [5], [14, 15, 16], [17, 18, 19, 20])
    ]
    assert row.nfe == 2 + 1 + 2 + 1  # 7 steps over four blocks: 2, 2, 2, 1; one position needs one
    assert all(a.max() < b.min() for a, b in pairwise(steps))


def test_rows_that_sit_a_step_out_keep_their_memory() -> None:
    """A cosine schedule skips steps, others than its neighbour's; Mirostat remembers through them."""
    plan = SamplingPlan(
        MirostatV2(target=1.0), order=Random(), schedule=CosineQuota(30), retire=False
    )
    requests = [Request.completion(f"q{n}", [1], n, plan) for n in (24, 7, 16)]
    alone = [decode(table(), [r])[0] for r in requests]
    engine = Engine(table(), capacity=3)
    steps = list(run(engine, requests))
    assert any(0 < len(step.rows) < 3 for step in steps[:-6])  # some sat out while others went on
    finished = {f.request.id: f for step in steps for f in step.finished}
    assert all(same(a, finished[a.request.id]) for a in alone)
