"""Constant, Linear, Cosine, Annealed: worked numbers, clocks, shapes, refusals."""

import math

import pytest
import torch
from seeing import taus, view

from diffucode.errors import PlanError
from diffucode.sampling.temperature import Annealed, Constant, Cosine, Linear

EAD = Annealed(tau_max=1.2, tau_min=0.1, clock="position", d=500, cutoff=10)


@pytest.mark.parametrize(
    ("value", "probabilities", "entropy"),
    [
        (0.5, [0.864955, 0.117059, 0.015842, 0.002144], 0.455429),
        (1.0, [0.643914, 0.236883, 0.087144, 0.032059], 0.947537),
        (2.0, [0.455054, 0.276004, 0.167405, 0.101536], 1.245050),
    ],
)
def test_constant_divides_the_logits(value, probabilities, entropy):
    tau = taus(Constant(value), view())[0]
    p = (torch.tensor([2.0, 1.0, 0.0, -1.0]) / tau).softmax(0)
    assert p.tolist() == pytest.approx(probabilities, abs=1e-6)
    assert -(p * p.log()).sum().item() == pytest.approx(entropy, abs=1e-6)


def test_linear_is_the_published_schedule_of_diffusion_gemma():
    steps = 48
    remaining = torch.tensor([48, 24, 1])
    got = taus(Linear(0.8, 0.4), view(3, progress=1 - remaining / steps))
    assert got == pytest.approx([0.8, 0.6, 0.408333], abs=1e-6)


@pytest.mark.parametrize("shape", [Linear, Cosine])
def test_clocks_read_their_own_column_and_stop_at_the_end(shape):
    def at(policy, **seen):
        return taus(policy, view(**seen))[0]

    busy = {"offset": 30, "step": 60, "progress": 0.9, "length": 120}
    quarter, half = at(shape(1, 0), progress=0.25), at(shape(1, 0), progress=0.5)
    assert half == pytest.approx(0.5)
    assert at(shape(1, 0, clock="position"), **busy) == pytest.approx(quarter)
    assert at(shape(1, 0, clock="step"), **busy) == pytest.approx(half)
    assert at(shape(1, 0, clock="position", length=60), **busy) == pytest.approx(half)
    assert at(shape(1, 0, clock="step", length=240), **busy) == pytest.approx(quarter)
    assert at(shape(1, 0.3, clock="step", length=7), **busy) == pytest.approx(0.3)


def test_cosine_is_level_at_both_ends():
    u = torch.tensor([0, 0.25, 0.5, 0.75, 1])
    want = [1.0, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5)), 0.2]
    assert taus(Cosine(1.0, 0.2), view(5, progress=u)) == pytest.approx(want, abs=1e-6)


def test_annealed_by_position():
    t = torch.tensor([0, 9, 10, 100, 300, 370, 371, 10**6])
    want = [1, 1, 1.179799, 0.978597, 0.377881, 0.104064, 0.1, 0.1]
    assert taus(EAD, view(8, offset=t)) == pytest.approx(want, abs=1e-6)
    assert EAD.decay(0) * math.log(2.1) == pytest.approx(370.968672, abs=1e-6)
    crosses = torch.tensor([91, 92])
    above, below = taus(EAD, view(2, offset=crosses))
    assert below < 1 < above


def test_annealed_from_the_released_parameters():
    assert Annealed.from_release(25) == Annealed(
        clock="position", d=500, cutoff=10, growth=100, d_max=800_000
    )
    assert Annealed.from_release(200).decay(0) * math.log(2.1) == pytest.approx(2967.749379)


def test_annealed_by_progress():
    u = torch.tensor([0, 0.25, 0.5, 0.75, 1])
    want = [1.2, 0.996199, 0.750862, 0.455526, 0.1]
    assert taus(Annealed(), view(5, progress=u)) == pytest.approx(want, abs=1e-6)
    u = torch.arange(8) / 7
    want = [1.2, 1.0882, 0.9639, 0.8257, 0.6720, 0.5011, 0.3112, 0.1]
    assert taus(Annealed(), view(8, progress=u)) == pytest.approx(want, abs=1e-4)
    early = taus(Annealed(cutoff=2), view(3, progress=u[:3], step=torch.arange(3)))
    assert early == pytest.approx([1, 1, 0.9639], abs=1e-4)


def test_annealed_floor_base_and_growth():
    half = Annealed(floor_at=0.5)
    just_before, at, after = taus(half, view(3, progress=torch.tensor([0.49, 0.5, 0.9])))
    assert just_before > 0.1
    assert [at, after] == pytest.approx([0.1, 0.1], abs=1e-6)
    offset = torch.tensor([0, 100])
    plain = taus(EAD, view(2, offset=offset))
    warm = Annealed(clock="position", d=500, cutoff=10, base=0.5)
    assert taus(warm, view(2, offset=offset)) == pytest.approx([x / 2 for x in plain])
    grown = Annealed(clock="position", d=300, growth=5, d_max=500, cutoff=10)
    assert grown.decay(10) == 350
    assert grown.decay(1000) == 500
    assert taus(grown, view(offset=300, rl_step=40)) == pytest.approx([0.377881], abs=1e-6)


def test_shapes_share_their_ends_and_mean():
    u = (torch.arange(4000) + 0.5) / 4000

    def curve(shape, at=u):
        return torch.tensor(taus(Annealed(shape=shape), view(len(at), progress=at)))

    negexp = curve("negexp")
    ends = torch.tensor([0.0, 1.0])
    assert curve("linear", ends).tolist() == pytest.approx([1.2, 0.1], abs=1e-6)
    assert curve("linear", torch.tensor([0.5])).item() == pytest.approx(0.65)
    assert curve("two_stage").unique().tolist() == pytest.approx([0.1, 1.2])
    assert (curve("two_stage") > 1).float().mean() == 0.5
    assert curve("mean_matched").unique().tolist() == pytest.approx([0.717397], abs=1e-5)
    assert negexp.mean().item() == pytest.approx(curve("mean_matched")[0].item(), abs=1e-5)
    torch.testing.assert_close(curve("reversed"), negexp.flip(0), atol=1e-5, rtol=0)
    late = Annealed(floor_at=0.5, shape="reversed")
    assert taus(late, view(progress=0.9)) == pytest.approx([1.2])


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(
    "make",
    [
        Constant,
        lambda x: Linear(x, 1),
        lambda x: Linear(1, x),
        lambda x: Cosine(x, 1),
        lambda x: Annealed(tau_max=x),
        lambda x: Annealed(tau_min=x),
        lambda x: Annealed(d=x),
        lambda x: Annealed(floor_at=x),
        lambda x: Annealed(base=x),
        lambda x: Annealed(growth=x),
        lambda x: Annealed(cutoff=x),
    ],
)
def test_negative_and_nonfinite_numbers_are_refused(make, value):
    with pytest.raises(PlanError, match="expected a finite number"):
        make(value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Annealed(tau_min=0), "tau_min is 0"),
        (lambda: Annealed(tau_max=0.1, tau_min=0.1), "expected tau_max > tau_min"),
        (lambda: Annealed(d=0), "Annealed.d is 0"),
        (lambda: Annealed(d=1, floor_at=1), "give one of them"),
        (lambda: Annealed(clock="position"), "needs d or floor_at"),
        (lambda: Annealed(clock="position", d=500, d_max=400), "d_max is 400"),
        (lambda: Annealed(clock="step"), "expected one of progress, position"),
        (lambda: Annealed(shape="square"), "expected one of negexp"),
        (lambda: Linear(1, 0, clock="wall"), "expected one of progress, position, step"),
        (lambda: Linear(1, 0, length=10), "the progress clock ends"),
        (lambda: Cosine(1, 0, clock="step", length=0), "Cosine.length is 0"),
    ],
)
def test_impossible_plans_are_refused(make, words):
    with pytest.raises(PlanError, match=words):
        make()
