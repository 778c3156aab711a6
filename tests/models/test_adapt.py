"""An AR model as the start of adaptation: the same function at first, a mask token, a layout to save in."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError
from diffucode.models.adapt import adapt
from diffucode.models.families.spec import Usual
from diffucode.models.load import Loaded, load, save, saved_layout
from diffucode.models.toy import tiny_model, tiny_tokenizer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.protocols import Positions

PLAIN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Special tokens of an AR model: ids 256 to 258."""


def stock(folder: Path, family: str = "qwen2", rows: int = 264, **config: Any) -> Path:
    """A random AR model as transformers saves it: nothing in it is ours."""
    model = tiny_model(rows, family=family)
    for name, value in {"eos_token_id": 256, "pad_token_id": 256, **config}.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    tiny_tokenizer(PLAIN).save_pretrained(folder)
    return folder


def logits(loaded: Loaded, tokens: list[int], hidden: list[int], see_LL: Tensor | None) -> Tensor:
    """``[N, V]`` at the hidden positions."""
    opened = [n in hidden for n in range(len(tokens))]
    canvas = Canvas.of([tokens], [opened], [(0, 0)], fill=0)
    rows = torch.zeros(len(hidden), dtype=torch.long).numpy()
    ask = Positions.of(rows, torch.tensor(hidden).numpy())
    with torch.no_grad():
        return loaded.denoiser(canvas, ask, lambda z, _: {"z": z.clone()}, see_LL=see_LL)["z"]


def test_before_attention_opens_it_is_the_model_it_was(tmp_path: Path) -> None:
    before = load(stock(tmp_path / "ar"))
    plain = tiny_model(264)(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0].detach()
    after = adapt(before, "<|mask|>", Usual())
    left = torch.ones(8, 8).tril().bool()
    assert torch.allclose(logits(after, [5, 6, 7, 8, 9], [4], left)[0], plain[3], atol=1e-5)
    shown = [[5, 6, hidden, 8, 9] for hidden in (0, 1)]
    seen = [logits(after, tokens, [2], None) for tokens in shown]
    assert torch.equal(*seen), "what is hidden is not seen"
    assert not torch.allclose(logits(after, [5, 6, 0, 8, 9], [2], left), seen[0], atol=1e-2)
    assert not torch.allclose(logits(after, [5, 6, 0, 7, 9], [2], None), seen[0], atol=1e-2)


def test_a_stock_qwen2_becomes_a_dream(tmp_path: Path) -> None:
    loaded = adapt(load(stock(tmp_path / "ar")), "<|mask|>", Usual(), ["<|beginoftext|>"])
    assert loaded.denoiser.mask_id == 260 and saved_layout(loaded) == "dream"
    save(loaded, tmp_path / "adapted", saved_layout(loaded))
    config = json.loads((tmp_path / "adapted/config.json").read_text())
    assert (config["model_type"], config["mask_token_id"]) == ("Dream", 260)
    assert (config["eos_token_id"], config["pad_token_id"]) == (256, 256)
    assert "sliding_window" not in config and "max_window_layers" not in config
    again = load(tmp_path / "adapted")
    assert (again.family, again.decoder, again.denoiser.mask_id) == ("dream", "diffusion", 260)
    assert again.tokenizer.convert_tokens_to_ids(["<|beginoftext|>", "<|mask|>"]) == [259, 260]
    asked = [5, 6, 0, 8, 0], [2, 4], None
    assert torch.allclose(logits(again, *asked), logits(loaded, *asked), atol=1e-5)


@pytest.mark.parametrize("start", ["llama", "mini-ar"])
def test_others_become_native(tmp_path: Path, start: str) -> None:
    found = load(stock(tmp_path / "ar", "llama") if start == "llama" else start)
    usual = Usual(canvas=16, steps=8, threshold=0.9)
    loaded = adapt(found, "<|mask|>", usual)
    if start == "mini-ar":
        assert loaded.denoiser.mask_id == found.denoiser.mask_id, "it names one already"
    save(loaded, tmp_path / "adapted", saved_layout(loaded))
    again = load(tmp_path / "adapted")
    assert (again.family, again.decoder, again.usual) == ("native", "diffusion", usual)
    assert again.denoiser.readout_shift and again.denoiser.mask_id == loaded.denoiser.mask_id
    config = json.loads((tmp_path / "adapted/config.json").read_text())
    assert config["is_causal"] is False, "transformers' own class attends to both sides, too"


def test_a_mask_may_be_a_token_that_texts_do_not_use(tmp_path: Path) -> None:
    full = stock(tmp_path / "ar", rows=259)
    with pytest.raises(ConfigError, match=r"embedding no row to spare \(259 for 259 tokens\)"):
        adapt(load(full), "<|mask|>", Usual())
    loaded = adapt(load(full), "<|im_start|>", Usual())
    save(loaded, tmp_path / "adapted", saved_layout(loaded))
    assert load(tmp_path / "adapted").denoiser.mask_id == 257


def test_the_pad_learns_like_any_token(tmp_path: Path) -> None:
    """Published models name their end of text as padding, whose embedding gets no gradient."""
    loaded = adapt(load(stock(tmp_path / "ar")), "<|mask|>", Usual())
    canvas = Canvas.of([[5, 256, 0]], [[False, False, True]], [(0, 0)], fill=0)
    one = torch.tensor([0]).numpy()
    found = loaded.denoiser(canvas, Positions.of(one, one + 2), lambda z, _: {"z": z})["z"]
    found.square().sum().backward()
    assert loaded.denoiser.model.get_input_embeddings().weight.grad[256].abs().sum() > 0


@pytest.mark.parametrize("padded", [False, True])
def test_half_open_attention_beside_padding(padded: bool) -> None:
    """Causal by ``see_LL`` is causal by attention; a row alone is the row beside a longer one."""
    full, causal = (
        TransformerDenoiser(
            tiny_model(16), mask_id=15, terminator_ids=(0,), readout_shift=True, attention=kind
        )
        for kind in ("full", "causal")
    )
    loaded = Loaded("tiny", full, None, "native", "diffusion", 0)
    left, tokens = torch.ones(6, 6).tril().bool(), [1, 2, 3, 4]
    canvas = Canvas.of(
        [tokens, [5, 6, 7, 8, 9, 10]] if padded else [tokens],
        [[False, False, True, True], [False] * 5 + [True]] if padded else [[False, False, True, True]],
        [(0, 0), (0, 0)] if padded else [(0, 0)],
        fill=0,
    )  # fmt: skip
    rows = torch.tensor([0, 0])
    ask = Positions.of(rows.numpy(), torch.tensor([2, 3]).numpy())
    with torch.no_grad():
        seen = [
            denoiser(canvas, ask, lambda z, _: {"z": z.clone()}, see_LL=see_LL)["z"]
            for denoiser, see_LL in ((full, left), (causal, None))
        ]
    assert torch.allclose(*seen, atol=1e-5)
    alone = logits(replace(loaded, denoiser=full), tokens, [2, 3], left)
    assert torch.allclose(seen[0], alone, atol=1e-5)
