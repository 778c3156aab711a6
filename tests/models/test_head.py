"""The chunked head: its results do not depend on how it is cut, and it never reads too much."""

import pytest
import torch
from torch import Tensor

from diffucode.models.head import HeadLinear, chunk_rows, read_out
from diffucode.protocols import Reread, Tree

N, D, V = 150, 6, 11


class Head:
    """A linear head that remembers how many rows it was given at a time."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.randn(V, D, generator=generator, dtype=dtype).requires_grad_()
        self.rows: list[int] = []

    def __call__(self, hidden_nd: Tensor) -> Tensor:
        self.rows.append(len(hidden_nd))
        return hidden_nd @ self.weight.T


def hidden_states(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0)).to(dtype)


def summary(logits_nV: Tensor, where: slice) -> Tree:
    assert logits_nV.dtype == torch.float32
    index_n = torch.arange(where.start, where.stop)
    return {"lse": logits_nV.logsumexp(1), "index": index_n, "logits": logits_nV.clone()}


def every_third(tree: Tree) -> Reread:
    assert len(tree["lse"]) == N
    index_M = torch.arange(N - 1, 0, -3)
    return Reread(index_M, lambda logits_MV: {"again": logits_MV, "index": index_M})


@torch.no_grad()
def test_chunks_change_nothing() -> None:
    whole = read_out(hidden_states(), Head(), summary, None, N)
    head = Head()
    cut = read_out(hidden_states(), head, summary, None, 64)
    assert head.rows == [64, 64, 22]
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)
    assert cut["index"].tolist() == list(range(N))


@torch.no_grad()
@pytest.mark.parametrize("rows, extra", [(N, 0), (N - 1, 50)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_second_look_sees_the_same_logits(rows: int, extra: int, dtype: torch.dtype) -> None:
    head = Head(dtype)
    first = read_out(hidden_states(dtype), Head(dtype), summary, None, N)["logits"]
    again = read_out(hidden_states(dtype), head, summary, every_third, rows)
    torch.testing.assert_close(again["again"], first[again["index"]], rtol=0, atol=1e-6)
    assert again["again"].dtype == torch.float32
    assert sum(head.rows) == N + extra  # kept when all fitted one chunk, else read anew


@torch.no_grad()
def test_asking_nothing_returns_empty_columns() -> None:
    tree = read_out(hidden_states()[:0], Head(), summary, None, N)
    assert {name: tuple(value.shape) for name, value in tree.items()} == {
        "lse": (0,),
        "index": (0,),
        "logits": (0, V),
    }


def log_prob(logits_nV: Tensor, where: slice) -> Tree:
    return {"logp": logits_nV.log_softmax(1)[:, 3]}


def test_gradients_pass_through_recomputed_chunks() -> None:
    gradients = []
    for rows in (N, 64):
        head, hidden = Head(), hidden_states().requires_grad_()
        read_out(hidden, head, log_prob, None, rows)["logp"].sum().backward()
        assert hidden.grad is not None and head.weight.grad is not None
        gradients.append((hidden.grad, head.weight.grad))
        assert sum(head.rows) == 2 * N  # once forward, once again in the backward pass
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_a_training_step_saves_no_logits() -> None:
    saved: list[tuple[int, ...]] = []

    def pack(x: Tensor) -> Tensor:
        saved.append(tuple(x.shape))
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        read_out(hidden_states().requires_grad_(), Head(), log_prob, None, 64)
    assert all(shape[-1:] != (V,) for shape in saved), saved


def test_chunks_are_cut_by_bytes_but_not_below_64_rows() -> None:
    assert chunk_rows(1024, 4 * 1024 * 100) == 100
    assert chunk_rows(1024, 1) == 64


@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_are_the_same_product(bias: bool) -> None:
    plain = torch.nn.Linear(D, V, bias=bias)
    head = HeadLinear.of(plain)
    assert dict(head.named_parameters()).keys() == dict(plain.named_parameters()).keys()
    assert head.weight is plain.weight
    for rows in (1, 2, 3, 8, 9):
        x = hidden_states()[:rows]
        torch.testing.assert_close(head(x), plain(x), rtol=1e-5, atol=1e-5)
        assert head(x).is_contiguous()
