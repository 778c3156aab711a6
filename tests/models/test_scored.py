"""Training's forward pass against the whole one of transformers, and the opening of attention."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from diffucode.data.batches import annealed
from diffucode.models.scored import hidden_at

CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("attention", ["full", "causal", "drawn"])
def test_hidden_states_and_gradients_are_those_of_the_whole_forward(
    kind: str, attention: str
) -> None:
    config_class, model_class = CLASSES[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(
            config_class(
                vocab_size=40,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=3,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
        )
        tokens_BL = torch.randint(0, 40, (3, 9))
    real_BL = torch.arange(9) < torch.tensor([9, 6, 8])[:, None]
    row_N, col_N = torch.tensor([0, 1, 1, 2]), torch.tensor([8, 0, 5, 3])
    causal = attention == "causal"
    see_LL = annealed(12, 0.4, seed=1, step=2) if attention == "drawn" else None

    inner_LL = torch.ones(9, 9).tril().bool() if causal else torch.ones(9, 9).bool()
    if see_LL is not None:
        inner_LL = see_LL[:9, :9]
    allowed = inner_LL & real_BL[:, None, None, :]
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    whole = model.model(input_ids=tokens_BL, attention_mask=mask).last_hidden_state
    part = hidden_at(model, tokens_BL, real_BL, row_N, col_N, causal=causal, see_LL=see_LL)
    torch.testing.assert_close(part, whole[row_N, col_N], atol=1e-6, rtol=1e-5)

    weights = torch.linspace(-1, 1, part.numel()).reshape(part.shape)
    named = dict(model.model.named_parameters())
    grads = [
        torch.autograd.grad((hidden * weights).sum(), list(named.values()))
        for hidden in (whole[row_N, col_N], part)
    ]
    for name, one, two in zip(named, *grads, strict=True):
        # relative to the whole: gradients of 0.02-sized embeddings are large sums that nearly cancel
        largest = one.abs().max().item()
        torch.testing.assert_close(two, one, atol=1e-6 + 1e-5 * largest, rtol=1e-4, msg=name)


def test_bfloat16_gradients_are_those_of_float32_within_rounding() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=40,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=16,
        )
        model = Qwen3ForCausalLM(config)
        tokens_BL = torch.randint(0, 40, (6, 24))
    real_BL = torch.arange(24) < torch.tensor([24, 16, 18, 24, 20, 9])[:, None]
    row_N, col_N = real_BL.nonzero(as_tuple=True)
    parameters = list(model.model.parameters())
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        hidden = hidden_at(model, tokens_BL, real_BL, row_N, col_N, dtype=dtype)
        assert hidden.dtype is dtype
        weights = torch.linspace(-1, 1, hidden.numel()).reshape(hidden.shape)
        grads.append(torch.autograd.grad((hidden * weights).sum(), parameters))
    for one, two in zip(*grads, strict=True):
        assert two.dtype is torch.float32
        assert 0 < (two - one).norm() < 0.03 * one.norm()


def test_attention_opens_from_causal_to_full() -> None:
    left = torch.ones(40, 40).tril().bool()
    assert torch.equal(annealed(40, 0.0, 0, 0), left)
    assert annealed(40, 1.0, 0, 0).all()
    half = annealed(40, 0.5, 0, 0)
    assert half[left].all()
    assert half[~left].float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 780**0.5)
    assert torch.equal(half, annealed(40, 0.5, 0, 0))
    assert not torch.equal(half, annealed(40, 0.5, 0, 1))
    assert not torch.equal(half, annealed(40, 0.5, 1, 0))
