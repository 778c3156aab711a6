"""Muon: momentum whose updates are orthogonalised (Jordan et al. 2024), for hidden matrices."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Steps of singular values about ``lr``; Nesterov momentum, no weight decay.

    torch.optim.Muon iterates in bfloat16, which is up to a hundred times slower than float32 on a CPU
    without bfloat16 units; this one iterates in the parameter's dtype, all matrices of a shape at once.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for shape, parameters in shapes.items():
                directions = [self._direction(p, group["momentum"]) for p in parameters]
                updates = orthogonalize(torch.stack(directions))
                scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for p, update in zip(parameters, updates, strict=True):
                    p.add_(update, alpha=-scale)

    def _direction(self, p: nn.Parameter, momentum: float) -> Tensor:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Roughly U V^T of each U S V^T in [n, rows, columns]: Newton-Schulz, singular values 0.7 to 1.2."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        inner = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, inner, x, beta=3.4445)
    return x if wide else x.mT
