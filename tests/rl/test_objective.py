"""Objectives: the plain policy gradient where nothing has moved, their formulas where it has, and sums
that do not know how an update was cut up."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffucode.errors import PlanError
from diffucode.rl.advantage import entropy_signal
from diffucode.rl.objective import (
    Bgpo,
    Bnpo,
    Cispo,
    Dapo,
    DrGrpo,
    Grpo,
    Gspo,
    Scored,
    Totals,
    adaptive_clip,
    kl_estimate,
    policy_loss,
    truncated_weights,
)
from diffucode.sampling.temperature import HapoStats

VIEWS = 3
PUBLISHED = Bnpo(eps_low=0.5, eps_high=0.5, beta=0.01, weight_in_ratio=True)
ESPO = Gspo(canvas=12, eps_low=0.2, eps_high=0.2, beta=0.01)
EVERY = [
    Grpo(beta=0.04),
    Grpo(beta=0.04, weight_in_ratio=True),
    Bnpo(kl="k1", beta=0.1),
    PUBLISHED,
    DrGrpo(length=16, delta=1.5),
    Dapo(kl="k2", beta=0.1),
    Cispo(cap=1.2, beta=0.01),
    Gspo(beta=0.1),
    ESPO,
    Bgpo(beta=0.05),
]
every = pytest.mark.parametrize("objective", EVERY, ids=str)


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def example(seed=0, rows=6, moved=0.5, correction=False):
    """Completions of unequal lengths, three views that hide random parts, and policies that differ.

    The columns start at an offset, some tokens are in no view, one completion is in no view at all.
    """
    generator = torch.Generator().manual_seed(seed)
    length_B = torch.randint(2, 12, (rows,), generator=generator)
    places = [
        (b, j, 4 + c) for b in range(rows) for j in range(VIEWS) for c in range(int(length_B[b]))
    ]
    row_N, view_N, col_N = torch.tensor(places).T
    keep = (torch.rand(len(places), generator=generator) < 0.6) & (row_N != 3)
    row_N, view_N, col_N = row_N[keep], view_N[keep], col_N[keep]

    def noise(scale):
        return scale * torch.randn(len(row_N), generator=generator, dtype=torch.float64)

    old_N = -noise(1).abs()
    weight_N = 0.2 + 3 * torch.rand(len(row_N), generator=generator, dtype=torch.float64)
    scored = Scored(
        row_N=row_N,
        col_N=col_N,
        view_N=view_N,
        weight_N=weight_N / VIEWS,
        new_N=(old_N + noise(moved)).requires_grad_(),
        old_N=old_N,
        length_B=length_B,
        views=VIEWS,
        ref_N=old_N + noise(moved),
        entropy_N=noise(1).abs(),
        correction_N=torch.rand(rows, 20, generator=generator).double()[row_N, col_N]
        if correction
        else None,
    )
    return scored, torch.randn(rows, generator=generator, dtype=torch.float64)


def on_policy(scored):
    return replace(scored, old_N=scored.new_N.detach(), ref_N=scored.new_N.detach())


def loss_and_gradient(objective, scored, advantage_B, totals=None):
    found = policy_loss(objective, scored, advantage_B, totals or Totals.of(scored.length_B))
    (gradient_N,) = torch.autograd.grad(found.loss, scored.new_N)
    return found.loss.detach(), gradient_N, found.metrics


def means_over(objective, length_B):
    """What a target's weight is divided by, by kind."""
    rows, tokens = len(length_B), int(length_B.sum())
    match objective.kind:
        case "grpo" | "bgpo":
            return length_B.double() * rows
        case "dr_grpo":
            return torch.full((rows,), 16.0 * rows, dtype=torch.float64)
        case "gspo":
            own = length_B.double()
            return (own if objective.canvas is None else torch.full_like(own, 12)) * rows
        case _:
            return torch.full((rows,), tokens, dtype=torch.float64)


# On policy


@every
def test_on_policy_ratios_are_one_and_nothing_is_clipped(objective):
    scored, advantage_B = example()
    metrics = policy_loss(
        objective, on_policy(scored), advantage_B, Totals.of(scored.length_B)
    ).metrics
    assert metrics.units > 0
    assert metrics.ratio == metrics.units
    assert metrics.ratio_gap == metrics.clipped_low == metrics.clipped_high == metrics.kl == 0


@every
def test_on_policy_gradient_is_that_of_the_weighted_score(objective):
    scored, advantage_B = example()
    _, found_N, _ = loss_and_gradient(objective, on_policy(scored), advantage_B)
    over_B = means_over(objective, scored.length_B)
    want_N = -(advantage_B / over_B)[scored.row_N] * scored.weight_N
    # k1 is the one estimator whose gradient does not vanish at new = ref: beta for each unit of score.
    if objective.kl == "k1":
        want_N += objective.beta * scored.weight_N / over_B[scored.row_N]
    torch.testing.assert_close(found_N, want_N, rtol=1e-12, atol=1e-15)


@every
def test_a_step_down_the_gradient_raises_what_was_good_and_lowers_what_was_bad(objective):
    scored, _ = example()
    if objective.kl == "k1":
        objective = replace(objective, beta=0.0)
    for sign in (1.0, -1.0):
        advantage_B = torch.full((6,), sign, dtype=torch.float64)
        _, gradient_N, _ = loss_and_gradient(objective, on_policy(scored), advantage_B)
        assert (-gradient_N * sign > 0).all()


@every
def test_no_advantage_no_gradient(objective):
    scored, advantage_B = example()
    objective = replace(objective, beta=0.0)
    _, gradient_N, _ = loss_and_gradient(objective, scored, torch.zeros_like(advantage_B))
    assert gradient_N.abs().max() == 0


# Off policy, against loops


def reference(objective, scored, advantage_B, correction=False):
    """Loss, clipped low, clipped high and summed KL by loops over rows, tokens, views and targets."""
    row, col, view = (t.numpy() for t in (scored.row_N, scored.col_N, scored.view_N))
    weight, old, ref = (t.numpy() for t in (scored.weight_N, scored.old_N, scored.ref_N))
    new, length = scored.new_N.detach().numpy(), scored.length_B.numpy()
    kl_of = {
        "k1": lambda d: -d,
        "k2": lambda d: d * d / 2,
        "k3": lambda d: math.exp(d) - d - 1,
    }[objective.kl]
    rows, tokens = len(length), length.sum()
    loss, low, high, kls = 0.0, 0, 0, 0.0
    for b in range(rows):
        a, mine = float(advantage_B[b]), row == b
        if objective.kind == "gspo":
            units, span = [mine], objective.canvas or length[b]
            share = 1 / rows
        elif objective.kind == "bgpo":
            units, span = [mine & (view == j) for j in range(VIEWS)], length[b]
            share = 1 / rows / VIEWS
        elif getattr(objective, "weight_in_ratio", False):
            units, span = [mine & (col == c) for c in range(20)], 1
            share = {"grpo": 1 / rows / length[b], "bnpo": 1 / tokens}[objective.kind]
        else:
            units, span = [np.arange(len(row)) == n for n in np.flatnonzero(mine)], 1
            share = {
                "grpo": 1 / rows / length[b],
                "dr_grpo": 1 / rows / 16,
            }.get(objective.kind, 1 / tokens)
        for unit in units:
            if not unit.any():
                continue
            w, factor = weight[unit], VIEWS if objective.kind == "bgpo" else 1
            outside = 1.0
            if span == 1 and not getattr(objective, "weight_in_ratio", False):
                outside, w = float(w[0]), np.ones(1)
            d = factor * (w * (new - old)[unit]).sum() / span
            kl = kl_of(factor * (w * (ref - new)[unit]).sum()) / span
            r = math.exp(d)
            if objective.kind == "bgpo":
                gain = a * (1 + d) if a >= 0 else a * r
            elif objective.kind == "cispo":
                gain = min(r, objective.cap) * a * float(new[unit][0])
                high += r > objective.cap
            else:
                down, up = 1 - objective.eps_low, 1 + objective.eps_high
                delta = getattr(objective, "delta", None) or math.inf
                gain = min(min(r, delta) * a, min(max(r, down), up) * a)
                low += r < down and a < 0
                high += (r > up and a > 0) or (r > delta and a < 0)
            if correction:
                gain *= float(scored.correction_N.numpy()[unit][0])
            loss -= share * outside * (gain - objective.beta * kl)
            kls += outside * kl / (VIEWS if objective.kind == "bgpo" else 1)
    return loss, low, high, kls


@every
@pytest.mark.parametrize("seed", range(3))
def test_off_policy_values_are_those_of_the_formulas(objective, seed):
    scored, advantage_B = example(seed, rows=10, moved=0.8)
    found, _, metrics = loss_and_gradient(objective, scored, advantage_B)
    loss, low, high, kl = reference(objective, scored, advantage_B)
    assert float(found) == pytest.approx(loss, rel=1e-10)
    assert (int(metrics.clipped_low), int(metrics.clipped_high)) == (low, high)
    assert float(metrics.kl) == pytest.approx(kl, rel=1e-10)
    if isinstance(objective, Grpo | Bnpo | DrGrpo | Dapo):
        assert low > 0 and high > 0


@every
def test_corrections_multiply_the_policy_term_alone(objective):
    scored, advantage_B = example(correction=True)
    if isinstance(objective, Gspo | Bgpo):
        with pytest.raises(PlanError, match="multiply the advantages"):
            policy_loss(objective, scored, advantage_B, Totals.of(scored.length_B))
        return
    found, *_ = loss_and_gradient(objective, scored, advantage_B)
    want, *_ = reference(objective, scored, advantage_B, correction=True)
    assert float(found) == pytest.approx(want, rel=1e-10)


def one_target(change, **columns):
    """One completion of one token, whose log-probability changed by this."""
    zero = torch.zeros(1, dtype=torch.int64)
    return Scored(
        row_N=zero,
        col_N=zero,
        view_N=zero,
        weight_N=doubles(1),
        new_N=doubles(change).requires_grad_(),
        old_N=doubles(0),
        length_B=torch.ones(1, dtype=torch.int64),
        views=1,
        **columns,
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "passes", "side"),
    [
        (1.25, 1, True, None),  # above 0.2, within 0.28
        (1.29, 1, False, "clipped_high"),
        (1.29, -1, True, None),  # too likely and bad: goes on falling
        (0.79, 1, True, None),  # too unlikely and good: goes on rising
        (0.79, -1, False, "clipped_low"),
        (0.81, -1, True, None),
    ],
)
def test_the_clip_takes_the_gradient_only_of_what_moved_far_enough(ratio, advantage, passes, side):
    scored = one_target(math.log(ratio))
    _, gradient_N, metrics = loss_and_gradient(Dapo(), scored, doubles(advantage))
    assert float(gradient_N) == pytest.approx(-advantage * ratio if passes else 0, abs=1e-12)
    for name in ("clipped_low", "clipped_high"):
        assert getattr(metrics, name) == (name == side)


def test_delta_caps_what_the_clip_leaves_open():
    scored = one_target(math.log(12.0))
    open_loss, open_N, _ = loss_and_gradient(Grpo(), scored, doubles(-1))
    loss, gradient_N, metrics = loss_and_gradient(Grpo(delta=10.0), scored, doubles(-1))
    assert (float(open_loss), float(open_N)) == pytest.approx((12, 12))
    assert (float(loss), float(gradient_N)) == pytest.approx((10, 0))
    assert metrics.clipped_high == 1


def test_cispo_keeps_the_gradient_of_every_token():
    loss, gradient_N, _ = loss_and_gradient(Cispo(cap=2.0), one_target(math.log(8.0)), doubles(3))
    assert float(gradient_N) == pytest.approx(-2 * 3)
    assert float(loss) == pytest.approx(-2 * 3 * math.log(8.0))


def test_weights_inside_the_ratio_amplify_its_exponent_and_outside_they_do_not():
    weights = doubles(0.5, 2.5)  # DiffuCoder at t = 0.2: half the full mask, half of 1 / t
    zero = torch.zeros(2, dtype=torch.int64)
    scored = replace(
        one_target(0.0),
        row_N=zero,
        col_N=zero,
        view_N=torch.tensor([0, 1]),
        weight_N=weights,
        new_N=doubles(0.1, 0.1).requires_grad_(),
        old_N=doubles(0, 0),
        views=2,
    )
    inside = policy_loss(replace(PUBLISHED, beta=0.0), scored, doubles(1), Totals(1, 1))
    assert float(inside.metrics.ratio) == pytest.approx(math.exp(0.3))
    outside = policy_loss(Bnpo(), scored, doubles(1), Totals(1, 1))
    assert float(outside.metrics.ratio_gap) == pytest.approx(math.exp(0.1) - 1)
    assert float(outside.loss.detach()) == pytest.approx(-3 * math.exp(0.1))


# BGPO


def views_seen(scored):
    """The share of each completion's views that hide something of it."""
    there_BK = torch.zeros(len(scored.length_B), VIEWS, dtype=torch.float64)
    there_BK[scored.row_N, scored.view_N] = 1
    return there_BK.mean(1)


def test_bgpo_bounds_the_ratio_of_the_completion_from_below():
    for seed in range(5):
        scored, advantage_B = example(seed, moved=2.0)
        loss = policy_loss(Bgpo(), scored, advantage_B, Totals.of(scored.length_B)).loss
        change_N = scored.weight_N * (scored.new_N - scored.old_N).detach()
        change_B = torch.zeros(6, dtype=torch.float64).index_add(0, scored.row_N, change_N)
        exact = (advantage_B * (change_B / scored.length_B).exp()).mean()
        constant = (advantage_B * (1 - views_seen(scored))).mean()  # of views without targets
        assert constant - loss < exact


def test_bgpo_equals_the_elbo_objective_on_policy_in_value_and_gradient():
    scored, advantage_B = example()
    loss, gradient_N, _ = loss_and_gradient(Bgpo(), on_policy(scored), advantage_B)
    estimate_B = torch.zeros(6, dtype=torch.float64).index_add(
        0, scored.row_N, scored.weight_N * scored.new_N
    )
    ratio_B = ((estimate_B - estimate_B.detach()) / scored.length_B).exp()
    (want_N,) = torch.autograd.grad(-(advantage_B * ratio_B).mean(), scored.new_N)
    want = -(advantage_B * views_seen(scored)).mean()
    assert float(loss) == pytest.approx(float(want), rel=1e-12)
    torch.testing.assert_close(gradient_N, want_N, rtol=1e-12, atol=1e-15)


def test_bgpo_takes_no_logarithm_of_what_may_be_negative():
    scored = one_target(-30.0)
    for advantage in (1.0, -1.0):
        loss, gradient_N, _ = loss_and_gradient(Bgpo(), scored, doubles(advantage))
        assert loss.isfinite() and gradient_N.isfinite().all()
    loss, gradient_N, _ = loss_and_gradient(Bgpo(), scored, doubles(1.0))
    assert (float(loss), float(gradient_N)) == (29, -1)


# Cutting up an update


def part(scored, rows=None, views=None):
    """Some rows, renumbered, and some views."""
    rows = torch.arange(len(scored.length_B)) if rows is None else rows
    number = torch.full((len(scored.length_B),), -1)
    number[rows] = torch.arange(len(rows))
    mine = number[scored.row_N] >= 0
    if views is not None:
        mine &= torch.isin(scored.view_N, torch.tensor(views))
    columns = {
        name: None if value is None else value[mine]
        for name, value in vars(scored).items()
        if name.endswith("_N")
    }
    columns["row_N"] = number[scored.row_N][mine]
    return Scored(length_B=scored.length_B[rows], views=scored.views, **columns)


def summed(objective, parts, advantages, totals, new_N):
    losses = [policy_loss(objective, p, a, totals) for p, a in zip(parts, advantages, strict=True)]
    loss = sum(found.loss for found in losses)
    (gradient_N,) = torch.autograd.grad(loss, new_N)
    metrics = losses[0].metrics
    for found in losses[1:]:
        metrics = metrics + found.metrics
    return loss.detach(), gradient_N, metrics


def assert_the_same(found, want):
    torch.testing.assert_close(found[0], want[0], rtol=1e-10, atol=0)
    torch.testing.assert_close(found[1], want[1], rtol=1e-10, atol=1e-15)
    for name, value in vars(want[2]).items():
        torch.testing.assert_close(getattr(found[2], name), value, rtol=1e-10, atol=0)


@every
@pytest.mark.parametrize("seed", range(4))
def test_losses_of_micro_batches_and_ranks_add_up(objective, seed):
    scored, advantage_B = example(seed, rows=8)
    want = loss_and_gradient(objective, scored, advantage_B)
    generator = torch.Generator().manual_seed(seed)
    cuts = torch.randperm(7, generator=generator)[: seed + 1].sort().values + 1
    chosen = torch.randperm(8, generator=generator).tensor_split(cuts)
    parts = [part(scored, rows) for rows in chosen]
    totals = sum((Totals.of(p.length_B) for p in parts), Totals(0, 0))
    assert totals == Totals.of(scored.length_B)
    advantages = [advantage_B[rows] for rows in chosen]
    assert_the_same(summed(objective, parts, advantages, totals, scored.new_N), want)


@pytest.mark.parametrize("objective", [Bgpo(beta=0.05), Grpo(beta=0.04), Cispo()], ids=str)
def test_views_can_be_back_propagated_alone(objective):
    scored, advantage_B = example()
    want = loss_and_gradient(objective, scored, advantage_B)
    parts = [part(scored, views=[j]) for j in range(VIEWS)]
    totals = Totals.of(scored.length_B)
    assert_the_same(summed(objective, parts, [advantage_B] * VIEWS, totals, scored.new_N), want)


@every
def test_order_of_rows_and_of_targets_does_not_matter(objective):
    scored, advantage_B = example()
    loss, gradient_N, metrics = loss_and_gradient(objective, scored, advantage_B)
    rows = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    turned = part(scored, rows)
    found = policy_loss(objective, turned, advantage_B[rows], Totals.of(turned.length_B))
    (found_N,) = torch.autograd.grad(found.loss, scored.new_N)
    assert_the_same((found.loss.detach(), found_N, found.metrics), (loss, gradient_N, metrics))
    order = torch.randperm(len(scored.row_N), generator=torch.Generator().manual_seed(2))
    columns = {n: v[order] for n, v in vars(scored).items() if n.endswith("_N") and v is not None}
    found = policy_loss(
        objective, replace(scored, **columns), advantage_B, Totals.of(scored.length_B)
    )
    (found_N,) = torch.autograd.grad(found.loss, scored.new_N)
    assert_the_same((found.loss.detach(), found_N, found.metrics), (loss, gradient_N, metrics))


@every
def test_a_batch_without_targets_is_a_connected_zero(objective):
    scored, advantage_B = example()
    empty = part(scored, torch.tensor([3]))
    found = policy_loss(objective, empty, advantage_B[3:4], Totals.of(scored.length_B))
    (gradient_N,) = torch.autograd.grad(found.loss, scored.new_N)
    assert found.loss == 0 and gradient_N.abs().max() == 0
    assert found.metrics.units == found.metrics.ratio_gap == 0


def test_an_empty_completion_breaks_no_mean():
    scored, advantage_B = example()
    length_B = scored.length_B.clone()
    length_B[3] = 0
    for objective in EVERY:
        loss, gradient_N, _ = loss_and_gradient(
            objective, replace(scored, length_B=length_B), advantage_B
        )
        assert loss.isfinite() and gradient_N.isfinite().all()


# KL


def test_kl_estimators_on_two_distributions():
    new, ref = doubles(0.5, 0.3, 0.2), doubles(0.2, 0.2, 0.6)
    gap = ref.log() - new.log()
    exact = float((new * (new / ref).log()).sum())
    assert float((new * kl_estimate(gap, "k1")).sum()) == pytest.approx(exact, abs=1e-14)
    assert float((new * kl_estimate(gap, "k3")).sum()) == pytest.approx(exact, abs=1e-14)
    assert float((new * kl_estimate(gap, "k2")).sum()) != pytest.approx(exact, abs=1e-3)
    assert (kl_estimate(gap, "k3") > 0).all() and (kl_estimate(gap, "k2") > 0).all()
    assert (kl_estimate(gap, "k1") < 0).any()


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradients_of_kl_estimators(estimator):
    """On samples of new: k1 has none, k2 that of KL(new || ref), k3 that of KL(ref || new)."""
    scores, ref = doubles(0.3, -0.2, 0.9).requires_grad_(), doubles(0.2, 0.2, 0.6)
    log_new = scores.log_softmax(0)
    gap = ref.log() - log_new
    want = {"k1": 0 * log_new, "k2": log_new.exp() * -gap, "k3": ref * gap}[estimator]
    (want,) = torch.autograd.grad(want.sum(), scores, retain_graph=True)
    found = log_new.exp().detach() * kl_estimate(gap, estimator)
    (found,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_estimators_are_finite_and_zero_at_zero(estimator, dtype):
    gap = torch.tensor([50.0, -50.0, 1000.0, -1000.0, 0.0], dtype=dtype, requires_grad=True)
    value = kl_estimate(gap, estimator)
    (gradient,) = torch.autograd.grad(value.sum(), gap)
    assert value.isfinite().all() and gradient.isfinite().all()
    assert value[4] == 0
    if estimator == "k3":
        assert float(value[0].detach()) == pytest.approx(math.exp(50) - 51, rel=1e-5)
        assert float(gradient[0]) == pytest.approx(math.exp(50) - 1, rel=1e-5)


@every
@pytest.mark.parametrize("change", [50.0, -50.0, 400.0, -400.0])
def test_losses_are_finite_for_broken_samples(objective, change):
    objective = replace(objective, beta=0.1)
    for advantage in (1.0, -1.0):
        scored = replace(one_target(change), ref_N=doubles(-change))
        single = {
            name: value.float()
            for name, value in vars(scored).items()
            if name in ("weight_N", "old_N", "ref_N")
        }
        scored = replace(scored, new_N=scored.new_N.detach().float().requires_grad_(), **single)
        loss, gradient_N, metrics = loss_and_gradient(objective, scored, torch.tensor([advantage]))
        assert loss.isfinite() and gradient_N.isfinite().all()
        assert math.isfinite(metrics.means()["kl"])


def test_mean_kl_is_the_mean_over_tokens():
    """The published metric broadcast [B, 1, L] with [B, L]: a [B, B, L] whose mean is another number."""
    generator = torch.Generator().manual_seed(0)
    new_BL, ref_BL = (torch.randn(4, 7, generator=generator).double() for _ in range(2))
    row_N = torch.arange(4).repeat_interleave(7)
    col_N = torch.arange(7).repeat(4)
    scored = Scored(
        row_N=row_N,
        col_N=col_N,
        view_N=torch.zeros_like(row_N),
        weight_N=torch.ones(28, dtype=torch.float64),
        new_N=new_BL.flatten().requires_grad_(),
        old_N=new_BL.flatten(),
        length_B=torch.full((4,), 7),
        views=1,
        ref_N=ref_BL.flatten(),
        entropy_N=new_BL.flatten().abs(),
    )
    gap_BL = ref_BL - new_BL
    want = float((gap_BL.exp() - gap_BL - 1).mean())
    for objective in (Grpo(), Bnpo(weight_in_ratio=True)):
        found = policy_loss(objective, scored, torch.ones(4), Totals.of(scored.length_B))
        assert found.metrics.means()["kl"] == pytest.approx(want, rel=1e-12)
        assert found.metrics.means()["entropy"] == pytest.approx(float(new_BL.abs().mean()))
        assert found.metrics.units == found.metrics.targets == 28
        assert all(value.shape == () for value in vars(found.metrics).values())


def test_metrics_say_what_was_not_measured():
    metrics = policy_loss(Grpo(), one_target(0.1), doubles(1), Totals(1, 1)).metrics
    assert math.isnan(metrics.means()["kl"]) and math.isnan(metrics.means()["entropy"])
    assert metrics.means()["ratio"] == pytest.approx(math.exp(0.1))


# HAPO


def test_adaptive_clip_worked_numbers():
    low_N, high_N = adaptive_clip(doubles(0.5, -0.5, -1, 1), 0.2, 0.28)
    assert (1 - low_N).tolist() == pytest.approx([0.8, 0.7, 0.6, 0.8], abs=1e-12)
    assert (1 + high_N).tolist() == pytest.approx([1.42, 1.28, 1.28, 1.56], abs=1e-12)
    low_N, high_N = adaptive_clip(doubles(0.5, -0.5), 0.2, 0.28, 0.0)
    assert low_N.tolist() + high_N.tolist() == [0.2, 0.2, 0.28, 0.28]


@pytest.mark.parametrize(
    ("signal", "ratio", "advantage", "want"),
    [
        (0.5, 1.2, 1.0, -1.5 * 1.2),
        (-0.5, 1.0, 1.0, -0.5),
        (-0.5, 0.7, 1.0, -0.7),
        (1.0, 1.3, -1.0, 2 * 1.3),
        (1.0, 1.5, 1.0, -2 * 1.5),  # beyond 1.28, within 1.56
        (1.0, 1.7, 1.0, -2 * 1.56),
        (-1.0, 0.65, -1.0, 0.65),  # below 0.8, within 0.6
        (-1.0, 0.5, -1.0, 0.6),
    ],
)
def test_hapo_inside_the_loss(signal, ratio, advantage, want):
    objective = Dapo(adapt=1.0, redistribute=1.0)
    scored = one_target(math.log(ratio), signal_N=doubles(signal))
    loss, *_ = loss_and_gradient(objective, scored, doubles(advantage))
    assert float(loss) == pytest.approx(want, rel=1e-12)


def test_hapo_gates_and_bounds_carry_no_gradient():
    stats = HapoStats(q=0.0, sigma=1.0, h_max=1.0, h_min=-1.0)
    scored, advantage_B = example()
    scored = replace(scored, signal_N=entropy_signal(scored.entropy_N, stats))
    ratio_N = (scored.new_N - scored.old_N).exp().detach()
    _, gradient_N, _ = loss_and_gradient(
        Dapo(adapt=1.0, redistribute=1.0, beta=0.0), scored, advantage_B
    )
    for n in range(len(ratio_N)):
        h, r, a = float(scored.signal_N[n]), float(ratio_N[n]), float(advantage_B[scored.row_N[n]])
        if (h > 0) != (0.9 <= r <= 1.14):
            a *= 1 + h
        low, high = 1 - 0.2 * (1 + max(-h, 0)), 1 + 0.28 * (1 + max(h, 0))
        stopped = (r > high and a > 0) or (r < low and a < 0)
        want = 0 if stopped else -a * r * float(scored.weight_N[n]) / int(scored.length_B.sum())
        assert float(gradient_N[n]) == pytest.approx(want, rel=1e-10, abs=1e-15)


# Tokens that another distribution drew


def test_truncated_weights_by_level():
    nan = math.nan
    raw_BL = torch.tensor([[-1.0, -2, nan, -0.5], [-3, -1, -1, nan]], dtype=torch.float64)
    behaviour_BL = torch.tensor([[-2.0, -1, nan, -0.5], [-1, -1, -0.5, nan]], dtype=torch.float64)
    scored_BL = torch.tensor([[True, True, False, True], [True, True, True, False]])
    token = truncated_weights(raw_BL, behaviour_BL, scored_BL)
    e = math.e
    assert token.weight_BL.tolist() == [
        pytest.approx([2, 1 / e, 0, 1]),
        pytest.approx([e**-2, 1, e**-0.5, 0]),
    ]
    assert token.capped_BL.tolist() == [[True, False, False, False], [False] * 4]
    sequence = truncated_weights(raw_BL, behaviour_BL, scored_BL, "sequence")
    assert sequence.weight_BL.tolist() == [
        pytest.approx([1, 1, 0, 1]),
        pytest.approx([e**-2.5] * 3 + [0]),
    ]
    geometric = truncated_weights(raw_BL, behaviour_BL, scored_BL, "geometric")
    assert geometric.weight_BL.tolist() == [
        pytest.approx([1, 1, 0, 1]),
        pytest.approx([e ** (-2.5 / 3)] * 3 + [0]),
    ]
    assert truncated_weights(raw_BL, behaviour_BL, scored_BL, cap=5).weight_BL[0, 0] == e


def test_truncated_weights_carry_no_gradient_and_equal_policies_weigh_one():
    raw_BL = torch.randn(2, 3, requires_grad=True)
    for level in ("token", "sequence", "geometric"):
        found = truncated_weights(raw_BL, raw_BL, torch.ones(2, 3, dtype=torch.bool), level)
        assert (found.weight_BL == 1).all() and not found.weight_BL.requires_grad
        assert found.weight_BL.dtype == torch.float32 and not found.capped_BL.any()


def test_a_sequence_weight_is_an_advantage():
    """Multiplied into the advantage or given by token, a weight of the row is the same loss."""
    scored, advantage_B = example()
    weight_B = doubles(0.5, 2.0, 1.0, 1.5, 0.1, 0.7)
    by_token = replace(scored, correction_N=weight_B[scored.row_N])
    for objective in (Dapo(kl="k2", beta=0.1), Cispo(), PUBLISHED):
        want = loss_and_gradient(objective, by_token, advantage_B)
        found = loss_and_gradient(objective, scored, advantage_B * weight_B)
        assert_the_same(found[:2] + want[2:], want)


# Refusals


def refused(objective=None, scored=None, advantage_B=None, totals=None):
    return lambda: policy_loss(
        objective or Grpo(),
        scored or one_target(0.0),
        doubles(1) if advantage_B is None else advantage_B,
        totals or Totals(1, 1),
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grpo(eps_low=-0.1), "Grpo.eps_low is -0.1"),
        (lambda: Dapo(eps_high=math.nan), "Dapo.eps_high is nan"),
        (lambda: Grpo(delta=1.1), "Grpo.delta is 1.1"),
        (lambda: Bnpo(beta=-1), "Bnpo.beta is -1"),
        (lambda: Bnpo(kl="k4"), "expected one of k1, k2, k3"),
        (lambda: Dapo(adapt=2.0), "Dapo.adapt is 2.0"),
        (lambda: Dapo(redistribute=-1.0), "Dapo.redistribute is -1.0"),
        (lambda: Dapo(adapt=1.0, weight_in_ratio=True), "choose either"),
        (lambda: DrGrpo(length=0), "DrGrpo.length is 0"),
        (lambda: Cispo(cap=0.5), "Cispo.cap is 0.5"),
        (lambda: Gspo(eps_high=-1.0), "Gspo.eps_high is -1"),
        (lambda: Gspo(canvas=0), "Gspo.canvas is 0"),
        (refused(advantage_B=torch.ones(1, 1)), "advantage_B has shape"),
        (refused(totals=Totals(0, 1)), "totals of 0 completions"),
        (refused(Grpo(beta=0.1)), "there is no ref_N"),
        (refused(Grpo(adapt=1.0)), "need Scored.signal_N"),
        (lambda: one_target(0.0, ref_N=torch.zeros(1, 1, 1)), "Scored.ref_N has shape"),
        (lambda: one_target(0.0, ref_N=torch.zeros(2)), "as long as new_N"),
        (lambda: replace(one_target(0.0), length_B=torch.ones(1, 1)), "as long as the batch"),
        (
            lambda: truncated_weights(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 1)),
            "expected the same",
        ),
        (
            lambda: truncated_weights(
                torch.full((1, 2), math.nan), torch.ones(1, 2), torch.ones(1, 2).bool()
            ),
            "2 scored tokens have no recorded",
        ),
        (
            lambda: truncated_weights(*[torch.ones(1, 2).bool()] * 3, level="row"),
            "expected one of token",
        ),
        (lambda: truncated_weights(*[torch.ones(1, 2).bool()] * 3, cap=0), "cap is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PlanError, match=words):
        make()
