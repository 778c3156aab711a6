"""Mirostat v1 and v2: worked numbers, the identity of the mean, saturation, order independence."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from seeing import CPU, commits, taus, view

from diffucode.errors import PlanError
from diffucode.sampling.temperature import MirostatV1, MirostatV2
from diffucode.sampling.temperature.mirostat import Mu, zipf_exponent, zipf_k

FIVE = torch.tensor([[0.5, 0.25, 0.125, 0.0625, 0.0625]])


def zipf(exponent, size):
    p = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return p / p.sum()


def mu(value):
    return Mu(torch.tensor([value], dtype=torch.float32))


def top_k(policy, at, *, top=None, vocab=5):
    top = FIVE.log() if top is None else top
    return policy.control(view(top=top, vocab=vocab), mu(at)).top_k_N.tolist()


@pytest.mark.parametrize("exponent", [0.9, 1.1, 1.5])
def test_exponent_of_a_zipf_law_is_exact(exponent):
    logits = torch.from_numpy(np.log(zipf(exponent, 50_257)))[None]
    assert zipf_exponent(logits[:, :101], 100).item() == pytest.approx(exponent, abs=1e-9)
    assert zipf_exponent(logits[:, :101].float(), 100).item() == pytest.approx(exponent, abs=2e-6)
    bent = torch.cat([logits[:, :31], logits[:, 31:101] - 1], 1)  # no longer one Zipf law
    assert zipf_exponent(bent, 30).item() == pytest.approx(exponent, abs=1e-9)
    assert zipf_exponent(bent, 31).item() > exponent + 0.01
    few = zipf_exponent(logits[:, :20], 100)  # as many pairs as there are
    assert few.item() == pytest.approx(exponent, abs=1e-9)


def test_k_of_a_zipf_law():
    def k(exponent, at):
        exponent = torch.tensor([exponent], dtype=torch.float64)
        return zipf_k(exponent, torch.tensor([at], dtype=torch.float64), 50_257).item()

    assert k(1.1, 6.0) == pytest.approx(7.873998, abs=1e-6)
    assert k(1.1, 3.0) == pytest.approx(1.189062, abs=1e-6)
    assert k(1.0, 6.0) == pytest.approx(5.912292, abs=1e-6)
    assert k(1.0 + 1e-5, 6.0) == pytest.approx(5.912292, abs=1e-3)
    assert k(1.0 - 1e-5, 6.0) == pytest.approx(5.912292, abs=1e-3)
    assert k(0.0, 6.0) == 50_257
    assert k(1e-5, 18.0) == math.inf  # control caps it


def test_v1_on_five_tokens():
    exponent = zipf_exponent(FIVE.double().log(), 100)
    assert exponent.item() == pytest.approx(1.236037, abs=1e-6)
    at = torch.tensor([2.0, 4.0], dtype=torch.float64)
    assert zipf_k(exponent, at[:1], 5).item() == pytest.approx(2.423875, abs=1e-6)
    assert zipf_k(exponent, at[1:], 5).item() == pytest.approx(7.440452, abs=1e-6)
    assert top_k(MirostatV1(), 2.0) == [3]
    assert top_k(MirostatV1(rounding="notebook"), 2.0) == [2]
    assert top_k(MirostatV1(), 4.0) == top_k(MirostatV1(rounding="notebook"), 4.0) == [5]
    assert top_k(MirostatV1(rounding="notebook"), 0.0) == [1]


def test_v1_counts_only_tokens_that_can_be_drawn():
    banned = torch.cat([FIVE.log(), torch.full((1, 3), -math.inf)], 1)
    assert zipf_exponent(banned, 100).item() == pytest.approx(1.236037, abs=1e-6)
    assert top_k(MirostatV1(), 20.0, top=banned, vocab=1000) == [5]
    level = torch.tensor([[0.0, -1e-5, -2e-5]])
    assert top_k(MirostatV1(), 18.0, top=level, vocab=1000) == [1000]
    only = torch.tensor([[1.0, -math.inf, -math.inf]])
    assert top_k(MirostatV1(), 20.0, top=only, vocab=1000) == [1]
    assert top_k(MirostatV1(), 1.0, top=torch.zeros(1, 10), vocab=1000) == [1000]
    assert MirostatV1(pairs=30).retained == 31


def test_v2_on_five_tokens():
    policy = MirostatV2(target=1.5)
    state = policy.start(1, CPU)
    control = policy.control(view(top=FIVE.log(), vocab=5), state)
    kept = -FIVE[0].log2() <= control.max_surprise_N
    assert kept.tolist() == [True, True, True, False, False]
    q = FIVE[0] * kept / (FIVE[0] * kept).sum()
    assert q[:3].tolist() == pytest.approx([0.571429, 0.285714, 0.142857], abs=1e-6)
    drawn = commits([3.0], behaviour=q[2:3].log())
    assert policy.observe(drawn, state).mu_B.item() == pytest.approx(1.5)


def test_v2_reads_the_raw_probability_not_the_truncated_one():
    """What the widespread implementation does, fed in by hand, gives its number."""
    policy = MirostatV2(target=1.5)
    truncated = commits([-math.log2(0.142857)])
    assert policy.observe(truncated, mu(3.0)).mu_B.item() == pytest.approx(1.692645, abs=1e-5)


@pytest.mark.parametrize(("reduce", "want"), [("sum", 5.7), ("mean", 5.9)])
@pytest.mark.parametrize("kind", [MirostatV1, MirostatV2])
def test_several_commits_in_one_step(kind, reduce, want):
    policy = kind(target=3.0, eta=0.1, reduce=reduce)
    state = policy.start(2, CPU)
    assert state.mu_B.tolist() == [6.0, 6.0]
    padded = commits(
        [2, math.nan, 4, 6, 1],
        row=[0, 0, 0, 0, 1],
        where=[True, False, True, True, False],
    )
    assert policy.observe(padded, state).mu_B.tolist() == pytest.approx([want, 6.0])


def test_base_temperature():
    assert taus(MirostatV2(base=0.7), view()) == pytest.approx([0.7])
    assert taus(MirostatV1(base=0.7), view()) == pytest.approx([0.7])


def simulate(policy, p, draws, seed=0, *, after_truncation=False):
    """Draw from p under the policy; the surprises in bits under p, and the final state."""
    state = policy.start(1, CPU)
    surprise, cumulative = -np.log2(p), np.cumsum(p)
    seen = view(top=torch.from_numpy(np.log(p[:101])).float()[None], vocab=len(p))
    uniform = np.random.default_rng(seed).random(draws)
    out = np.empty(draws)
    for i in range(draws):
        control = policy.control(seen, state)
        if control.top_k_N is None:
            kept = max(1, np.searchsorted(surprise, control.max_surprise_N.item(), "right"))
        else:
            kept = control.top_k_N.item()
        token = np.searchsorted(cumulative[:kept], uniform[i] * cumulative[kept - 1], "right")
        token = min(token, kept - 1)
        out[i] = surprise[token]
        told = out[i] + np.log2(cumulative[kept - 1]) if after_truncation else out[i]
        state = policy.observe(commits([told]), state)
    return SimpleNamespace(surprise=out, mu=state.mu_B.item())


@pytest.mark.parametrize("kind", [MirostatV1, MirostatV2])
def test_mean_surprise_meets_the_target(kind):
    """4 000 draws from Zipf(1.2) over 2 000 tokens, eta 1: the error is at most mu's range / 4 000."""
    policy = kind(target=3.0)
    run = simulate(policy, zipf(1.2, 2000), 4000)
    error = run.surprise.mean() - 3.0
    assert abs(error) < 0.01
    assert error == pytest.approx((6.0 - run.mu) / 4000, abs=1e-5)


def test_surprise_after_truncation_would_overshoot():
    """3.80 bits for a target of 3, 4 000 draws; three seeds gave 3.795 to 3.802."""
    run = simulate(MirostatV2(target=3.0), zipf(1.2, 2000), 4000, after_truncation=True)
    assert run.surprise.mean() == pytest.approx(3.8, abs=0.02)


def test_a_target_below_greedy_decoding_does_not_wind_up():
    p = zipf(1.2, 2000)
    policy = MirostatV2(target=1.5)
    run = simulate(policy, p, 400)
    assert run.surprise[10:].mean() == pytest.approx(2.169, abs=1e-3)  # the likeliest token's
    assert run.mu == 0
    # One easy context later mu has left the floor; unclamped it would be below -200.
    assert policy.observe(commits([0.2]), mu(run.mu)).mu_B.item() == pytest.approx(1.3)


def test_a_target_above_free_sampling_does_not_wind_up():
    policy = MirostatV2(target=9.0, mu_max=12.0)
    state = policy.start(1, CPU)
    assert state.mu_B.item() == 12.0
    for _ in range(100):
        state = policy.observe(commits([3.0]), state)
    assert state.mu_B.item() == 12.0
    assert policy.observe(commits([11.0]), state).mu_B.item() == pytest.approx(10.0)


def test_a_token_the_raw_model_rules_out_empties_mu_and_no_more():
    policy = MirostatV2()
    state = policy.observe(commits([math.inf]), mu(6.0))
    assert state.mu_B.item() == 0
    assert policy.observe(commits([1.0]), state).mu_B.item() == pytest.approx(2.0)


def test_mu_does_not_depend_on_the_order_of_commits():
    surprise = torch.rand(257, generator=torch.Generator().manual_seed(0)) * 10
    row = [i % 3 for i in range(257)]
    policy = MirostatV2(target=5.0, eta=0.01)
    start = policy.start(3, CPU)
    once = policy.observe(commits(surprise, row=row), start).mu_B
    again = policy.observe(commits(surprise.flip(0), row=row[::-1]), start).mu_B
    assert torch.equal(once, again)
    for b in range(3):
        alone = policy.observe(commits(surprise[b::3]), policy.start(1, CPU)).mu_B
        assert torch.equal(once[b : b + 1], alone)


@pytest.mark.parametrize("kind", [MirostatV1, MirostatV2])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", -1),
        ("target", math.nan),
        ("eta", 0),
        ("base", -0.1),
        ("mu_max", 0),
        ("reduce", "max"),
    ],
)
def test_impossible_plans_are_refused(kind, field, value):
    with pytest.raises(PlanError, match=f"{kind.__name__}.{field} is "):
        kind(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("pairs", 0), ("rounding", "up")])
def test_impossible_fits_are_refused(field, value):
    with pytest.raises(PlanError, match=f"MirostatV1.{field} is "):
        MirostatV1(**{field: value})
