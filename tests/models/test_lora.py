"""Adapters: they change nothing at first, come from their seed, merge, are saved, and are peft's."""

import sys
from pathlib import Path

import pytest
import torch

from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError, MissingExtra
from diffucode.models.load import Loaded, load, save
from diffucode.models.lora import Lora, adapted, add_lora, merge_lora, save_lora, without_lora
from diffucode.models.replica import hollow, replica
from diffucode.models.toy import tiny_model, tiny_tokenizer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.protocols import Positions

LORA = Lora(rank=2, alpha=6.0)


def tiny(*, tied: bool = True, family: str = "qwen2") -> TransformerDenoiser:
    tokenizer = tiny_tokenizer()
    return TransformerDenoiser(
        tiny_model(264, tied=tied, family=family),
        mask_id=tokenizer.mask_token_id,
        terminator_ids=(tokenizer.eos_token_id,),
        readout_shift=family == "qwen2",
    )


def logits(denoiser: TransformerDenoiser) -> torch.Tensor:
    canvas = Canvas.of([[7, 8, 9, 1]], [[False, True, False, True]], [(0, 0)], fill=259)
    row, col = torch.tensor([0, 0]), torch.tensor([1, 3])
    ask = Positions.of(row.numpy(), col.numpy())
    with torch.no_grad():
        return denoiser(canvas, ask, lambda logits_nV, _: {"logits": logits_nV.clone()})["logits"]


def trained(denoiser: TransformerDenoiser) -> None:
    """Something in every B."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in denoiser.named_parameters():
        if ".lora_B." in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def test_adapters_start_at_nothing_and_freeze_the_rest() -> None:
    denoiser = tiny()
    before, state = logits(denoiser), torch.get_rng_state()
    add_lora(denoiser.model, LORA, seed=0)
    assert torch.equal(torch.get_rng_state(), state), "no global generator is drawn from"
    assert torch.equal(logits(denoiser), before)
    free = {name for name, p in denoiser.named_parameters() if p.requires_grad}
    assert free and all(".lora_" in name for name in free)
    assert len(adapted(denoiser.model)) == 2 * 7, "all linear layers of two blocks, not the head"
    values = dict(denoiser.named_parameters())
    first = [values[name] for name in sorted(free) if ".lora_A." in name]
    for value in first:  # kaiming_uniform(a = sqrt 5): up to 1 / sqrt(inputs)
        assert 0.8 < value.abs().max() * value.shape[1] ** 0.5 <= 1
    assert not any(values[name].any() for name in free if ".lora_B." in name)
    assert not torch.equal(first[0], first[1][:, :32]), "each has a generator of its own"


def test_adapters_are_of_their_seed() -> None:
    def values(seed: int) -> list[torch.Tensor]:
        denoiser = tiny()
        add_lora(denoiser.model, LORA, seed)
        return [p.detach() for n, p in denoiser.named_parameters() if ".lora_A." in n]

    one, same, other = values(1), values(1), values(2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_merged_saved_and_loaded_adapters_say_the_same(family: str, tmp_path: Path) -> None:
    denoiser, layout = tiny(family=family), {"qwen2": "dream", "llama": "llada"}[family]
    loaded = Loaded("tiny", denoiser, tiny_tokenizer(), layout, "diffusion", 0)
    save(loaded, tmp_path / "base")
    plain = logits(denoiser)
    add_lora(denoiser.model, Lora(rank=2, alpha=6.0, targets=("q_proj", "down_proj")), seed=0)
    trained(denoiser)
    apart = logits(denoiser)
    assert (apart - plain).abs().max() > 0.01
    save_lora(denoiser.model, tmp_path / "adapter", "tiny")
    again = load(tmp_path / "base", adapter=tmp_path / "adapter").denoiser
    torch.testing.assert_close(logits(again), apart, rtol=1e-5, atol=1e-5)
    merge_lora(denoiser.model)
    assert not adapted(denoiser.model)
    save(loaded, tmp_path / "merged")
    merged = load(tmp_path / "merged").denoiser
    torch.testing.assert_close(logits(merged), apart, rtol=1e-5, atol=1e-5)


def test_switched_off_a_copy_says_what_the_model_said_first() -> None:
    denoiser = tiny()
    before = logits(denoiser)
    add_lora(denoiser.model, LORA, seed=0)
    trained(denoiser)
    apart = logits(denoiser)
    base = replica(denoiser, lambda p: p)
    without_lora(base.model)
    assert torch.equal(logits(base), before)
    assert torch.equal(logits(denoiser), apart), "the trained one keeps its adapters"


def test_a_copy_shares_what_it_is_given_and_keeps_the_tie() -> None:
    denoiser = tiny()
    shared = replica(denoiser, lambda p: p)
    for one, two in zip(denoiser.parameters(), shared.parameters(), strict=True):
        assert one.data_ptr() == two.data_ptr() and one is not two and not two.requires_grad
    empty = hollow(denoiser)
    assert all(p.is_meta for p in empty.parameters())
    values = iter(list(denoiser.parameters()))
    filled = replica(empty, lambda _: next(values) * 2)
    assert filled.model.lm_head.weight is filled.model.model.embed_tokens.weight
    assert not torch.equal(logits(filled), logits(denoiser))
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.mul_(2)
    assert torch.equal(logits(filled), logits(denoiser))


def test_what_cannot_be_adapted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"lora.targets \['nope'\]: .*nope"):
        add_lora(tiny().model, Lora(targets=("nope",)), seed=0)
    with pytest.raises(ConfigError, match="rank 0"):
        Lora(rank=0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"diffucode\[lora\]"):
        add_lora(tiny().model, LORA, seed=0)
