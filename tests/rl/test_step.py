"""Updates: micro-batches, ranks and iterations change nothing that they should not."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffucode.decoding.engine import decode
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.decoding.trace import Trace
from diffucode.errors import ConfigError
from diffucode.models.toy import tiny_transformer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.rl.likelihood import complete, sandwiched, score
from diffucode.rl.masking import (
    Autoregressive,
    Count,
    Coupled,
    Espo,
    Estimator,
    Full,
    Sandwich,
    Traced,
    plan,
)
from diffucode.rl.objective import Bgpo, Bnpo, Cispo, Grpo, Gspo, Objective
from diffucode.rl.step import (
    Alone,
    Batch,
    Prepared,
    Stepped,
    Update,
    iterate,
    prepare,
    without_flat,
)
from diffucode.sampling.temperature import Constant
from diffucode.sampling.truncation import Truncation

VOCAB, MASK, END = 12, 11, 0
PLAIN = Grpo(beta=0.0)


def policy(
    *, causal: bool = False, seed: int = 0, dtype: torch.dtype = torch.float32
) -> TransformerDenoiser:
    return tiny_transformer(VOCAB, causal=causal, seed=seed).to(dtype)


def traces_of(denoiser: TransformerDenoiser, rows: int = 7) -> tuple[Trace, ...]:
    """Completions of unequal length, written at temperature 1 with what is left of top-p 0.95."""
    chosen = SamplingPlan(Constant(1.0), Truncation(top_p=0.95), schedule=Quota(4))
    requests = [
        Request.completion(f"r{b}", [3] * (1 + b % 3), 4 + b, chosen, seed=b) for b in range(rows)
    ]
    found = decode(denoiser, requests, decoder="ar" if denoiser.causal else "diffusion")
    return tuple(one.trace for one in found)


def batch_of(traces: tuple[Trace, ...], step: int = 0) -> Batch:
    advantage_B = torch.linspace(-1, 1.5, len(traces))
    return Batch(traces, advantage_B, step, seed=5, truncation=Truncation(top_p=0.95))


class Kept(Alone):
    """One process that remembers the gradient before it is clipped."""

    def __init__(self) -> None:
        self.gradient: list[Tensor] = []

    def clip(self, parameters: Iterator[nn.Parameter], norm: float) -> Tensor:
        kept = [p.grad.clone() for p in parameters if p.grad is not None]
        self.gradient = kept
        return torch.stack([g.norm() for g in kept]).norm()


def stepped(
    update: Update,
    batch: Batch,
    *,
    causal: bool = False,
    reference: TransformerDenoiser | None = None,
    index: int = 0,
    dtype: torch.dtype = torch.float32,
    least: int = 0,
) -> tuple[Stepped, list[Tensor]]:
    """An iteration without a change of the weights, and its gradient."""
    model, sync = policy(causal=causal, dtype=dtype), Kept()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    prepared = prepare(model, batch, update, sync, reference)
    return iterate(model, optimizer, prepared, index, update, sync, least=least), sync.gradient


CASES: list[tuple[Estimator, Objective]] = [
    (Coupled(), Bnpo(eps_low=0.5, eps_high=0.5, weight_in_ratio=True)),
    (Coupled("unbiased"), PLAIN),
    (Count(2), Grpo(beta=0.1)),
    (Espo(), Gspo(canvas=8, beta=0.1)),
    (Count(3), Bgpo()),
    (Full(), Bnpo(beta=0.0)),
    (Sandwich("normalised"), Grpo(beta=0.1)),
    (Sandwich(samples=3, mix=1.0, block=3), Bnpo()),
]


@pytest.mark.parametrize(("estimator", "objective"), CASES, ids=str)
def test_micro_batches_change_neither_loss_nor_gradient(
    estimator: Estimator, objective: Objective
) -> None:
    batch = batch_of(traces_of(policy()))
    reference = policy(seed=3)
    whole, wanted = stepped(
        Update(estimator, objective, rows=99), batch, reference=reference, index=1
    )
    for rows in (1, 3):
        found, gradient = stepped(
            Update(estimator, objective, rows=rows), batch, reference=reference, index=1
        )
        assert found.loss == pytest.approx(whole.loss, rel=1e-5, abs=1e-6)
        for one, other in zip(gradient, wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        for name, value in whole.metrics.means().items():
            assert found.metrics.means()[name] == pytest.approx(value, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("estimator", "objective"), [*CASES, (Traced(), PLAIN)], ids=str)
def test_completions_that_push_nowhere_are_left_out(
    estimator: Estimator, objective: Objective
) -> None:
    tail = "shown" if isinstance(estimator, Traced) else "hidden"
    update, ends = Update(estimator, objective, tail=tail), policy().terminator_ids
    batch = batch_of(traces_of(policy()))
    batch.advantage_B[[0, 2, 5]] = 0
    fewer = without_flat(batch, update, ends)
    assert len(fewer.traces) == (7 if objective.beta > 0 else 4)
    reference = policy(seed=3)
    whole, wanted = stepped(update, batch, reference=reference, index=1)
    found, gradient = stepped(update, fewer, reference=reference, index=1)
    assert found.loss == pytest.approx(whole.loss, rel=1e-5, abs=1e-6)
    for one, other in zip(gradient, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    flat = without_flat(replace(batch, advantage_B=torch.zeros(7)), update, ends)
    if objective.beta == 0:
        assert flat.traces == batch.traces[:1]
        assert flat.silent.completions == 6 and flat.idle
        nothing, gradient = stepped(update, flat, reference=reference, index=1)
        assert nothing.loss == 0 and all(not one.any() for one in gradient)
        both = nothing.metrics + found.metrics  # as two processes add theirs up
        assert both.means() == pytest.approx(found.metrics.means(), nan_ok=True)


@pytest.mark.parametrize(("estimator", "objective"), CASES, ids=str)
def test_processes_change_neither_loss_nor_gradient(
    estimator: Estimator, objective: Objective
) -> None:
    """Two processes simulated one after the other: their gradients are averaged by data parallelism."""
    traces = traces_of(policy())
    batch = batch_of(traces)
    update = Update(estimator, objective, rows=2)
    whole, wanted = stepped(update, batch, reference=policy(seed=3))
    lengths = torch.tensor([len(traces), total_length(traces)])

    class Half(Kept):
        world = 2

        def total(self, values: Tensor) -> Tensor:
            return lengths.clone() if values.dtype == torch.long else values

    losses, gradients = 0.0, []
    for own in (range(0, 7, 2), range(1, 7, 2)):  # 4 rows and 3: the second adds an empty share
        part = replace(
            batch,
            traces=tuple(traces[b] for b in own),
            advantage_B=batch.advantage_B[list(own)],
        )
        model, sync = policy(), Half()
        prepared = prepare(model, part, update, sync, policy(seed=3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        losses += iterate(model, optimizer, prepared, 0, update, sync, least=7).loss
        gradients.append(sync.gradient)
    assert losses == pytest.approx(whole.loss, rel=1e-5, abs=1e-6)
    for first, second, other in zip(*gradients, wanted, strict=True):
        assert torch.allclose((first + second) / 2, other, rtol=1e-4, atol=1e-6)


def total_length(traces: tuple[Trace, ...]) -> int:
    total = 0
    for trace in traces:
        ends = ((trace.token == END) & (trace.step >= 0)).nonzero()[0]
        written = trace.step >= 0
        total += int(written[: ends[0] + 1].sum() if len(ends) else written.sum())
    return total


def test_iterations_have_masks_of_their_own_whatever_the_micro_batches() -> None:
    """The published index counts micro-batches: with two of them each sees the same masks always."""
    batch = batch_of(traces_of(policy()))
    plans = []
    for rows in (1, 2, 99):
        prepared = prepare(policy(), batch, Update(Coupled(), PLAIN, rows=rows), Alone())
        plans.append([one.plan.hidden_KBL for one in prepared.iterations])
    first, second = plans[0]
    assert not torch.equal(first, second)
    for other in plans[1:]:
        assert torch.equal(other[0], first) and torch.equal(other[1], second)
    later = prepare(policy(), replace(batch, step=1), Update(Coupled(), PLAIN), Alone())
    assert not torch.equal(later.iterations[0].plan.hidden_KBL, first)
    assert not torch.equal(later.iterations[0].plan.hidden_KBL, second)


@pytest.mark.parametrize(("estimator", "objective"), CASES, ids=str)
def test_on_policy_every_ratio_is_1_also_in_the_second_iteration(
    estimator: Estimator, objective: Objective
) -> None:
    """The weights did not change (learning rate 0), so old and new agree under each plan."""
    batch = batch_of(traces_of(policy()))
    update = Update(estimator, objective, rows=2)
    for index in (0, 1):
        found, _ = stepped(update, batch, reference=policy(), index=index)
        assert found.metrics.ratio_gap <= (0 if index == 0 else 2e-5)
        assert found.metrics.means()["kl"] == pytest.approx(0, abs=1e-5)
        assert found.metrics.means()["clipped_low"] == found.metrics.means()["clipped_high"] == 0


def test_the_old_policy_is_the_one_before_the_first_step() -> None:
    batch = batch_of(traces_of(policy()))
    model, update = policy(), Update(Count(4), PLAIN, rows=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    prepared = prepare(model, batch, update, Alone())
    first = iterate(model, optimizer, prepared, 0, update, Alone())
    second = iterate(model, optimizer, prepared, 1, update, Alone())
    assert first.metrics.ratio_gap == 0
    assert second.metrics.ratio_gap > 1e-3


def test_a_step_raises_what_is_rewarded() -> None:
    """And with the advantages' sign turned, lowers it."""
    traces = traces_of(policy())
    for sign in (1, -1):
        batch = replace(batch_of(traces), advantage_B=sign * torch.eye(7)[2])
        model = policy()
        update = Update(Count(16), PLAIN, iterations=1, grad_norm=1.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = prepare(model, batch, replace(update, iterations=2), Alone()).iterations[1].old_N
        prepared = prepare(model, batch, update, Alone())
        iterate(model, optimizer, prepared, 0, update, Alone())
        after = prepare(model, batch, replace(update, iterations=2), Alone()).iterations[1]
        assert before is not None and after.old_N is not None
        rows = after.plan.weight_KBL.ne(0).transpose(0, 1).nonzero()[:, 0] == 2
        change = (after.old_N - before)[rows].sum()
        assert sign * change > 0.1


def test_gradients_are_clipped_before_the_step() -> None:
    """A step of plain SGD at rate 1 is as long as the norm that is allowed."""
    model, update = policy(), Update(Count(), PLAIN, iterations=1, grad_norm=0.01)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    prepared = prepare(model, batch_of(traces_of(policy())), update, Alone())
    found = iterate(model, optimizer, prepared, 0, update, Alone())
    moved = [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]
    assert found.grad_norm > 0.02
    assert float(torch.stack([m.norm() for m in moved]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_no_advantage_no_gradient() -> None:
    batch = replace(batch_of(traces_of(policy())), advantage_B=torch.zeros(7))
    found, gradient = stepped(Update(Coupled(), PLAIN), batch)
    assert found.loss == 0 and all((g == 0).all() for g in gradient)


def test_the_gradient_is_the_plain_policy_gradient() -> None:
    """Against autograd through -mean of A times the estimate over length, row by row."""
    traces = traces_of(policy())
    batch = batch_of(traces)
    _, gradient = stepped(Update(Coupled("unbiased"), PLAIN, rows=3), batch)
    model = policy()
    canvas, scored_BL = complete(traces, (END,), seed=5, fill=MASK)
    made = plan(Coupled("unbiased"), canvas, scored_BL, iteration=0, seed=5)
    each = score(model, canvas, made).estimate_B(7) / scored_BL.sum(1)
    loss = -(batch.advantage_B * each).mean()
    parameters = list(model.parameters())
    wanted = torch.autograd.grad(loss, parameters, allow_unused=True)
    for one, other in zip(gradient, [w for w in wanted if w is not None], strict=True):
        assert torch.allclose(one, other.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("estimator", [Sandwich(), Sandwich("normalised", mix=1.0)], ids=str)
def test_a_sandwich_has_the_gradient_of_its_bounds(estimator: Sandwich) -> None:
    """Against autograd through the estimate by the sign of A, which is no weighted sum."""
    traces = traces_of(policy())
    batch = batch_of(traces)
    assert {-1, 1} <= set(batch.advantage_B.sign().tolist())
    canvas, scored_BL = complete(traces, (END,), seed=5, fill=MASK)

    def wanted(model: TransformerDenoiser, *, pushed: Tensor) -> list[Tensor]:
        made = plan(estimator, canvas, scored_BL, iteration=0, seed=5)
        found = score(model, canvas, made)
        each = sandwiched(estimator, made, found.targets, found.logprob_N, pushed)
        loss = -(batch.advantage_B * each / scored_BL.sum(1)).mean()
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [g.float() for g in gradients if g is not None]

    _, gradient = stepped(Update(estimator, PLAIN, rows=3), batch)
    for one, other in zip(gradient, wanted(policy(), pushed=batch.advantage_B), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    other_sign = wanted(policy(), pushed=-batch.advantage_B)
    apart = [(g - o).norm() for g, o in zip(gradient, other_sign, strict=True)]
    assert torch.stack(apart).norm() > 0.02 * torch.stack([g.norm() for g in gradient]).norm()


def test_the_weights_of_a_sandwich_are_those_of_the_old_policy() -> None:
    """In the second iteration: a trained policy that is far off changes the ratios, not the weights."""
    batch, estimator = batch_of(traces_of(policy())), Sandwich("normalised", mix=1.0)
    update = Update(estimator, Cispo(cap=1.0), rows=3)
    old, moved, sync = policy(), policy(seed=4), Kept()
    prepared = prepare(old, batch, update, sync)
    at_old = sandwich_gradient(estimator, batch, prepared, old, moved)
    optimizer = torch.optim.SGD(moved.parameters(), lr=0.0)
    iterate(moved, optimizer, prepared, 1, update, sync)
    for one, other in zip(sync.gradient, at_old, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


def sandwich_gradient(
    estimator: Sandwich,
    batch: Batch,
    prepared: Prepared,
    old: TransformerDenoiser,
    moved: TransformerDenoiser,
) -> list[Tensor]:
    """Of CISPO's loss of a second iteration at ``moved``, weighed by the bound's slope at ``old``."""
    made, canvas = prepared.iterations[1].plan, prepared.rows.canvas
    new, before = score(moved, canvas, made), score(old, canvas, made)
    old_N = before.logprob_N.detach().requires_grad_()
    each = sandwiched(estimator, made, new.targets, old_N, batch.advantage_B)
    [slope_N] = torch.autograd.grad(each.sum(), old_N)
    gain_N = (new.logprob_N.detach() - old_N.detach()).exp().clamp(max=1) * new.logprob_N
    advantage_N = batch.advantage_B[new.targets.row_N]
    loss = -(slope_N * advantage_N * gain_N).sum() / made.denom_B.sum()
    gradients = torch.autograd.grad(loss, list(moved.parameters()), allow_unused=True)
    return [g for g in gradients if g is not None]


@pytest.mark.parametrize("scored_as", ["model", "behaviour"])
def test_the_trace_estimator_and_what_tokens_were_drawn_from(scored_as: Any) -> None:
    """Under the behaviour the old log-probabilities are the recorded ones."""
    traces = traces_of(policy())
    update = Update(Traced(), PLAIN, tail="shown", scored_as=scored_as)
    prepared = prepare(policy(), batch_of(traces), update, Alone())
    old_N = prepared.iterations[1].old_N
    assert old_N is not None
    column = "behaviour_logprob" if scored_as == "behaviour" else "raw_logprob"
    row_N, _, col_N = prepared.iterations[1].plan.weight_KBL.transpose(0, 1).nonzero().T
    wanted = [getattr(traces[b], column)[i] for b, i in zip(row_N, col_N, strict=True)]
    assert torch.allclose(old_N, torch.tensor(wanted), atol=2e-5)
    stepped(update, batch_of(traces))


def test_importance_weights_reach_the_loss() -> None:
    traces = traces_of(policy())
    plain, _ = stepped(Update(Count(), PLAIN), batch_of(traces))
    hotter = tuple(
        replace(trace, behaviour_logprob=trace.raw_logprob + 0.5) for trace in traces
    )  # drawn with e^0.5 times the model's own probability
    for level in ("token", "geometric"):
        corrected, _ = stepped(Update(Count(), PLAIN, correction=level), batch_of(hotter))  # type: ignore[arg-type]
        assert corrected.loss == pytest.approx(plain.loss * 0.60653, rel=1e-4)
    update = Update(Count(), Bgpo(), correction="geometric")
    of_rows = [stepped(u, batch_of(hotter))[0].loss for u in (update, Update(Count(), Bgpo()))]
    assert of_rows[0] == pytest.approx(of_rows[1] * 0.60653, rel=1e-4)


def test_an_autoregressive_policy_takes_the_same_path() -> None:
    traces = traces_of(policy(causal=True))
    update = Update(Autoregressive(), PLAIN, rows=3)
    found, gradient = stepped(update, batch_of(traces), causal=True)
    assert found.metrics.ratio_gap == 0 and any(g.abs().sum() > 0 for g in gradient)
    assert found.passes == len(traces)


def test_a_step_leaves_global_generators_alone() -> None:
    batch = batch_of(traces_of(policy()))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    stepped(Update(), batch, reference=policy(seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_copied_policy_repeats_a_step_bitwise() -> None:
    batch, update = batch_of(traces_of(policy())), Update(rows=3)
    models = [policy(), copy.deepcopy(policy())]
    for model in models:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        prepared = prepare(model, batch, update, Alone(), policy(seed=1))
        for index in (0, 1):
            iterate(model, optimizer, prepared, index, update, Alone())
    for one, other in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="tail 'hidden' with the estimator trace"):
        Update(Traced(), PLAIN)
    with pytest.raises(ConfigError, match="tail 'shown' with the estimator coupled"):
        Update(tail="shown")
    with pytest.raises(ConfigError, match="nothing to correct"):
        Update(scored_as="behaviour", correction="token")
    with pytest.raises(ConfigError, match="ratios are of more than"):
        Update(objective=Bgpo(), correction="token")
    for whole in (Gspo(), Bgpo(), Bnpo(weight_in_ratio=True)):
        with pytest.raises(ConfigError, match=f"sandwich with the objective {whole.kind}"):
            Update(Sandwich(), whole)
    with pytest.raises(ConfigError, match="iterations 0"):
        Update(iterations=0)
    with pytest.raises(ConfigError, match="grad_norm"):
        Update(grad_norm=0)
    with pytest.raises(ConfigError, match="7 traces and advantages"):
        replace(batch_of(traces_of(policy())), advantage_B=torch.zeros(3))
