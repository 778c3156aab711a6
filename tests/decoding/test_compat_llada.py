"""``llada_plan`` against the published loop: the same commits at T = 0, the same law above."""

import random

import pytest
import torch
from published_loops import llada
from side_by_side import (
    least_p,
    model_logits,
    our_rows,
    pad_left,
    published_rows,
    requests_for,
    table_logits,
    without_mask,
)

from diffucode.decoding.engine import decode
from diffucode.decoding.plan import Request, llada_plan
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import TableDenoiser, tiny_tokenizer, tiny_transformer


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


# --- T = 0: the same commits in every step --------------------------------------------------------


def compare(denoiser, logits, prompts, new, block_length, steps):
    """Both loops on the same prompts at T = 0: every row, every step; False if a mask was drawn."""
    mask_id = denoiser.mask_id
    tokens_BP, attention_BP = pad_left(prompts, pad=1)
    attention_BP = None if attention_BP.all() else attention_BP
    options = {"block_length": block_length, "steps": steps}
    frames = llada(logits, tokens_BP, attention_BP, mask_id=mask_id, gen_length=new, **options)
    published = published_rows(frames, mask_id, [len(p) + new for p in prompts])
    if any(mask_id in row.tokens for row in published):
        return False
    requests = requests_for(prompts, new, llada_plan(**options), mask_id)
    ours = our_rows(decode(denoiser, requests, capacity=len(requests)))
    assert [row.tokens for row in ours] == [row.tokens for row in published], options
    assert [order(row) for row in ours] == [order(row) for row in published], options
    return True


def order(row):
    """The sets of positions committed together, in order: steps that commit nothing do not count."""
    sets = {}
    for position, step in enumerate(row.step):
        sets.setdefault(step, []).append(position)
    return [sets[step] for step in sorted(sets) if step >= 0]


def cases(count, vocab, *, lengths):
    """Random prompts, blocks and steps; fewer and more steps than positions."""
    choose = random.Random(7)
    for _ in range(count):
        blocks, block_length = choose.randint(1, 4), choose.randint(1, 6)
        steps = blocks * choose.randint(1, 8)
        prompts = [
            [choose.randrange(vocab - 1) for _ in range(choose.randint(1, 9) if lengths else 4)]
            for _ in range(choose.randint(1, 3))
        ]
        yield prompts, blocks * block_length, block_length, steps


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny LLaDA checkpoint in the published layout, written and loaded again."""
    folder = tmp_path_factory.mktemp("llada")
    denoiser = tiny_transformer(260, shift=False, mask_id=259, family="llama")
    save(Loaded("tiny", denoiser, tiny_tokenizer(), "llada", "diffusion", 0), folder)
    return load(str(folder)).denoiser


def test_identical_on_a_published_checkpoint(checkpoint):
    logits = model_logits(checkpoint.model)
    outcomes = [
        compare(checkpoint, logits, *case)
        for case in cases(24, checkpoint.vocab_size, lengths=True)
    ]
    assert sum(outcomes) >= 20  # the others drew a mask, where no identity is claimed


def test_identical_on_a_table():
    denoiser = without_mask(TableDenoiser(30, mask_id=29, seed=1))
    logits = table_logits(denoiser, shifted=False)
    for case in cases(40, 30, lengths=False):
        assert compare(denoiser, logits, *case)


# --- T > 0: the same law ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.8, "block_length": 3, "steps": 3},
        {"temperature": 1.5, "block_length": 3, "steps": 2},
        {"temperature": 1.0, "block_length": 1, "steps": 3},
        {"temperature": 0.0, "block_length": 3, "steps": 3, "remasking": "random"},
        {"temperature": 1.0, "block_length": 3, "steps": 3, "remasking": "random"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_same_law(options):
    """Chi-square on five views of the outcome (five tests of five at p > 0.0002): a correct program
    fails one of them for less than 0.5 % of the seeds, and the seed is fixed."""
    draws, many, canvas = 1500, 8000, 3
    denoiser = without_mask(TableDenoiser(5, mask_id=4, scale=1.0, seed=6))
    logits = table_logits(denoiser, shifted=False)
    prompt = torch.tensor([[1]]).expand(many, 1)
    frames = llada(logits, prompt, mask_id=4, gen_length=canvas, **options)
    published = published_rows(frames, 4, [1 + canvas] * many)
    plan = llada_plan(**options)
    requests = [Request.completion("law", [1], canvas, plan, sample=i) for i in range(draws)]
    ours = our_rows(decode(denoiser, requests, capacity=32))
    assert least_p(ours, published) > 0.0002
