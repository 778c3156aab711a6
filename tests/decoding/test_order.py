"""Order policies: the worked numbers, the three temperatures kept apart, ties, Plackett-Luce."""

import math

import pytest
import torch
from scipy import stats

from diffucode.decoding.order import (
    Confidence,
    Entropy,
    LeftToRight,
    Margin,
    Measured,
    Order,
    Random,
    Ranking,
    Scores,
    measure,
    plackett_luce,
    rank,
)
from diffucode.sampling.noise import key
from diffucode.sampling.summary import largest, softmax
from diffucode.sampling.truncation import Truncation, cut


def measured(z: torch.Tensor, tau: float = 1.0, rule: Truncation | None = None) -> Measured:
    soft, top = softmax(z, torch.full((len(z),), tau)), largest(z, 64)
    cut_n = None if rule is None else cut(z, soft, top, rule)
    first, second, entropy, _ = measure(z, soft, top, cut_n)
    return Measured(first, second, entropy, None, torch.arange(len(z)))


def ranks(
    scores: Scores, rows: int = 1, *, order: Order | None = None, seed: int = 0, **options: object
) -> Ranking:
    """Rank ``rows`` rows that all have these scores."""
    n = len(scores.score_N)
    row = torch.arange(rows).repeat_interleave(n)
    col = torch.arange(n).repeat(rows)
    keys = torch.tensor([key(seed, "row", r) for r in range(rows)])[row]
    settings = {"temperature": 0.0, "scale": "power", "ties": "leftmost"} | options
    return rank(
        Scores(*(x.repeat(rows) for x in scores)),
        row,
        col,
        (rows, n),
        order=order or Confidence(),
        noise=(keys, col, torch.zeros_like(col)),
        **settings,  # type: ignore[arg-type]
    )


# two positions whose order depends on what is looked at
A_B = torch.tensor([[2.0, 0.0, 0.0, 0.0, 0.0], [2.1, 2.0, -6.0, -6.0, -6.0]])


def test_worked_confidences() -> None:
    raw = measured(A_B)
    assert torch.allclose(raw.entropy_N, torch.tensor([1.135082, 0.696224]), atol=1e-6)
    assert torch.allclose(raw.log_top_N.exp(), torch.tensor([0.648786, 0.524728]), atol=1e-6)
    cold, hot = measured(A_B, 0.2), measured(A_B, 2.0)
    assert torch.allclose(cold.entropy_N, torch.tensor([0.001997, 0.662848]), atol=1e-6)
    assert torch.allclose(hot.log_top_N.exp(), torch.tensor([0.404610, 0.499127]), atol=1e-6)


@pytest.mark.parametrize(
    ("order", "tau", "first"),
    [(Entropy(), 1.0, 1), (Confidence(), 1.0, 0), (Entropy(), 0.2, 0), (Confidence(), 2.0, 1)],
)
def test_what_the_order_looks_at_decides(order: Order, tau: float, first: int) -> None:
    assert ranks(order(measured(A_B, tau))).rank_RL[0, first] == 0


def test_measures_are_the_plain_formulas() -> None:
    z = 2 * torch.randn(7, 500, generator=torch.Generator().manual_seed(0))
    for rule in (None, Truncation(top_p=0.8), Truncation(top_k=1)):
        at = measured(z, 0.7, rule)
        soft = softmax(z, torch.full((7,), 0.7))
        kept = z >= (-torch.inf if rule is None else cut(z, soft, largest(z, 64), rule)[:, None])
        p = (z.double() / 0.7).where(kept, -torch.inf).softmax(1)
        top2 = p.topk(2).values
        torch.testing.assert_close(at.log_top_N.exp().double(), top2[:, 0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(
            Margin()(at).score_N.double(), top2[:, 0] - top2[:, 1], atol=1e-6, rtol=1e-5
        )
        entropy = -(p * p.clamp(min=1e-300).log()).sum(1)
        torch.testing.assert_close(at.entropy_N.double(), entropy, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            Margin()(at).log_weight_N.double().exp(), top2[:, 0] - top2[:, 1], atol=1e-6, rtol=1e-4
        )


CONFIDENCES = Scores(torch.tensor([0.9, 0.6, 0.3]), torch.tensor([0.9, 0.6, 0.3]).log())


@pytest.mark.parametrize(
    ("scale", "temperature", "law"),
    [
        ("dream", 0.1, [0.950330, 0.047314, 0.002356]),
        ("dream", 0.5, [0.540539, 0.296654, 0.162807]),
        ("power", 0.5, [0.642857, 0.285714, 0.071429]),
    ],
)
def test_worked_order_temperatures(scale: str, temperature: float, law: list[float]) -> None:
    """Confidences .9, .6, .3, as a law (chi-square, 20,000 rows) and as logged probabilities."""
    rows = 20_000
    ranking = ranks(CONFIDENCES, rows, temperature=temperature, scale=scale)
    first = ranking.rank_RL.argmin(1)
    counts = torch.bincount(first, minlength=3)
    expected = torch.tensor(law, dtype=torch.float64)
    assert stats.chisquare(counts, rows * expected / expected.sum()).pvalue > 1e-3
    logged = ranking.logprob_RL.gather(1, first[:, None])[:, 0]
    torch.testing.assert_close(logged, expected.float().log()[first], atol=1e-5, rtol=1e-4)


def test_order_logprob_is_sequential() -> None:
    """Dream scale 0.5, order (0, 1): -1.052677 together."""
    weights = CONFIDENCES.score_N[None].double() / 0.5
    logprob = plackett_luce(weights, torch.tensor([[0, 1, 2]]))
    assert math.isclose(logprob[0, :2].sum(), -1.052677, abs_tol=1e-5)
    assert logprob[0, 2] == 0


def test_power_scale_means_the_same_for_probability_and_entropy() -> None:
    as_entropy = Scores(CONFIDENCES.log_weight_N, CONFIDENCES.log_weight_N)
    one = ranks(CONFIDENCES, 200, temperature=0.7)
    other = ranks(as_entropy, 200, temperature=0.7)
    assert torch.equal(one.rank_RL, other.rank_RL)


def test_without_order_temperature_no_chance_is_logged() -> None:
    ranking = ranks(CONFIDENCES, 3)
    assert ranking.rank_RL.tolist() == [[0, 1, 2]] * 3
    assert (ranking.logprob_RL == 0).all()


def test_random_order_is_uniform_and_logs_it() -> None:
    rows = 12_000
    at = Measured(*(torch.zeros(3),) * 3, None, torch.arange(3))
    ranking = ranks(Random()(at), rows, order=Random())
    code = (ranking.rank_RL * torch.tensor([9, 3, 1])).sum(1)
    counts = code.unique(return_counts=True)[1]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-3
    total = ranking.logprob_RL.sum(1)
    torch.testing.assert_close(total, torch.full((rows,), -math.log(6)), atol=1e-6, rtol=0)


def test_ties_are_resolved_as_asked() -> None:
    tied = Scores(torch.tensor([0.5, 0.9, 0.9, 0.5]), torch.zeros(4))
    assert ranks(tied).rank_RL.tolist() == [[2, 0, 1, 3]]
    assert ranks(tied, ties="rightmost").rank_RL.tolist() == [[3, 1, 0, 2]]
    shuffled = ranks(tied, 4000, ties="random").rank_RL
    assert set(map(tuple, shuffled.tolist())) == {
        (2, 0, 1, 3),
        (3, 0, 1, 2),
        (2, 1, 0, 3),
        (3, 1, 0, 2),
    }
    share = (shuffled[:, 1] == 0).float().mean()
    assert abs(share - 0.5) < 0.04  # five standard errors


def test_left_to_right() -> None:
    at = Measured(*(torch.zeros(4),) * 3, None, torch.tensor([5, 2, 9, 3]))
    assert ranks(LeftToRight()(at), order=LeftToRight()).rank_RL.tolist() == [[2, 0, 3, 1]]
