"""Draws follow the truncated, tempered softmax, and log what they were drawn from."""

import pytest
import torch
from scipy import stats

from diffucode.sampling import draw as draw_module
from diffucode.sampling import truncation
from diffucode.sampling.draw import Draw, Noise, draw
from diffucode.sampling.noise import key
from diffucode.sampling.truncation import Truncation


def noise(n: int, seed: int = 0) -> Noise:
    keys = torch.tensor([key(seed, "row")]).repeat(n, 1)
    return Noise(keys, torch.arange(n), torch.zeros(n, dtype=torch.long))


def many(z_V: torch.Tensor, tau: float, rule: Truncation, n: int, **options) -> Draw:  # type: ignore[no-untyped-def]
    return draw(z_V.repeat(n, 1), torch.full((n,), tau), rule, noise(n), **options)


def law(z_V: torch.Tensor, tau: float, rule: Truncation, cut: float) -> torch.Tensor:
    last = rule.temperature_last
    scores = z_V.double() if last else z_V.double() / tau
    scores = scores.where(z_V >= cut, -torch.inf)
    return (scores / tau if last else scores).softmax(0)


CASES = [
    (300, 1.0, 1.0, Truncation()),  # the tail is drawn from
    (300, 0.1, 2.0, Truncation()),  # nearly flat: mostly from the tail
    (300, 0.1, 1.0, Truncation(top_p=0.8)),  # a cut beyond the retained logits
    (300, 1.0, 0.7, Truncation(top_k=100)),
    (20, 1.0, 1.3, Truncation(top_p=0.9, min_p=0.02)),
    (300, 1.0, 1.5, Truncation(top_p=0.7, temperature_last=True)),
    (12, 2.0, 0.5, Truncation()),
]


@pytest.mark.parametrize(("vocab", "scale", "tau", "rule"), CASES)
def test_draws_follow_the_law(vocab: int, scale: float, tau: float, rule: Truncation) -> None:
    """Chi-square of 40,000 draws; the seed is fixed, a correct change of the noise fails 1 in 1,000."""
    n = 40_000
    z = scale * torch.randn(vocab, generator=torch.Generator().manual_seed(vocab))
    drawn = many(z, tau, rule, n)
    expected = n * law(z, tau, rule, drawn.cut_n[0].item())
    counts = torch.bincount(drawn.token_n, minlength=vocab)
    assert counts[expected == 0].sum() == 0
    rare = expected < 5
    pool = lambda x: torch.cat([x[~rare], x[rare].sum(0, keepdim=True)])  # noqa: E731
    counts, expected = pool(counts.double()), pool(expected)
    keep = expected > 1e-9
    assert stats.chisquare(counts[keep], expected[keep] * n / expected[keep].sum()).pvalue > 1e-3


@pytest.mark.parametrize(("vocab", "scale", "tau", "rule"), CASES)
def test_behaviour_logprob_is_that_of_the_law(
    vocab: int, scale: float, tau: float, rule: Truncation
) -> None:
    z = scale * torch.randn(vocab, generator=torch.Generator().manual_seed(vocab))
    drawn = many(z, tau, rule, 500)
    exact = law(z, tau, rule, drawn.cut_n[0].item()).log()[drawn.token_n]
    torch.testing.assert_close(drawn.behaviour_logprob_n.double(), exact, atol=1e-5, rtol=1e-5)
    entropy = torch.distributions.Categorical(logits=z.double() / tau).entropy()
    torch.testing.assert_close(drawn.entropy_n[0].double(), entropy, atol=1e-5, rtol=1e-5)


def test_zero_temperature_takes_the_lowest_of_the_largest() -> None:
    z = torch.zeros(4, 5000)
    z[1, [40, 4000]] = 1.0
    drawn = draw(z, torch.tensor([0.0, 9e-6, 0.0, 1.0]), Truncation(top_p=0.5), noise(4), never=0)
    assert drawn.token_n[:3].tolist() == [1, 40, 1]
    assert drawn.behaviour_logprob_n[:3].tolist() == [0, 0, 0] == drawn.entropy_n[:3].tolist()
    assert drawn.behaviour_logprob_n[3] < -8


def test_zero_temperature_ignores_the_seed_and_rows_keep_their_own() -> None:
    z = torch.randn(6, 200, generator=torch.Generator().manual_seed(0))
    tau = torch.tensor([0.0, 1.0] * 3)
    a = draw(z.clone(), tau, Truncation(), noise(6, seed=0))
    b = draw(z.clone(), tau, Truncation(), noise(6, seed=1))
    assert torch.equal(a.token_n[::2], b.token_n[::2])
    assert not torch.equal(a.token_n[1::2], b.token_n[1::2])  # equal by chance: below 1e-3


@pytest.mark.parametrize("rule", [Truncation(), Truncation(top_k=1), Truncation(top_p=0.5)])
def test_the_mask_is_never_drawn(rule: Truncation) -> None:
    z = torch.randn(300, generator=torch.Generator().manual_seed(0))
    z[17] = 50.0
    for tau in (0.0, 1.0):
        drawn = many(z, tau, rule, 2000, never=17)
        assert (drawn.token_n != 17).all()
        assert drawn.behaviour_logprob_n.isfinite().all()


def test_caps_of_a_policy_are_kept() -> None:
    z = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625]).log()
    drawn = many(z, 1.0, Truncation(), 4000, max_surprise_n=torch.full((4000,), 3.0 + 1e-5))
    assert drawn.token_n.max() == 2
    ratios = drawn.behaviour_logprob_n.exp().unique()
    torch.testing.assert_close(
        ratios, torch.tensor([0.142857, 0.285714, 0.571429]), atol=1e-6, rtol=0
    )
    drawn = many(z, 1.0, Truncation(), 4000, top_k_n=torch.full((4000,), 2))
    assert drawn.token_n.max() == 1


def test_same_draws_without_asking_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch for accelerators, which never learns how many rows need the dense path."""
    scales = torch.tensor([[0.01], [9.0], [1.0], [0.2]]).repeat(25, 1)
    z = scales * torch.randn(100, 3000, generator=torch.Generator().manual_seed(0))
    tau = torch.linspace(0, 2, 100)
    for rule in (Truncation(), Truncation(top_p=0.95), Truncation(top_k=2000, min_p=0.01)):
        asked = draw(z.clone(), tau, rule, noise(100))
        with monkeypatch.context() as patch:
            for module in (truncation, draw_module):
                patch.setattr(module, "free_to_ask", lambda x: False)
            unasked = draw(z.clone(), tau, rule, noise(100))
        assert all(torch.equal(a, b) for a, b in zip(asked, unasked, strict=True))


def test_truncation_does_not_change_a_draw_that_it_keeps() -> None:
    """The noise belongs to token ids: a draw among 40 stays if a second rule keeps it too."""
    z = torch.randn(40, generator=torch.Generator().manual_seed(0))
    free = many(z, 1.0, Truncation(), 500).token_n
    kept = many(z, 1.0, Truncation(top_k=10), 500).token_n
    survives = torch.isin(free, z.topk(10).indices)
    assert 100 < survives.sum() < 500
    assert torch.equal(free[survives], kept[survives])
    # nor does a change that only reorders close logits: the largest is banned, 39 keep their noise
    banned = many(z.where(z < z.max(), -torch.inf), 1.0, Truncation(), 500).token_n
    others = free != z.argmax()
    assert torch.equal(banned[others], free[others])


def test_a_row_draws_the_same_alone() -> None:
    z = torch.randn(9, 40_000, generator=torch.Generator().manual_seed(0))
    tau = torch.linspace(0, 2, 9)
    counters = noise(9)
    for rule in (Truncation(), Truncation(top_p=0.9)):
        together = draw(z.clone(), tau, rule, counters)
        for i in range(9):
            own = Noise(*(x[i : i + 1] for x in counters))
            alone = draw(z[i : i + 1].clone(), tau[i : i + 1], rule, own)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("at", [0, 299])
def test_nan_is_not_hidden(at: int) -> None:
    z = torch.zeros(1, 300)
    z[0, at] = torch.nan
    assert draw(z, torch.ones(1), Truncation(), noise(1)).behaviour_logprob_n.isnan().all()
