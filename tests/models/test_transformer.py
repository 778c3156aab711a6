"""The transformer denoiser against the stock model, and its padding and read-out laws."""

from dataclasses import replace

import pytest
import torch
from asking import at, canvas_of, everywhere, first_open, keep, logits, padded
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from diffucode.decoding.canvas import Canvas
from diffucode.errors import CanvasError
from diffucode.models.toy import tiny_model, tiny_transformer
from diffucode.models.transformer import TransformerDenoiser

V, MASK = 13, 12
ROWS = [[1, 2, 3, -1, -1, 5, 7], [4, -1, 2], [-1, 6, -1, -1, 9]]
EVEN = [[1, 2, -1, 4], [-1, 8, 3, -1]]


def denoiser(attention: str = "full", shift: bool = False, **kwargs: int) -> TransformerDenoiser:
    return TransformerDenoiser(
        tiny_model(V), mask_id=MASK, terminator_ids=(0,), readout_shift=shift, attention=attention,
        **kwargs,
    )  # fmt: skip


def stock(attention: str, tokens: list[int]) -> Tensor:
    """``[L, V]`` of the stock class itself, given the pattern as an additive mask."""
    length = len(tokens)
    block = {"full": length, "causal": 1, "block-causal(2)": 2}[attention]
    where = torch.arange(length) // block
    mask = torch.zeros(1, 1, length, length).masked_fill(where[:, None] < where, -torch.inf)
    with torch.no_grad():
        return tiny_model(V)(torch.tensor([tokens]), attention_mask=mask).logits[0]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], EVEN], ids=["ragged", "alone", "even"])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("attention", ["full", "causal", "block-causal(2)"])
def test_open_positions_read_what_the_stock_model_says(
    attention: str, shift: bool, rows: list[list[int]]
) -> None:
    model = denoiser(attention, shift)
    expected = []
    for row in rows:
        full = stock(attention, [MASK if token == -1 else token for token in row])
        for p, token in enumerate(row):
            if token == -1:
                expected.append(full[max(p - 1, 0) if shift else p])
    found = logits(model, canvas_of(rows, fill=MASK))
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("left, right", [(0, 3), (3, 0), (2, 1)])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("attention", ["full", "causal", "block-causal(2)"])
def test_padding_changes_no_logit(attention: str, shift: bool, left: int, right: int) -> None:
    model = denoiser(attention, shift)
    canvas = canvas_of(ROWS, fill=MASK)
    plain = logits(model, canvas)
    for fill in (MASK, 1):
        wide = logits(model, padded(canvas, left, right, fill))
        torch.testing.assert_close(wide, plain, rtol=0, atol=1e-5)


def test_padding_changes_no_logit_of_absolute_positions() -> None:
    """Rotary embeddings would forgive wrong position ids; learned ones do not."""
    config = GPT2Config(vocab_size=V, n_embd=32, n_layer=1, n_head=2, n_positions=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gpt = GPT2LMHeadModel(config).eval()
    model = TransformerDenoiser(
        gpt, mask_id=None, terminator_ids=(0,), readout_shift=True, attention="causal"
    )
    canvas = canvas_of(ROWS, fill=0)
    plain = logits(model, canvas)
    torch.testing.assert_close(logits(model, padded(canvas, 3, 1, 0)), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["full", "causal", "block-causal(2)"])
def test_padding_leaves_gradients_finite_and_equal(attention: str) -> None:
    canvas = canvas_of(ROWS, fill=MASK)
    gradients = []
    for view in (canvas, padded(canvas, 3, 2, fill=1)):
        model = denoiser(attention, shift=True)
        tree = model(view, everywhere(view), lambda z, _: {"logp": z.log_softmax(1)[:, 4]})
        tree["logp"].sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_what_hides_under_an_open_position_does_not_matter(attention: str) -> None:
    model = denoiser(attention, shift=True)
    canvas = canvas_of(ROWS, fill=MASK)
    hidden = torch.where(canvas.open_BL, torch.arange(canvas.shape[1]), canvas.tokens_BL)
    assert torch.equal(logits(model, replace(canvas, tokens_BL=hidden)), logits(model, canvas))


def test_a_model_without_a_mask_reads_its_first_position_too() -> None:
    model = TransformerDenoiser(
        tiny_model(V), mask_id=None, terminator_ids=(3,), readout_shift=True, attention="causal"
    )
    first = logits(model, canvas_of([[-1, -1]], fill=0), at((0, 0)))
    torch.testing.assert_close(first, stock("causal", [3])[:1], rtol=0, atol=1e-5)


def test_a_causal_read_stops_at_the_last_column_it_needs() -> None:
    model = denoiser("causal", shift=True)
    seen: list[tuple[int, bool]] = []
    model.model.base_model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(
            (inputs["input_ids"].shape[1], "attention_mask" in inputs)
        ),
        with_kwargs=True,
    )
    canvas = canvas_of([[1, 2, -1, -1, -1, -1, -1, 5], [4, -1]], fill=MASK)
    logits(model, canvas, at((0, 2), (1, 1)))
    assert seen == [(3, False)]  # nor does padding on the right need a mask


def test_the_head_runs_at_asked_positions_only_and_is_counted() -> None:
    model = denoiser(shift=True)
    widths: list[tuple[int, ...]] = []
    model.model.lm_head.register_forward_hook(lambda _, __, out: widths.append(tuple(out.shape)))
    canvas = canvas_of(ROWS, fill=MASK)
    logits(model, canvas)
    assert widths == [(6, V)]
    assert (model.calls, model.rows_read) == (1, 6)


def test_padding_is_looked_for_once_per_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = 0
    tolist = Tensor.tolist

    def counted(self: Tensor) -> object:
        nonlocal waits
        waits += 1
        return tolist(self)

    model = denoiser(shift=True)
    canvas = canvas_of(ROWS, fill=MASK)
    ask = everywhere(canvas)
    monkeypatch.setattr(Tensor, "tolist", counted)
    for _ in range(3):
        canvas = canvas.commit(torch.ones_like(canvas.tokens_BL), torch.zeros_like(canvas.open_BL))
        model(canvas, ask, keep)
    assert waits == 1


# --- the cache -----------------------------------------------------------------------------------


def commit(canvas: Canvas, token: int) -> Canvas:
    """Write ``token`` at the first open position of every row."""
    where = canvas.open_BL & (canvas.open_BL.cumsum(1) == 1)
    return canvas.commit(torch.full_like(canvas.tokens_BL, token), where)


def assert_cache_is_exact(model: TransformerDenoiser, canvas: Canvas, cache: object) -> None:
    ask = first_open(canvas)
    with torch.no_grad():
        cached = model(canvas, ask, keep, cache=cache)["logits"]  # type: ignore[arg-type]
    torch.testing.assert_close(cached, logits(model, canvas, ask), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shift", [True, False])
def test_a_cached_row_reads_what_an_uncached_one_does(shift: bool) -> None:
    model = tiny_transformer(V, causal=True, shift=shift)
    # Unequal prompts, a hole before given text, and an open first position.
    canvas = canvas_of(
        [[1, 2, 3, -1, -1, -1, -1], [4, -1, 5, 6, -1, -1, -1], [-1, -1, -1, -1]], fill=MASK
    )
    cache = model.empty_cache(3)
    for step in range(3):
        assert_cache_is_exact(model, canvas, cache)
        canvas = commit(canvas, 5 + step)


def test_rows_join_and_leave_a_cache() -> None:
    model = tiny_transformer(V, causal=True)
    old = canvas_of([[1, 2, 3, -1, -1, -1, -1, -1], [4, -1, -1, -1, -1]], fill=MASK)
    cache = model.empty_cache(2)
    assert cache is not None
    for step in range(2):
        assert_cache_is_exact(model, old, cache)
        old = commit(old, 5 + step)
    fresh = canvas_of([[7, 8, 9, 1, 2, 3, 4, 5, 6, -1, -1]], fill=MASK)
    both, cache = old.cat(fresh, fill=MASK), cache.cat(model.empty_cache(1))
    for step in range(2):
        assert_cache_is_exact(model, both, cache)
        both = commit(both, 8 + step)
    order = [2, 0]
    both, cache = both.take(torch.tensor(order)), cache.take(order)
    both = both.take(torch.tensor([1]))
    cache = cache.take([1])
    assert_cache_is_exact(model, both, cache)


@pytest.mark.parametrize("shift", [True, False])
def test_rows_that_begin_alike_are_fed_as_one(shift: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a prompt, also where one joins whose neighbours are under way; then each goes its way."""
    model = tiny_transformer(V, causal=True, shift=shift)
    fed, body = [], model._body

    def counted(**inputs: torch.Tensor) -> torch.Tensor:
        fed.append(tuple(inputs["input_ids"].shape))
        return body(**inputs)

    rows = [
        [1, 2, 3, -1, -1, -1],
        [4, 5, -1, -1, -1, -1],
        [1, 2, 3, -1, -1, -1],
        [1, 2, -1, -1, -1],
    ]
    canvas, cache = canvas_of(rows, fill=MASK), model.empty_cache(4)
    ask, expected = first_open(canvas), logits(model, canvas, first_open(canvas))
    monkeypatch.setattr(model, "_body", counted)
    with torch.no_grad():
        found = model(canvas, ask, keep, cache=cache)["logits"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert fed == [(3, 3 if shift else 4)]
    monkeypatch.undo()
    where = canvas.open_BL & (canvas.open_BL.cumsum(1) == 1)
    canvas = canvas.commit(torch.arange(5, 9)[:, None].expand_as(canvas.tokens_BL), where)
    assert cache is not None
    fresh = canvas_of([[1, 2, 3, -1, -1], [1, 2, 3, -1, -1]], fill=MASK)
    canvas, cache = canvas.cat(fresh, fill=MASK), cache.cat(model.empty_cache(2))
    assert_cache_is_exact(model, canvas, cache)
    assert_cache_is_exact(model, commit(canvas, 9), cache)


def test_a_cache_forgets_what_only_departed_rows_had_read() -> None:
    model = tiny_transformer(V, causal=True)
    canvas = canvas_of([[1, 2, 3, -1, -1, -1], [4] * 9 + [-1, -1]], fill=MASK)
    cache = model.empty_cache(2)
    assert cache is not None
    for _ in range(2):
        model(canvas, first_open(canvas), keep, cache=cache)
        canvas = commit(canvas, 5)
    assert cache.valid_BW.shape == (2, 10)
    cache, canvas = cache.take([0]), canvas.take(torch.tensor([0]))
    assert cache.valid_BW.shape == (1, 4)
    assert_cache_is_exact(model, canvas, cache)


def test_an_admitted_prompt_does_not_drag_its_neighbours_along() -> None:
    model = tiny_transformer(V, causal=True)
    fed: list[tuple[int, ...]] = []
    model.model.base_model.register_forward_pre_hook(
        lambda _, __, inputs: fed.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    canvas = canvas_of([[1, 2, 3, -1, -1, -1], [4, 5, 6, 2, -1]], fill=MASK)
    cache = model.empty_cache(2)
    assert cache is not None
    model(canvas, first_open(canvas), keep, cache=cache)
    canvas = commit(canvas, 1).take(torch.tensor([0]))
    fresh = canvas_of([[9] * 6 + [-1]], fill=MASK)
    canvas, cache = canvas.cat(fresh, fill=MASK), cache.take([0]).cat(model.empty_cache(1))
    model(canvas, first_open(canvas), keep, cache=cache)
    canvas = commit(canvas, 1)
    model(canvas.take(torch.tensor([0])), at((0, 5)), keep, cache=cache.take([0]))
    assert fed == [(2, 4), (1, 1), (1, 6), (1, 1)]


def test_a_cache_refuses_what_it_cannot_answer() -> None:
    model = tiny_transformer(V, causal=True)
    canvas = canvas_of([[1, 2, 3, -1], [4, 2, -1, -1]], fill=MASK)
    cache = model.empty_cache(2)
    with pytest.raises(CanvasError, match="one position of each of its 2 rows"):
        model(canvas, at((1, 2)), keep, cache=cache)
    model(canvas, first_open(canvas), keep, cache=cache)
    with pytest.raises(CanvasError, match=r"row 0, column 3.*already read past"):
        model(canvas, first_open(canvas), keep, cache=cache)


@pytest.mark.parametrize("attention", ["full", "block-causal(2)"])
def test_only_causal_models_have_a_cache(attention: str) -> None:
    assert denoiser(attention).empty_cache(2) is None


def test_sliding_windows_are_not_cached() -> None:
    model = tiny_model(V)
    model.config.layer_types = ["full_attention", "sliding_attention"]
    causal = TransformerDenoiser(
        model, mask_id=None, terminator_ids=(0,), readout_shift=True, attention="causal"
    )
    assert causal.empty_cache(1) is None
