"""The end of every forward pass: hidden states at the asked positions -> readouts.

The vocabulary is the widest thing in a step (V = 152,064 in DiffuCoder), so the head runs only on
the N asked positions, and on few of them at a time::

    hidden_Nd ──chunk──> head ──> float32 logits_nV ──> readout ──> tree of [n, ...]  ┐
                                                                                     ├─> Tree[N]
    ...                                                                              ┘      │ then
                                                    readout of M rows <── logits_MV <───────┘

No ``[B, L, V]`` tensor ever exists. Under autograd each chunk is recomputed in the backward pass,
so a training step holds the logits of one chunk only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffucode.protocols import Readout, Then, Tree

HEAD_BYTES = 256 << 20
"""Default budget of one chunk of float32 logits."""


class HeadLinear(nn.Linear):
    """The same product, with the weights on the left for a few rows on a CPU.

    A step near the end of a row asks about few positions, and BLAS takes longer for two or three rows
    times a wide transposed matrix than for sixteen: 2 to 5 times as long as this order at V = 151,936.
    """

    FEW = 8

    @classmethod
    def of(cls, linear: nn.Linear) -> HeadLinear:
        """A head that shares the weights of ``linear``."""
        bias = linear.bias is not None
        head = cls(linear.in_features, linear.out_features, bias=bias, device="meta")
        head.weight, head.bias = linear.weight, linear.bias
        return head

    def forward(self, input: Tensor) -> Tensor:
        """``[n, d] -> [n, V]``."""
        few = input.dim() == 2 and 1 < len(input) <= self.FEW and input.device.type == "cpu"
        if not few:
            return super().forward(input)
        logits_nV = (self.weight @ input.T).T.contiguous()
        return logits_nV if self.bias is None else logits_nV + self.bias


def chunk_rows(vocab_size: int, head_bytes: int = HEAD_BYTES) -> int:
    """Rows of float32 logits that fit ``head_bytes``, at least 64."""
    return max(64, head_bytes // (4 * vocab_size))


def read_out(
    hidden_Nd: Tensor,
    head: Callable[[Tensor], Tensor],
    readout: Readout,
    then: Then | None,
    rows: int,
) -> Tree:
    """Read hidden states through ``head`` (``[n, d] -> [n, V]``), ``rows`` of them at a time.

    Without ``then`` the concatenated trees ``[N, ...]``; with it the tree ``[M, ...]`` of the
    second look. Its logits are kept from the first look when all N fitted one chunk, else the head
    runs again on the M rows. All M reach the second readout at once, so it holds ``[M, V]``.
    """
    many = len(hidden_Nd)
    graph = torch.is_grad_enabled() and hidden_Nd.requires_grad
    keep = then is not None and many <= rows and not graph
    kept_NV: Tensor | None = None
    trees: list[Tree] = []
    for start in range(0, max(many, 1), rows):
        where = slice(start, min(start + rows, many))
        if graph:
            trees.append(_recomputed(hidden_Nd[where], head, readout, where))
            continue
        logits_nV = head(hidden_Nd[where])
        kept_NV = logits_nV if keep else None
        trees.append(readout(logits_nV.float(), where))
    tree = {name: torch.cat([part[name] for part in trees]) for name in trees[0]}
    if then is None:
        return tree
    index_M, reread = then(tree)
    logits_MV = head(hidden_Nd[index_M]) if kept_NV is None else kept_NV[index_M]
    return reread(logits_MV.float())


def _recomputed(
    hidden_nd: Tensor, head: Callable[[Tensor], Tensor], readout: Readout, where: slice
) -> Tree:
    def chunk(hidden_nd: Tensor) -> Tree:
        return readout(head(hidden_nd).float(), where)

    tree: Tree = checkpoint(chunk, hidden_nd, use_reentrant=False, preserve_rng_state=False)
    return tree
