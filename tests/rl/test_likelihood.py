"""Scoring: the log-probabilities of a plan, whatever the batch, the padding, the chunks and the tail."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffucode.decoding.engine import Decoder, Finished, decode
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.decoding.trace import Trace
from diffucode.errors import PlanError
from diffucode.models.head import HEAD_BYTES
from diffucode.models.toy import TableDenoiser, tiny_transformer
from diffucode.protocols import Denoiser
from diffucode.rl.likelihood import (
    Behaviour,
    Completed,
    Likelihood,
    Tail,
    Targets,
    _Read,
    complete,
    score,
)
from diffucode.rl.masking import (
    Autoregressive,
    Bernoulli,
    Count,
    Coupled,
    Estimator,
    Full,
    LeftToRight,
    Stratified,
    Traced,
    plan,
)
from diffucode.sampling.temperature import Linear
from diffucode.sampling.truncation import Truncation

VOCAB, MASK, END = 12, 11, 0
TRUNCATION = Truncation(top_p=0.9)


def decoded(
    denoiser: Denoiser,
    *,
    rows: int = 5,
    decoder: Decoder = "diffusion",
    truncation: Truncation = TRUNCATION,
    retire: bool = True,
) -> tuple[Trace, ...]:
    """Rows of unequal prompts, written two at a time and at falling temperature."""
    chosen = SamplingPlan(Linear(1.5, 0.3), truncation, schedule=Quota(4), retire=retire)
    requests = [
        Request.completion(f"r{b}", [3] * (1 + b % 3), 5 + b, chosen, seed=b) for b in range(rows)
    ]
    found: list[Finished] = decode(denoiser, requests, decoder=decoder, capacity=3)
    return tuple(one.trace for one in found)


def table(**options: object) -> TableDenoiser:
    return TableDenoiser(VOCAB, mask_id=MASK, terminator_ids=(END,), **options)  # type: ignore[arg-type]


def finished(traces: tuple[Trace, ...], tail: Tail = "hidden") -> Completed:
    return complete(traces, (END,), tail=tail, fill=MASK)


def scored(
    denoiser: Denoiser, estimator: Estimator, traces: tuple[Trace, ...], tail: Tail = "hidden"
) -> Likelihood:
    canvas, scored_BL = finished(traces, tail)
    made = plan(estimator, canvas, scored_BL, iteration=0, traces=traces)
    return score(denoiser, canvas, made)


def test_a_score_is_the_models_own_answer() -> None:
    """Target by target, against logits asked for one at a time."""
    denoiser = table()
    traces = with_tails(denoiser)
    canvas, scored_BL = finished(traces)
    assert canvas.open_BL.any()
    made = plan(Coupled("unbiased"), canvas, scored_BL, iteration=0)
    found = score(denoiser, canvas, made)
    at = found.targets
    assert len(at) == int((made.weight_KBL != 0).sum()) > 40
    for n in range(0, len(at), 7):
        k, b, col = int(at.view_N[n]), int(at.row_N[n]), int(at.col_N[n])
        opened = (made.hidden_KBL[k, b] | canvas.open_BL[b])[: len(traces[b].token)]
        logits = denoiser.logits_for(traces[b].token.tolist(), opened.tolist(), col)
        logprob = logits.log_softmax(0)
        assert found.logprob_N[n] == pytest.approx(float(logprob[traces[b].token[col]]), abs=1e-6)
        entropy = -(logprob.exp() * logprob).sum()
        assert found.entropy_N[n] == pytest.approx(float(entropy), abs=1e-5)
        assert at.weight_N[n] == made.weight_KBL[k, b, col]
    sums = [float((at.weight_N * found.logprob_N)[at.row_N == b].sum()) for b in range(len(traces))]
    assert found.estimate_B(len(traces)).tolist() == pytest.approx(sums)


ESTIMATORS: list[Estimator] = [Full(), Bernoulli(2), Count(2), Coupled(), LeftToRight(), Traced()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
@pytest.mark.parametrize("kind", ["table", "transformer", "shifted"])
def test_rows_and_views_apart_give_the_same(estimator: Estimator, kind: str) -> None:
    """Exactly where a score is a table's; a transformer's kernels round differently in other shapes."""
    denoiser: Denoiser = table()
    if kind != "table":
        denoiser = tiny_transformer(VOCAB, shift=kind == "shifted")
    traces = decoded(denoiser)
    canvas, scored_BL = finished(traces)
    made = plan(estimator, canvas, scored_BL, iteration=0, traces=traces)
    with torch.no_grad():
        whole = score(denoiser, canvas, made).estimate_B(len(traces))
        by_row = [
            score(denoiser, canvas.take(torch.arange(b, b + 1)), made[b : b + 1]).estimate_B(1)
            for b in range(len(traces))
        ]
        by_view = [
            score(denoiser, canvas, made.view(slice(k, k + 1))).estimate_B(len(traces))
            for k in range(made.views)
        ]
        short = [
            plan(estimator, *finished(traces[b : b + 1]), iteration=0, traces=traces[b : b + 1])
            for b in range(len(traces))
        ]
        alone = [
            score(denoiser, finished(traces[b : b + 1]).canvas, short[b]).estimate_B(1)
            for b in range(len(traces))
        ]
    close = 0 if kind == "table" else 2e-5
    for parts in (torch.cat(by_row), torch.stack(by_view).sum(0), torch.cat(alone)):
        assert torch.allclose(parts, whole, rtol=0, atol=max(close, 1e-12))


def test_chunks_of_the_head_change_neither_value_nor_gradient() -> None:
    gradients, values = [], []
    for head_bytes in (HEAD_BYTES, 1):  # one chunk; 64 rows, the least
        denoiser = tiny_transformer(VOCAB, head_bytes=head_bytes)
        traces = decoded(tiny_transformer(VOCAB), rows=9)
        found = scored(denoiser, Coupled(pairs=2), traces)
        assert len(found.targets) > 2 * 64
        found.estimate_B(len(traces)).sum().backward()
        values.append(found.logprob_N.detach())
        gradients.append([p.grad for p in denoiser.parameters()])
    assert torch.allclose(values[0], values[1], atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        assert one is not None and other is not None
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_only_targets_go_through_the_head_and_only_their_views_through_the_body() -> None:
    denoiser = tiny_transformer(VOCAB)
    traces = decoded(denoiser)
    canvas, scored_BL = finished(traces)
    made = plan(Count(), canvas, scored_BL, iteration=0)
    denoiser.rows_read = denoiser.calls = 0
    with torch.no_grad():
        score(denoiser, canvas, made)
    assert (denoiser.calls, denoiser.rows_read) == (1, int((made.weight_KBL != 0).sum()))


@pytest.mark.parametrize("kind", ["plain", "shifted"])
def test_views_that_look_alike_are_read_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions of one prompt with everything hidden: one row, and the gradient of all of them."""
    denoiser = tiny_transformer(VOCAB, shift=kind == "shifted")
    chosen = SamplingPlan(Linear(1.5, 0.9), retire=False)
    requests = [
        replace(Request.completion(f"r{b}", [3, b], 6, chosen, seed=b), sample=k)
        for b in range(2)
        for k in range(4)
    ]
    traces = tuple(one.trace for one in decode(denoiser, requests, capacity=8))
    canvas, scored_BL = finished(traces)
    made = plan(Full(), canvas, scored_BL, iteration=0, traces=traces)
    widths = []
    body = denoiser._body

    def counted(**inputs: Tensor) -> Tensor:
        widths.append(len(inputs["input_ids"]))
        return body(**inputs)

    monkeypatch.setattr(denoiser, "_body", counted)

    def gradient(parts: list[slice]) -> list[Tensor]:
        denoiser.zero_grad()
        for n in parts:
            found = score(denoiser, canvas.take(torch.arange(n.start, n.stop)), made[n])
            (found.logprob_N * (1 + found.targets.col_N)).sum().backward()
        return [p.grad.clone() for p in denoiser.parameters() if p.grad is not None]

    whole, apart = gradient([slice(0, 8)]), gradient([slice(b, b + 1) for b in range(8)])
    assert widths == [2] + [1] * 8
    for one, other in zip(whole, apart, strict=True):
        assert torch.allclose(one, other, atol=2e-4, rtol=1e-4)


def test_an_empty_share_scores_to_a_sum_of_zero() -> None:
    denoiser = table()
    canvas, scored_BL = finished(decoded(denoiser))
    made = plan(Full(), canvas, scored_BL, iteration=0)
    found = score(denoiser, canvas.take(torch.arange(0)), made[0:0])
    assert len(found.targets) == 0 and float(found.estimate_B(0).sum()) == 0


@pytest.mark.parametrize("impossible", [False, True])
def test_reading_logits_has_the_value_and_the_gradient_of_the_plain_formula(
    impossible: bool,
) -> None:
    """Also where tokens are impossible, and for logits that are large."""
    generator = torch.Generator().manual_seed(0)
    logits_NV = 3 * torch.randn(7, VOCAB, dtype=torch.double, generator=generator) + 1e3
    if impossible:
        logits_NV[:, 4:9] = -math.inf
    token_N = torch.tensor([0, 1, 2, 3, 9, 10, 11])
    logits_NV.requires_grad_()
    kept_NV = logits_NV.detach().clone()
    scale_N = torch.randn(7, dtype=torch.double, generator=generator)
    logprob_N, entropy_N = _Read.apply(logits_NV, token_N)  # type: ignore[no-untyped-call]
    plain_NV = logits_NV.log_softmax(1)
    plain_N = plain_NV.gather(1, token_N[:, None])[:, 0]
    assert torch.allclose(logprob_N, plain_N, rtol=0, atol=1e-12)
    assert torch.allclose(entropy_N, torch.special.entr(plain_NV.exp()).sum(1), atol=1e-12)
    assert not entropy_N.requires_grad
    for _ in range(2):  # the backward pass leaves what it was given
        gradients = [
            torch.autograd.grad((scale_N * one_N).sum(), logits_NV, retain_graph=True)[0]
            for one_N in (logprob_N, plain_N)
        ]
        assert torch.allclose(*gradients, rtol=0, atol=1e-12)
    assert torch.equal(logits_NV, kept_NV)


# --- the tail ----------------------------------------------------------------------------------


def other_tail(trace: Trace) -> Trace:
    """Another text after the first terminator."""
    end = int(((trace.token == END) & (trace.step >= 0)).argmax())
    token = trace.token.copy()
    token[end + 1 :] = 5
    return replace(trace, token=token)


def with_tails(denoiser: Denoiser) -> tuple[Trace, ...]:
    traces = decoded(denoiser, rows=12, retire=False)
    kept = [trace for trace in traces if ((trace.token == END) & (trace.step >= 0))[:-2].any()]
    assert len(kept) >= 3
    return tuple(kept)


@pytest.mark.parametrize("estimator", [Full(), Coupled(), LeftToRight(), Stratified(2)], ids=str)
@pytest.mark.parametrize("tail", ["hidden", "unseen"])
def test_what_follows_the_terminator_is_neither_scored_nor_seen(
    estimator: Estimator, tail: Tail
) -> None:
    denoiser = table()
    traces = with_tails(denoiser)
    first = scored(denoiser, estimator, traces, tail)
    second = scored(denoiser, estimator, tuple(map(other_tail, traces)), tail)
    assert torch.equal(first.logprob_N, second.logprob_N)
    assert len(first.targets) == len(second.targets)
    ends = [int(((t.token == END) & (t.step >= 0)).argmax()) for t in traces]
    last_B = [int(row.nonzero().max()) for row in finished(traces, tail).scored_BL]
    assert last_B == ends
    assert all(
        int(first.targets.col_N[first.targets.row_N == b].max()) <= ends[b] for b in range(3)
    )


def test_a_shown_tail_is_seen() -> None:
    denoiser = table()
    traces = with_tails(denoiser)
    first = scored(denoiser, Full(), traces, "shown")
    second = scored(denoiser, Full(), tuple(map(other_tail, traces)), "shown")
    assert len(first.targets) == len(second.targets)
    assert not torch.equal(first.logprob_N, second.logprob_N)


def test_a_hidden_tail_is_masked_and_an_unseen_one_is_no_canvas() -> None:
    traces = with_tails(table())
    hidden, unseen = finished(traces, "hidden"), finished(traces, "unseen")
    assert torch.equal(hidden.scored_BL, unseen.scored_BL)
    after_BL = hidden.canvas.real_BL & ~hidden.canvas.given_BL & ~hidden.scored_BL
    assert after_BL.any()
    assert hidden.canvas.open_BL[after_BL].all()
    assert not unseen.canvas.real_BL[after_BL].any()


# --- the trace: what was logged is found again -------------------------------------------------


@pytest.mark.parametrize("kind", ["table", "transformer", "shifted"])
@pytest.mark.parametrize(
    "truncation", [Truncation(), TRUNCATION, Truncation(top_k=4, temperature_last=True)], ids=str
)
def test_replayed_log_probabilities_are_the_logged_ones(kind: str, truncation: Truncation) -> None:
    """Raw under the model itself; behaviour under the recorded temperature and the plan's truncation."""
    denoiser: Denoiser = table()
    if kind != "table":
        denoiser = tiny_transformer(VOCAB, shift=kind == "shifted")
    traces = decoded(denoiser, rows=6, truncation=truncation, retire=False)
    canvas, scored_BL = finished(traces, "shown")
    made = plan(Traced(), canvas, scored_BL, iteration=0, traces=traces)
    tau_BL = logged(traces, "tau", canvas.shape)
    with torch.no_grad():
        raw = score(denoiser, canvas, made)
        drawn = score(denoiser, canvas, made, behaviour=Behaviour(tau_BL, truncation, never=MASK))
    at = raw.targets
    assert len(at) == int(scored_BL.sum())
    for found, name in ((raw, "raw_logprob"), (drawn, "behaviour_logprob")):
        wanted_N = logged(traces, name, canvas.shape)[at.row_N, at.col_N]
        assert torch.allclose(found.logprob_N, wanted_N, atol=2e-5), name
    assert not torch.allclose(raw.logprob_N, drawn.logprob_N, atol=1e-2)
    assert torch.allclose(
        raw.entropy_N, logged(traces, "entropy", canvas.shape)[at.row_N, at.col_N], atol=2e-5
    )


def logged(traces: tuple[Trace, ...], name: str, shape: tuple[int, int]) -> Tensor:
    """A float column of traces, ``[B, L]``."""
    column_BL = torch.zeros(shape)
    for b, trace in enumerate(traces):
        column_BL[b, : len(trace.token)] = torch.from_numpy(getattr(trace, name))
    return column_BL


@pytest.mark.parametrize("kind", ["table", "transformer"])
def test_an_autoregressive_score_is_the_logged_one(kind: str) -> None:
    denoiser: Denoiser = table(causal=True)
    if kind == "transformer":
        denoiser = tiny_transformer(VOCAB, causal=True)
    traces = decoded(denoiser, decoder="ar")
    canvas, scored_BL = finished(traces)
    made = plan(Autoregressive(), canvas, scored_BL, iteration=0)
    with torch.no_grad():
        found = score(denoiser, canvas, made)
    at = found.targets
    wanted_N = logged(traces, "raw_logprob", canvas.shape)[at.row_N, at.col_N]
    assert torch.allclose(found.logprob_N, wanted_N, atol=2e-5)


def test_behaviour_has_the_gradient_of_what_was_drawn_from() -> None:
    """Against autograd through the plain formula, tempered, banned and without truncation."""
    denoiser = tiny_transformer(VOCAB)
    traces = decoded(denoiser, truncation=Truncation())
    canvas, scored_BL = finished(traces, "shown")
    made = plan(Traced(), canvas, scored_BL, iteration=0, traces=traces)
    tau_BL = logged(traces, "tau", canvas.shape)
    found = score(denoiser, canvas, made, behaviour=Behaviour(tau_BL, never=MASK))
    at, kept = found.targets, {}

    def keep(logits_nV: Tensor, where: slice) -> dict[str, Tensor]:
        tau_n = tau_BL[at.row_N, at.col_N][where]
        z = logits_nV[:, :MASK] / tau_n[:, None]
        return {"logprob": z.log_softmax(1).gather(1, at.token_N[where][:, None])[:, 0]}

    original = denoiser.forward
    denoiser.forward = lambda rows, ask, _: (
        kept.update(original(rows, ask, keep))
        or {  # type: ignore[method-assign,assignment,misc]
            **kept,
            "entropy": kept["logprob"],
        }
    )
    plain = score(denoiser, canvas, made, behaviour=Behaviour(tau_BL, never=MASK))
    parameters = list(denoiser.parameters())
    gradients = [
        torch.autograd.grad(one.logprob_N.sum(), parameters, retain_graph=True)
        for one in (found, plain)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_what_cannot_be_scored_is_refused() -> None:
    denoiser = table()
    traces = decoded(denoiser)
    canvas, scored_BL = finished(traces)
    with pytest.raises(PlanError, match="'left' on a bidirectional model"):
        score(denoiser, canvas, plan(Autoregressive(), canvas, scored_BL, iteration=0))
    with pytest.raises(PlanError, match="'hidden' on a causal model"):
        score(table(causal=True), canvas, plan(Full(), canvas, scored_BL, iteration=0))
    made = plan(Full(), canvas, scored_BL, iteration=0)
    with pytest.raises(PlanError, match="temperature 0"):
        score(denoiser, canvas, made, behaviour=Behaviour(torch.zeros(canvas.shape)))
    [trace] = decoded(denoiser, rows=1)
    hole = replace(trace, step=trace.step.copy())
    hole.step[trace.start] = -1
    with pytest.raises(PlanError, match="never written"):
        finished((hole,))


def test_targets_come_row_by_row() -> None:
    canvas, scored_BL = finished(decoded(table()))
    at = Targets.of(plan(Coupled(), canvas, scored_BL, iteration=0), canvas)
    order = torch.stack([at.row_N, at.view_N, at.col_N], 1).tolist()
    assert order == sorted(order)
