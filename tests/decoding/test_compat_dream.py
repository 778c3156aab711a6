"""``dream_plan`` against the published loop: the same commits at T = 0, the same law above."""

import random

import pytest
import torch
from published_loops import dream
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
from diffucode.decoding.plan import Request, dream_plan
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import TableDenoiser, tiny_tokenizer, tiny_transformer

ALGS = ("maskgit_plus", "topk_margin", "entropy")


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


# --- T = 0: the same commits in every step --------------------------------------------------------


def compare(denoiser, logits, prompts, new, **options):
    """Both loops on the same prompts at T = 0: every row, every step; False if a mask was drawn."""
    mask_id = denoiser.mask_id
    tokens_BP, attention_BP = pad_left(prompts, pad=1)
    frames = dream(logits, tokens_BP, attention_BP, mask_id=mask_id, max_new_tokens=new, **options)
    published = published_rows(frames, mask_id, [len(p) + new for p in prompts])
    if any(mask_id in row.tokens for row in published):
        return False
    requests = requests_for(prompts, new, dream_plan(**options), mask_id)
    ours = our_rows(decode(denoiser, requests, capacity=len(requests)))
    assert ours == published, options
    return True


def cases(count, vocab, *, lengths):
    """Random prompts, canvas sizes and options; every row of a case has the same number of holes.

    The first position is given: left of it the published loop reads a padding column, ours never.
    """
    choose = random.Random(5)
    for i in range(count):
        rows, new = choose.randint(1, 3), choose.randint(1, 14)
        prompts = [
            [choose.randrange(vocab - 1) for _ in range(choose.randint(2, 9) if lengths else 5)]
            for _ in range(rows)
        ]
        if i % 4 == 3:
            for prompt in prompts:
                prompt[choose.randrange(1, len(prompt))] = vocab - 1
        options = {"alg": ALGS[i % 3], "steps": choose.randint(1, 24)}
        if i % 5 == 4:
            options |= {"top_k": 3}
        yield prompts, new, options


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny Dream checkpoint in the published layout, written and loaded again."""
    folder = tmp_path_factory.mktemp("dream")
    denoiser = tiny_transformer(260, shift=True, mask_id=259)
    save(Loaded("tiny", denoiser, tiny_tokenizer(), "dream", "diffusion", 0), folder)
    return load(str(folder)).denoiser


def test_identical_on_a_published_checkpoint(checkpoint):
    logits = model_logits(checkpoint.model)
    outcomes = [
        compare(checkpoint, logits, prompts, new, **options)
        for prompts, new, options in cases(30, checkpoint.vocab_size, lengths=True)
    ]
    assert sum(outcomes) >= 26  # the others drew a mask, where no identity is claimed


def test_identical_on_a_table():
    denoiser = without_mask(TableDenoiser(30, mask_id=29, seed=1))
    logits = table_logits(denoiser, shifted=True)
    for prompts, new, options in cases(45, 30, lengths=False):
        assert compare(denoiser, logits, prompts, new, **options)


def test_identical_with_top_p_where_nothing_ties():
    """Flat logits: no position is truncated to a single token, so no two confidences are equal."""
    denoiser = without_mask(TableDenoiser(30, mask_id=29, scale=0.5, seed=2))
    logits = table_logits(denoiser, shifted=True)
    for alg in ALGS:
        for steps in (1, 5, 9, 12):
            prompts = [[1, 2], [3, 4]]
            assert compare(denoiser, logits, prompts, 9, alg=alg, steps=steps, top_p=0.8)


def test_identical_with_origin_at_one_step():
    """At a single step nothing about ``origin`` is random."""
    denoiser = without_mask(TableDenoiser(30, mask_id=29, seed=3))
    logits = table_logits(denoiser, shifted=True)
    assert compare(denoiser, logits, [[1], [2]], 6, alg="origin", steps=1)


def test_the_shorter_row_of_a_batch_stays_intact():
    """Where the published loop writes the mask over given tokens, ours commits what is open."""
    denoiser = without_mask(TableDenoiser(30, mask_id=29, seed=4))
    logits = table_logits(denoiser, shifted=True)
    prompts = [[1, *[29] * 8], [1, 2, 3, 4, 5, 6, 7, 8, 29]]
    options = {"alg": "entropy", "steps": 2}
    frames = dream(logits, torch.tensor(prompts), mask_id=29, max_new_tokens=1, **options)
    assert (frames[-1][1, :8] == 29).any()
    requests = requests_for(prompts, 1, dream_plan(**options), 29)
    for row, request in zip(our_rows(decode(denoiser, requests)), requests, strict=True):
        assert 29 not in row.tokens
        for token, given, opened in zip(row.tokens, request.tokens, request.open, strict=True):
            assert opened or token == given


# --- T > 0: the same law ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"alg": "entropy", "temperature": 0.7},
        {"alg": "maskgit_plus", "temperature": 0.7, "top_p": 0.9},
        {"alg": "topk_margin", "temperature": 1.3, "top_k": 3},
        {"alg": "entropy", "temperature": 0.8, "top_p": 0.8, "alg_temp": 0.3},
        {"alg": "maskgit_plus", "temperature": 0.0, "alg_temp": 0.2},
        {"alg": "topk_margin", "temperature": 1.0, "alg_temp": 0.4},
        {"alg": "origin", "temperature": 0.0},
        {"alg": "origin", "temperature": 1.2, "top_p": 0.95},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_same_law(options):
    """Chi-square on five views of the outcome (eight tests of five at p > 0.0002): a correct program
    fails one of them for less than 1 % of the seeds, and the seed is fixed."""
    draws, many, canvas, steps = 1500, 8000, 3, 3
    # with this seed the order by entropy at T = 0.7 is another one than at T = 1
    denoiser = without_mask(TableDenoiser(6, mask_id=5, scale=1.0, seed=5))
    logits = table_logits(denoiser, shifted=True)
    frames = dream(
        logits,
        torch.tensor([[1]]).expand(many, 1),
        mask_id=5,
        max_new_tokens=canvas,
        steps=steps,
        **options,
    )
    published = published_rows(frames, 5, [1 + canvas] * many)
    plan = dream_plan(steps=steps, **options)
    requests = [Request.completion("law", [1], canvas, plan, sample=i) for i in range(draws)]
    ours = our_rows(decode(denoiser, requests, capacity=32))
    assert least_p(ours, published) > 0.0002
