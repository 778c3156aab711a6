"""HAPO's adaptive temperature: worked numbers, the sign, edge cases."""

import math

import pytest
import torch
from seeing import taus, view

from diffucode.errors import PlanError
from diffucode.sampling.temperature import HapoAdaptive, HapoStats

ENTROPY = torch.tensor([0.01, 0.05, 0.2, 0.2, 0.4, 0.8, 1, 1.2, 1.6, 2.4])
STATS = HapoStats.of(ENTROPY)


def test_statistics():
    assert STATS.q == pytest.approx(0.182322, abs=1e-6)
    assert STATS.sigma == pytest.approx(2.034913, abs=1e-6)
    assert STATS.h_max == pytest.approx(0.340627, abs=1e-6)
    assert STATS.h_min == pytest.approx(-2.352676, abs=1e-6)
    shuffled = ENTROPY[torch.randperm(10, generator=torch.Generator().manual_seed(0))]
    assert HapoStats.of(shuffled.reshape(2, 5)).q == STATS.q


def test_scaled_form_cools_sure_positions_and_heats_uncertain_ones():
    signal = [-1, -0.663824, -0.374258, -0.374258, -0.229476, -0.084693, -0.038083, 0, 0.415037, 1]
    want = [0.95, 0.966809, 0.981287, 0.981287, 0.988526, 0.995765, 0.998096, 1, 1.020752, 1.05]
    seen = view(10, entropy=ENTROPY)
    assert taus(HapoAdaptive(STATS), seen) == pytest.approx(want, abs=1e-6)
    unit = taus(HapoAdaptive(STATS, tau_scale=0.5), seen)
    assert unit == pytest.approx([1 + x / 2 for x in signal], abs=1e-6)
    assert taus(HapoAdaptive(STATS, base=0.5), seen) == pytest.approx(
        [x / 2 for x in want], abs=1e-6
    )


def test_zscore_form_is_unbounded_below_a_floor():
    want = [0.764732, 0.843824, 0.911949, 0.911949, 0.946012, 0.980075, 0.991040, 1]
    want += [1.014137, 1.034063]
    assert taus(HapoAdaptive(STATS, form="zscore"), view(10, entropy=ENTROPY)) == pytest.approx(
        want, abs=1e-6
    )
    assert taus(HapoAdaptive(STATS, form="zscore"), view(entropy=1e-4))[0] < 0.6
    assert taus(HapoAdaptive(STATS, form="zscore", tau_scale=1), view(entropy=1e-8)) == [
        pytest.approx(0.05)
    ]
    clipped = HapoAdaptive(STATS, form="zscore", clip=0.5)
    assert taus(clipped, view(entropy=1e-8)) == pytest.approx([0.95])


def test_signals_beyond_the_batch_extremes_are_clipped():
    far = view(2, entropy=torch.tensor([1e-6, 50.0]))
    assert taus(HapoAdaptive(STATS), far) == pytest.approx([0.95, 1.05])
    assert taus(HapoAdaptive(STATS, clip=3.0), far)[1] > 1.1


def test_base_temperature_without_a_signal():
    seen = view(3, entropy=torch.tensor([0.0, 0.5, 2.0]))
    assert taus(HapoAdaptive(base=0.7), seen) == pytest.approx([0.7] * 3)
    flat = HapoStats.of(torch.full((5,), 0.5))
    assert flat.sigma == flat.h_max == flat.h_min == 0
    assert taus(HapoAdaptive(flat, base=0.7), seen) == pytest.approx([0.7] * 3)
    for form in ("scaled", "zscore"):
        one_possible_token = taus(HapoAdaptive(STATS, form=form, base=0.7), seen)[0]
        assert one_possible_token == pytest.approx(0.7)


def test_zero_entropies_do_not_break_the_statistics():
    stats = HapoStats.of(torch.tensor([0.0, 0.0, 1.0, 2.0]))
    assert math.isfinite(stats.sigma)
    assert stats.q == pytest.approx(0.0)  # rank round(2.4) = 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HapoStats.of(torch.tensor([])), "0 entropies"),
        (lambda: HapoStats.of(torch.tensor([1.0, math.nan])), "1 not finite"),
        (lambda: HapoStats.of(ENTROPY, rho=1.5), "rho is 1.5"),
        (lambda: HapoStats(0.0, -1.0, 1.0, -1.0), "sigma is -1"),
        (lambda: HapoStats(math.nan, 1.0, 1.0, -1.0), "q is nan"),
        (lambda: HapoStats(0.0, 1.0, -1.0, -1.0), "h_max is -1"),
        (lambda: HapoStats(0.0, 1.0, 1.0, 1.0), "h_min is -1"),
        (lambda: HapoAdaptive(form="odd"), "expected one of scaled, zscore"),
        (lambda: HapoAdaptive(base=0.0), "base is 0"),
        (lambda: HapoAdaptive(clip=-1.0), "clip is -1"),
        (lambda: HapoAdaptive(tau_scale=math.nan), "tau_scale is nan"),
    ],
)
def test_impossible_plans_are_refused(make, words):
    with pytest.raises(PlanError, match=words):
        make()
