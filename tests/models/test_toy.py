"""The table denoiser is an exact, enumerable model; the tiny ones are what they say."""

import pytest
import torch
from asking import canvas_of, first_open, keep, logits, padded

from diffucode.models.toy import TableDenoiser, tiny_tokenizer, tiny_transformer

ROWS = [[1, 2, 3, -1, -1, 5], [4, -1, 2], [-1, 6, -1, -1]]


@pytest.mark.parametrize("causal", [False, True])
def test_a_row_reads_the_same_bits_alone_batched_and_padded(causal: bool) -> None:
    table = TableDenoiser(causal=causal)
    together = canvas_of(ROWS, fill=7)
    alone = torch.cat([logits(table, canvas_of([row], fill=7)) for row in ROWS])
    assert torch.equal(logits(table, together), alone)
    assert torch.equal(logits(table, padded(together, 2, 3, fill=7)), alone)
    one_by_one = [
        table.logits_for([max(t, 0) for t in row], [t == -1 for t in row], p)
        for row in ROWS
        for p, token in enumerate(row)
        if token == -1
    ]
    assert torch.equal(torch.stack(one_by_one), alone)


def test_every_visible_token_matters_and_no_other() -> None:
    tokens, opened = [1, 2, 3, 4, 5], [False, True, False, True, False]
    for causal in (False, True):
        table = TableDenoiser(causal=causal)
        base = table.logits_for(tokens, opened, 3)
        for p in range(5):
            changed = list(tokens)
            changed[p] = 6
            seen = not opened[p] and (p < 3 or not causal)
            assert torch.equal(table.logits_for(changed, opened, 3), base) != seen
        assert not torch.equal(table.logits_for(tokens, opened, 1), base)
        swapped = table.logits_for([3, 2, 1, 4, 5], opened, 3)
        assert not torch.equal(swapped, base), "order matters"


def test_tables_differ_by_seed_and_have_the_asked_scale() -> None:
    a, b = (TableDenoiser(50, mask_id=49, seed=s, scale=3.0) for s in (0, 1))
    la, lb = (t.logits_for([1, 2], [False, True], 1) for t in (a, b))
    assert not torch.equal(la, lb)
    assert 2.0 < la.std() < 4.0


def test_the_table_cache_believes_what_it_has_read() -> None:
    table = TableDenoiser(causal=True)
    cache = table.empty_cache(2)
    assert cache is not None and TableDenoiser().empty_cache(2) is None
    before = canvas_of([[1, 2, -1, -1], [3, -1]], fill=7)
    exact = table(before, first_open(before), keep)["logits"]
    assert torch.equal(table(before, first_open(before), keep, cache=cache)["logits"], exact)
    # Row 0 is now [9.., 5, open]: its cache holds 1, 2 whatever the canvas says by now.
    forged = canvas_of([[4, 4, 5, -1], [3, 6, -1]], fill=7)
    honest = canvas_of([[1, 2, 5, -1], [3, 6, -1]], fill=7)
    read = table(forged, first_open(forged), keep, cache=cache)["logits"]
    assert torch.equal(read, table(honest, first_open(honest), keep)["logits"])
    assert cache.take([1, 0]).cat(cache.take([1])).prefix == [[3, 6], [1, 2, 5], [3, 6]]


def test_tiny_transformers_are_seeded_without_a_global_seed() -> None:
    state = torch.get_rng_state()
    a, b, c = (tiny_transformer(9, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    canvas = canvas_of(ROWS, fill=8)
    assert torch.equal(logits(a, canvas), logits(b, canvas))
    assert not torch.equal(logits(a, canvas), logits(c, canvas))
    assert 1.0 < logits(a, canvas).std() < 4.0


def test_the_tiny_tokenizer_spells_anything() -> None:
    tokenizer = tiny_tokenizer()
    text = "def f(x):\n\treturn 'é'  # <|mask|>"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == 260 and ids[-1] == tokenizer.mask_token_id == 259
    assert tokenizer.eos_token_id == 256
