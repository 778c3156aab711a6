"""Muon: orthogonal updates, its first step by hand."""

import math

import torch

from diffucode.muon import Muon, orthogonalize


def test_updates_are_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 8), (2, 4, 9), (2, 9, 4)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator)))
        assert values.min() > 0.5 and values.max() < 1.3
    u, s, v = torch.linalg.svd(torch.randn(1, 5, 5, generator=generator))
    tall = orthogonalize(u @ torch.diag_embed(s) @ v)
    assert (u.mT @ tall @ v.mT).diagonal(dim1=1, dim2=2).min() > 0.5


def test_the_iteration_is_the_published_quintic() -> None:
    """Each singular value s of the normalised matrix goes through a s + b s^3 + c s^5, five times."""
    matrix = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    values = torch.tensor([3.0, 1.0]) / math.sqrt(10)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalize(matrix)[0], values.diag(), atol=1e-5, rtol=1e-5)


def test_the_first_step_by_hand() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 2))
    weight.grad = torch.arange(8.0).reshape(4, 2)
    Muon([weight], lr=0.1).step()
    expected = -0.1 * math.sqrt(2) * orthogonalize(weight.grad[None])[0]
    torch.testing.assert_close(weight.detach(), expected, atol=1e-4, rtol=1e-3)
