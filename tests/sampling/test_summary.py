"""Row statistics: equal to the plain formulas, finite on -inf, and blind to neighbouring rows."""

import pytest
import torch

from diffucode.sampling.summary import largest, row_sum, softmax


def logits(n: int, vocab: int, scale: float = 3.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(n, vocab, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("vocab", [1, 5, 127, 128, 1000, 40_000, 40_037])
@pytest.mark.parametrize("k", [1, 2, 64])
def test_largest_is_topk_with_ties_in_ascending_id(vocab: int, k: int) -> None:
    z = logits(3, vocab).round(decimals=1)  # many ties
    top = largest(z, k)
    assert torch.equal(top.logit_nK, z.topk(min(k, vocab)).values)
    assert torch.equal(z.gather(1, top.id_nK), top.logit_nK)
    for ids, values in zip(top.id_nK.tolist(), top.logit_nK.tolist(), strict=True):
        assert len(set(ids)) == len(ids)
        pairs = [(-value, i) for value, i in zip(values, ids, strict=True)]
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_softmax_statistics(tau: float) -> None:
    z = logits(4, 5000)
    soft = softmax(z, torch.full((4,), tau))
    exact = (z.double() / tau).log_softmax(1)
    torch.testing.assert_close(
        soft.logsumexp_n.double(), (z.double() / tau).logsumexp(1), atol=2e-5, rtol=1e-6
    )
    torch.testing.assert_close(
        soft.entropy_n.double(), -(exact.exp() * exact).sum(1), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        (soft.weight_nV / soft.total_n[:, None]).double(), exact.exp(), atol=1e-6, rtol=1e-5
    )


def test_worked_entropies() -> None:
    """z = [2, 1, 0, -1] at three temperatures."""
    z = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    for tau, entropy in ((0.5, 0.455429), (1.0, 0.947537), (2.0, 1.245050)):
        assert abs(softmax(z, torch.tensor([tau])).entropy_n.item() - entropy) < 1e-6


def test_entropy_is_finite_on_minus_infinity() -> None:
    z = torch.full((2, 300), -torch.inf)
    z[0, 7] = 1.0
    z[1, [3, 250]] = 2.0
    entropy = softmax(z, torch.ones(2)).entropy_n
    torch.testing.assert_close(entropy, torch.tensor([0.0, 2.0]).log().clamp(min=0))


def test_a_row_is_the_same_bits_beside_any_others() -> None:
    z = logits(17, 70_001)
    tau = torch.linspace(0.2, 2, 17)
    together, sums, top = softmax(z, tau), row_sum(z), largest(z, 64)
    for i in range(17):
        alone = softmax(z[i : i + 1], tau[i : i + 1])
        assert torch.equal(alone.total_n[0], together.total_n[i])
        assert torch.equal(alone.entropy_n[0], together.entropy_n[i])
        assert torch.equal(row_sum(z[i : i + 1])[0], sums[i])
        assert torch.equal(largest(z[i : i + 1], 64).id_nK[0], top.id_nK[i])
