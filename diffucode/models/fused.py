"""Pieces of a transformer layer with backward passes by hand: fewer trips through memory than autograd's.

Inputs are float32 or bfloat16. Statistics, products of elements and what they need are at least float32
in either case; only matrices that are multiplied, and their results, are bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """``x / rms(x) * weight`` over the last axis, in ``dtype``; ``weight`` has the last axes of ``x``."""
    normed: Tensor = _Norm.apply(x, weight, eps, dtype)  # type: ignore[no-untyped-call]
    return normed


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: ``x cos + (-x_2, x_1) sin`` for the halves x_1, x_2 of the last axis."""
    turned: Tensor = _Rotate.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return turned


def swiglu(both: Tensor) -> Tensor:
    """``silu(gate) * up`` of the halves of the last axis."""
    activated: Tensor = _SwiGLU.apply(both)  # type: ignore[no-untyped-call]
    return activated


def attend(q_nLd: Tensor, k_nLd: Tensor, v_nLd: Tensor, bias: Tensor | None) -> Tensor:
    """``softmax(q k^T + bias) v``; what broadcasts with ``[n, L, L]`` may be the constant ``bias``.

    torch's own kernel takes five times as long in bfloat16 on a CPU, nearly all of it backward.
    """
    attended: Tensor = _Attend.apply(q_nLd, k_nLd, v_nLd, bias)  # type: ignore[no-untyped-call]
    return attended


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        x = _wide(x)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = (x * scale).mul_(weight)
        return normed.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        grad, unit = _wide(grad), x * scale
        by_weight = grad * unit
        grad_weight = by_weight.sum(tuple(range(x.ndim - weight.ndim)))
        mean = by_weight.mul_(weight).sum(-1, keepdim=True).mul_(1 / x.shape[-1])
        return (grad * weight).sub_(unit.mul_(mean)).mul_(scale), grad_weight, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    half = x.shape[-1] // 2
    out: Tensor = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-sign)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # the halves of sin are equal, so the transpose turns back
        return _turn(grad, cos, sin, -1), None, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        gate, up = map(_wide, both.chunk(2, -1))
        gated = torch.sigmoid(gate)
        silu = gate * gated
        ctx.save_for_backward(both, gated, silu)
        return (silu * up).to(both.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        both, gated, silu = ctx.saved_tensors
        grad, out = _wide(grad), torch.empty_like(both)
        grad_gate, grad_up = out.chunk(2, -1)
        grad_up.copy_(grad * silu)
        slope = torch.addcmul(gated + silu, silu, gated, value=-1)  # s + a (1 - s)
        grad_gate.copy_(slope.mul_(grad).mul_(_wide(both.chunk(2, -1)[1])))
        return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        scores = q @ k.mT
        if bias is not None:
            scores += bias
        weights = torch.softmax(scores, -1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, weights = ctx.saved_tensors
        grad_weights = grad @ v.mT
        slope = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        return slope @ k, slope.mT @ q, weights.mT @ grad, None
