"""The kept set of every truncation against transformers' processors and against its definition."""

import math
from itertools import product

import pytest
import torch
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from diffucode.errors import PlanError
from diffucode.sampling import truncation
from diffucode.sampling.summary import largest, softmax
from diffucode.sampling.truncation import Truncation, cut


def kept(z: torch.Tensor, tau: float, rule: Truncation, **caps: torch.Tensor) -> torch.Tensor:
    soft = softmax(z, torch.full((len(z),), tau, dtype=z.dtype))
    logsumexp = softmax(z, torch.ones(len(z), dtype=z.dtype)).logsumexp_n
    cut_n = cut(z, soft, largest(z, rule.retained), rule, logsumexp_n=logsumexp, **caps)
    return z >= cut_n[:, None]


def theirs(z: torch.Tensor, tau: float, rule: Truncation) -> torch.Tensor:
    scores = z / tau
    ids = torch.zeros(len(z), 1, dtype=torch.long)
    if rule.top_k is not None:
        scores = TopKLogitsWarper(rule.top_k)(ids, scores)
    if rule.top_p is not None:
        scores = TopPLogitsWarper(rule.top_p)(ids, scores)
    if rule.min_p is not None:
        scores = MinPLogitsWarper(rule.min_p)(ids, scores)
    return scores > -torch.inf


RULES = [
    Truncation(top_k=k, top_p=p, min_p=m)
    for k, p, m in product((None, 1, 5, 64, 700), (None, 0.1, 0.9, 0.999), (None, 0.05, 0.5))
]


@pytest.mark.parametrize("vocab", [50, 9000])
@pytest.mark.parametrize("scale", [0.3, 5.0], ids=["flat", "peaked"])
def test_same_kept_set_as_transformers_in_float64(vocab: int, scale: float) -> None:
    z = scale * torch.randn(
        6, vocab, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    for rule, tau in product(RULES, (0.3, 1.0, 1.7)):
        if rule.top_k is not None and rule.top_k > vocab:
            continue
        assert torch.equal(kept(z, tau, rule), theirs(z, tau, rule)), (rule, tau)


@pytest.mark.parametrize("scale", [0.3, 5.0], ids=["flat", "peaked"])
def test_same_kept_set_in_float32_away_from_the_threshold(scale: float) -> None:
    """A disagreement may only concern tokens whose mass or ratio is within 1e-5 of the threshold."""
    z = scale * torch.randn(8, 9000, generator=torch.Generator().manual_seed(2))
    for rule, tau in product([r for r in RULES if r.top_k is None], (0.3, 1.0)):
        differ = kept(z, tau, rule) != theirs(z.double(), tau, rule)
        p = (z.double() / tau).softmax(1)
        sorted_p, at = p.sort(1, descending=True)
        before = torch.zeros_like(p).scatter_(1, at, sorted_p.cumsum(1) - sorted_p)
        near = torch.zeros_like(differ)
        if rule.top_p is not None:
            near |= (before - rule.top_p).abs() < 1e-5
        if rule.min_p is not None:
            near |= (p / p.amax(1, keepdim=True) - rule.min_p).abs() < 1e-5
        assert not (differ & ~near).any(), (rule, tau)


def test_worked_kept_sets() -> None:
    """z = [3, 2, 1, 0, -1]."""
    z = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]])
    sizes = {
        Truncation(top_k=2): 2,
        Truncation(top_p=0.9): 3,
        Truncation(min_p=0.1): 3,
        Truncation(): 5,
    }
    for rule, size in sizes.items():
        assert kept(z, 1.0, rule).tolist() == [[i < size for i in range(5)]], rule


def test_ties_are_kept_or_dropped_together() -> None:
    z = torch.tensor([[1.0, 2.0, 1.0, 0.0, 1.0]])
    assert kept(z, 1.0, Truncation(top_k=2)).tolist() == [[True, True, True, False, True]]
    assert kept(z, 1.0, Truncation(top_p=0.5)).tolist() == [[True, True, True, False, True]]
    flat = torch.zeros(1, 5000)
    assert kept(flat, 1.0, Truncation(top_p=0.1)).all()


def test_surprise_cap_and_its_floor() -> None:
    """p = [.5, .25, .125, .0625, .0625], mu = 3 bits keeps three tokens."""
    z = torch.tensor([[0.5, 0.25, 0.125, 0.0625, 0.0625]]).log()
    for mu, size in ((3.0 + 1e-5, 3), (4.0 + 1e-5, 5), (0.5, 1), (0.0, 1)):
        assert kept(z, 1.0, Truncation(), max_surprise_n=torch.tensor([mu])).sum() == size


def test_top_k_per_row() -> None:
    z = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    k = torch.tensor([1, 50, 3000])
    assert kept(z, 1.0, Truncation(), top_k_n=k).sum(1).tolist() == k.tolist()
    assert kept(z, 1.0, Truncation(top_k=40), top_k_n=k).sum(1).tolist() == [1, 40, 40]


@pytest.mark.parametrize(
    "rule", [Truncation(top_p=0.95), Truncation(top_k=3000), Truncation(top_p=0.5, top_k=900)]
)
def test_fallback_gives_the_same_bits_without_asking_the_device(
    rule: Truncation, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = torch.randn(5, 6000, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [[0.1], [8.0], [1.0], [20.0], [0.5]]
    )
    asked = kept(z, 0.7, rule)
    monkeypatch.setattr(truncation, "free_to_ask", lambda x: False)
    assert torch.equal(asked, kept(z, 0.7, rule))


def test_something_always_stays() -> None:
    z = torch.randn(4, 3000, generator=torch.Generator().manual_seed(4))
    z[0, 1:] = -math.inf
    for rule in RULES:
        assert kept(z, 0.5, rule).any(1).all()
        assert kept(z, 0.5, rule).gather(1, z.argmax(1, keepdim=True)).all()


@pytest.mark.parametrize(
    "field", [{"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}, {"top_p": math.nan}]
)
def test_bad_rules_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(PlanError, match=next(iter(field))):
        Truncation(**field)  # type: ignore[arg-type]
