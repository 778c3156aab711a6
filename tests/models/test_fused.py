"""Backward passes by hand against numerical derivatives, and forward passes against torch's."""

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from diffucode.models.fused import attend, rms_norm, rotate, swiglu

generator = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_norms() -> None:
    for weight in (drawn(6), drawn(3, 6)):
        x = drawn(2, 3, 6)
        expected = F.rms_norm(x, (6,), eps=1e-6) * weight
        torch.testing.assert_close(rms_norm(x, weight, 1e-6, torch.float64), expected)
        assert gradcheck(lambda x, w: rms_norm(x, w, 1e-6, torch.float64), (x, weight))


def test_rotation() -> None:
    angle = drawn(5, 1, 3).detach().repeat(1, 1, 2)
    x, cos, sin = drawn(2, 5, 2, 6), angle.cos(), angle.sin()
    left, right = x.chunk(2, -1)
    expected = x * cos + torch.cat((-right, left), -1) * sin
    torch.testing.assert_close(rotate(x, cos, sin), expected)
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))


def test_swiglu() -> None:
    both = drawn(4, 6)
    gate, up = both.chunk(2, -1)
    torch.testing.assert_close(swiglu(both), F.silu(gate) * up)
    assert gradcheck(swiglu, (both,))


def test_attention() -> None:
    q, k, v = drawn(2, 4, 3), drawn(2, 4, 3), drawn(2, 4, 3)
    bias = torch.tensor([0.0, 0.0, -1e9, 0.0], dtype=torch.float64).expand(2, 1, 4)
    for given in (None, bias):
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=given, scale=1.0)
        torch.testing.assert_close(attend(q, k, v, given), expected)
        assert gradcheck(lambda q, k, v, b=given: attend(q, k, v, b), (q, k, v))
