"""Policies and truncations inside transformers' generate, on a tiny random Llama."""

import math
from functools import cache

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor

from diffucode.errors import PlanError
from diffucode.models.processors import PolicyProcessor
from diffucode.sampling.temperature import (
    Annealed,
    Constant,
    Linear,
    MirostatV1,
    MirostatV2,
    Regions,
)
from diffucode.sampling.temperature.mirostat import zipf_exponent, zipf_k
from diffucode.sampling.truncation import Truncation

VOCAB, EOS, PAD = 40, 1, 0
PROMPT = torch.tensor([[5, 6, 7], [8, 9, 10]])
PADDED = torch.tensor([[PAD, PAD, 7], [8, 9, 10]])


@cache
def llama():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            initializer_range=0.5,
            pad_token_id=PAD,
            eos_token_id=EOS,
            bos_token_id=None,
        )
        return LlamaForCausalLM(config).eval()


class Watch(LogitsProcessor):
    """Keeps what it is given, unchanged: before a processor the raw scores, after it the result."""

    def __init__(self):
        self.ids, self.scores = [], []

    def __call__(self, input_ids, scores):
        self.ids.append(input_ids)
        self.scores.append(scores.clone())
        return scores


def generate(processors, *, ids=PROMPT, seed=0, tokens=12, **options):
    options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return llama().generate(
            ids,
            attention_mask=(ids != PAD).long(),
            max_new_tokens=tokens,
            logits_processor=processors,
            **options,
        )


def processor(policy, truncation=None, tokens=12):
    return PolicyProcessor(policy, truncation, max_new_tokens=tokens, terminator_ids=[EOS])


@pytest.mark.parametrize(
    ("truncation", "options"),
    [
        (None, {}),
        (Truncation(top_p=0.8), {"top_p": 0.8}),
        (Truncation(top_k=7), {"top_k": 7}),
        (Truncation(min_p=0.1), {"min_p": 0.1}),
        (Truncation(top_k=20, top_p=0.9), {"top_k": 20, "top_p": 0.9}),
    ],
)
@pytest.mark.parametrize("ids", [PROMPT, PADDED], ids=["equal", "left-padded"])
def test_constant_temperature_equals_transformers_own(ids, truncation, options):
    for seed in range(4):
        theirs = generate([], ids=ids, seed=seed, temperature=0.7, **options)
        ours = generate([processor(Constant(0.7), truncation)], ids=ids, seed=seed)
        assert torch.equal(ours, theirs)
    other = generate([processor(Constant(0.7), truncation)], ids=ids, seed=100)
    assert other.shape != ours.shape or not torch.equal(other, ours)


def test_temperature_last_truncates_first():
    watch = Watch()
    last = Truncation(top_p=0.6, temperature_last=True)
    generate([processor(Constant(3.0), last), watch])
    theirs = Watch()
    generate([theirs], top_p=0.6)  # their top-p at temperature 1 runs after the watch
    raw = theirs.scores[0]
    descending, order = raw.softmax(1).sort(descending=True)
    kept = torch.zeros_like(raw, dtype=torch.bool).scatter(
        1, order, descending.cumsum(1) - descending < 0.6
    )
    torch.testing.assert_close(watch.scores[0], (raw / 3).where(kept, -torch.inf))


def test_zero_temperature_is_one_hot_and_greedy():
    watch = Watch()
    cold = generate([processor(Constant(0.0)), watch])
    assert torch.equal(
        cold, generate([], do_sample=False, temperature=None, top_p=None, top_k=None)
    )
    for scores in watch.scores:
        assert (scores == 0).sum(1).tolist() == [1, 1]
        assert (scores == -torch.inf).sum(1).tolist() == [VOCAB - 1] * 2


def test_ties_at_zero_temperature_go_to_the_lowest_id():
    scores = torch.zeros(1, VOCAB)
    out = processor(Constant(0.0))(PROMPT[:1], scores)
    assert out.argmax().item() == 0
    assert (out == 0).sum() == 1


def test_clocks_count_generated_tokens():
    before, after = Watch(), Watch()
    anneal = processor(Annealed(clock="position", d=3, cutoff=2), tokens=8)
    generate([before, anneal, after], ids=PADDED, tokens=8, eos_token_id=None)
    for t, (raw, got) in enumerate(zip(before.scores, after.scores, strict=True)):
        tau = 1.0 if t < 2 else max(2.2 - math.exp(t / 3), 0.1)
        torch.testing.assert_close(got, raw / tau, rtol=1e-5, atol=1e-5)
    before, after = Watch(), Watch()
    generate([before, processor(Linear(1.0, 0.2), tokens=8), after], tokens=8, eos_token_id=None)
    for t, (raw, got) in enumerate(zip(before.scores, after.scores, strict=True)):
        torch.testing.assert_close(got, raw / (1 - 0.8 * t / 8), rtol=1e-5, atol=1e-5)


def test_mirostat_follows_a_hand_loop():
    """mu by hand from the raw scores and the ids: through left padding and past the end of rows."""
    ended = 0
    for seed in range(6):
        before, after = Watch(), Watch()
        target, eta = 2.0, 0.7
        miro = processor(MirostatV2(target=target, eta=eta), tokens=20)
        ids = generate([before, miro, after], ids=PADDED, seed=seed, tokens=20)
        for row in range(2):
            mu, open_ = 2 * target, True
            for t, (raw, got) in enumerate(zip(before.scores, after.scores, strict=True)):
                surprise = -raw[row].log_softmax(0) / math.log(2)
                kept = surprise <= max(mu, surprise.min())
                assert torch.equal(got[row] > -torch.inf, kept), (seed, row, t)
                assert torch.equal(got[row][kept], raw[row][kept])
                token = ids[row, 3 + t]
                if open_:
                    mu = min(max(mu - eta * (surprise[token].item() - target), 0.0), 20.0)
                if open_ and token == EOS:
                    open_, ended = False, ended + 1
    assert ended >= 2  # of 12 rows: the loop has gone past an end


def test_the_terminator_counts_and_the_pads_after_it_do_not():
    scores = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(0))
    scores[:, PAD] = scores[:, EOS] = 0.5
    surprise = -scores.log_softmax(1) / math.log(2)
    miro, ids = processor(MirostatV2(target=2.0, eta=0.1)), PROMPT

    def feed(*tokens):
        nonlocal ids
        ids = torch.cat([ids, torch.tensor(tokens)[:, None]], 1)
        miro(ids, scores)
        return miro._last.state.mu_B.tolist()

    miro(ids, scores)
    s = surprise[0, EOS].item(), surprise[1, 11].item()
    want = [4 - 0.1 * (s[0] - 2), 4 - 0.1 * (s[1] - 2)]
    assert feed(EOS, 11) == pytest.approx(want, abs=1e-5)
    want[1] -= 0.1 * (s[1] - 2)
    assert feed(PAD, 11) == pytest.approx(want, abs=1e-5)
    want[1] -= 0.1 * (surprise[1, PAD].item() - 2)
    assert feed(EOS, PAD) == pytest.approx(want, abs=1e-5)  # an open row may draw the pad id


def test_v1_keeps_its_count():
    before, after = Watch(), Watch()
    generate([before, processor(MirostatV1(target=2.0, pairs=20)), after])
    policy = MirostatV1(target=2.0, pairs=20)
    top = before.scores[0].sort(1, descending=True).values
    k = zipf_k(zipf_exponent(top, policy.pairs), torch.tensor([4.0, 4.0]), VOCAB).round() + 1
    assert (after.scores[0] > -torch.inf).sum(1).tolist() == k.clamp(1, VOCAB).tolist()


def test_a_row_in_a_batch_equals_the_row_alone():
    both, alone = Watch(), Watch()
    generate([processor(MirostatV2(target=2.0)), both], tokens=1)
    generate([processor(MirostatV2(target=2.0)), alone], ids=PROMPT[:1], tokens=1)
    torch.testing.assert_close(both.scores[0][:1], alone.scores[0], rtol=1e-5, atol=1e-5)


def test_a_second_generate_is_refused():
    used = processor(Constant(1.0))
    generate([used])
    with pytest.raises(PlanError, match="new processor for every generate"):
        generate([used])
    short = processor(Constant(1.0), tokens=1)
    generate([short], tokens=1)
    with pytest.raises(PlanError, match="new processor"):
        generate([short], tokens=1)


def test_rows_that_change_their_past_are_refused():
    scores = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(0))
    grown = torch.cat([PROMPT, torch.tensor([[11], [12]])], 1)
    for later in (PROMPT, PROMPT[:, :2], grown.flip(0), grown[:1], grown.repeat(1, 2)):
        used = processor(Constant(1.0))
        used(PROMPT, scores)
        with pytest.raises(PlanError, match="one more column"):
            used(later, scores[: len(later)])
    used = processor(Constant(1.0))
    used(PROMPT, scores)
    used(grown, scores)


@pytest.mark.parametrize("sample", [True, False])
def test_beam_search_is_refused(sample):
    options = {} if sample else {"temperature": None, "top_p": None, "top_k": None}
    with pytest.raises(PlanError, match=r"beam search .* rows are equal"):
        generate([processor(Constant(0.7))], num_beams=3, do_sample=sample, **options)


def test_several_samples_of_one_prompt_are_not_mistaken_for_beams():
    ids = PROMPT[:1]
    theirs = generate([], ids=ids, temperature=0.7, num_return_sequences=4)
    ours = generate([processor(Constant(0.7))], ids=ids, num_return_sequences=4)
    assert torch.equal(ours, theirs)
    assert len({tuple(row) for row in ours.tolist()}) > 1


def test_what_cannot_work_here_is_refused():
    with pytest.raises(PlanError, match="region labels"):
        generate([processor(Regions(Constant(1.0), Constant(0.0)))])
    with pytest.raises(PlanError, match="max_new_tokens is 0"):
        PolicyProcessor(Constant(1.0), max_new_tokens=0, terminator_ids=[EOS])
