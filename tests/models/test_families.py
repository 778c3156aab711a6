"""Each family's checkpoint opens as the published function, and is written back as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import assert_same, canvas_of, everywhere, first_open, keep, logits
from published_forward import (
    DREAM_CONFIG,
    LLADA_CONFIG,
    Json,
    State,
    dream_forward,
    dream_state,
    llada_forward,
    llada_state,
    write_checkpoint,
)
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from diffucode.errors import CheckpointError
from diffucode.models.families.spec import Usual
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import tiny_model, tiny_tokenizer, tiny_transformer

MASK = 259
ROWS = [[7, 8, -1, 9, -1, 10, 11], [-1, 3, -1], [5, 6, -1, -1, -1]]
FAMILIES = {
    "dream": (DREAM_CONFIG, dream_state, dream_forward),
    "llada": (LLADA_CONFIG, llada_state, llada_forward),
}


def published_logits(forward: Any, state: State, config: Json) -> Tensor:
    """Of every open position of ROWS, row by row."""
    found = []
    for row in ROWS:
        whole = forward(state, config, [MASK if token == -1 else token for token in row])
        found += [whole[p] for p, token in enumerate(row) if token == -1]
    return torch.stack(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_published_ones(family: str, tmp_path: Path) -> None:
    config, make, forward = FAMILIES[family]
    state = make()
    loaded = load(write_checkpoint(tmp_path, config, state))
    expected = published_logits(forward, state, config)
    assert expected.std() > 0.5
    found = logits(loaded.denoiser, canvas_of(ROWS, fill=MASK))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    alone = logits(loaded.denoiser, canvas_of(ROWS[:1], fill=MASK))
    torch.testing.assert_close(alone, expected[:2], rtol=0, atol=1e-5)
    assert (loaded.family, loaded.decoder) == (family, "diffusion")
    assert loaded.parameters == sum(t.numel() for t in state.values())
    assert loaded.denoiser.mask_id == MASK
    assert loaded.denoiser.terminator_ids == (256, 258)  # end of text, end of turn


@pytest.mark.parametrize(
    "family, tied", [("dream", "tie_word_embeddings"), ("llada", "weight_tying")]
)
def test_tied_heads(family: str, tied: str, tmp_path: Path) -> None:
    config, make, forward = FAMILIES[family]
    config = {**config, tied: True}
    state = make(config)
    loaded = load(write_checkpoint(tmp_path / "a", config, state))
    embedding = next(t for name, t in state.items() if "wte" in name or "embed_tokens" in name)
    whole = {**state, "lm_head.weight": embedding}
    expected = published_logits(forward, whole, config)
    found = logits(loaded.denoiser, canvas_of(ROWS, fill=MASK))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert loaded.parameters == sum(t.numel() for t in state.values())
    save(loaded, tmp_path / "b")
    assert load_file(tmp_path / "b" / "model.safetensors").keys() == state.keys()


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_layout_round_trips_bitwise(family: str, shards: int, tmp_path: Path) -> None:
    config, make, _ = FAMILIES[family]
    state = make()
    loaded = load(write_checkpoint(tmp_path / "in", config, state, shards))
    save(loaded, tmp_path / "out", shard_bytes=20_000 if shards > 1 else 1 << 30)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert (len(files) > 1) == (shards > 1)
    assert all(f.stat().st_size < 30_000 for f in files) or shards == 1
    written = {name: t for file in files for name, t in load_file(file).items()}
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == config
    again = load(tmp_path / "out")
    canvas = canvas_of(ROWS, fill=MASK)
    assert_same(logits(again.denoiser, canvas), logits(loaded.denoiser, canvas))
    text = "def f(x):\n    return 'é'<|im_end|>"
    assert again.tokenizer.encode(text) == loaded.tokenizer.encode(text)


def test_the_published_tokenizer_opens_without_its_own_class(tmp_path: Path) -> None:
    tokenizer = load(write_checkpoint(tmp_path, DREAM_CONFIG, dream_state())).tokenizer
    text = "def f(x):\n\treturn x  # é"
    ids = tokenizer.encode(text + "<|mask|><|im_end|>")
    assert ids == [*tiny_tokenizer().encode(text), 259, 258]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_dream_weights_open_causally_too(tmp_path: Path) -> None:
    """The same weights under causal attention are the autoregressive Qwen2 they descend from."""
    state = dream_state()
    loaded = load(write_checkpoint(tmp_path, DREAM_CONFIG, state), attention="causal")
    assert (loaded.family, loaded.decoder, loaded.denoiser.causal) == ("dream", "ar", True)
    config = Qwen2Config(
        vocab_size=261, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, tie_word_embeddings=False,
    )  # fmt: skip
    stock = Qwen2ForCausalLM(config).eval()
    stock.load_state_dict(state)
    canvas = canvas_of([[7, 8, 9, -1, -1], [5, -1, -1]], fill=MASK)
    cache = loaded.denoiser.empty_cache(2)
    with torch.no_grad():
        expected = [stock(torch.tensor([row])).logits[0, -1] for row in ([7, 8, 9], [5])]
        cached = loaded.denoiser(canvas, first_open(canvas), keep, cache=cache)["logits"]
    torch.testing.assert_close(cached, torch.stack(expected), rtol=0, atol=1e-5)
    uncached = logits(loaded.denoiser, canvas, first_open(canvas))
    torch.testing.assert_close(uncached, torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bf16_body_is_close_and_scored_in_float32(family: str, tmp_path: Path) -> None:
    config, make, _ = FAMILIES[family]
    folder = write_checkpoint(tmp_path, config, make())
    half, full = load(folder, dtype="bfloat16").denoiser, load(folder).denoiser
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert half.model.base_model.rotary_emb.inv_freq.dtype == torch.float32
    canvas = canvas_of(ROWS, fill=MASK)
    found, exact = logits(half, canvas), logits(full, canvas)
    assert found.dtype == torch.float32
    # bf16 keeps 8 bits: a relative 2**-9 a rounding, some dozens of them through two layers.
    error = (found - exact).pow(2).mean().sqrt()
    assert 0 < error < 0.05 * exact.std()


def native(name: str = "tiny", **options: Any) -> Loaded:
    denoiser = tiny_transformer(261, mask_id=MASK, **options)
    return Loaded(
        name=name,
        denoiser=denoiser,
        tokenizer=tiny_tokenizer(),
        family="native",
        decoder="ar" if denoiser.causal else "diffusion",
        parameters=sum(p.numel() for p in denoiser.parameters()),
        usual=Usual(canvas=96, steps=48, block_length=16, threshold=0.9),
    )


@pytest.mark.parametrize("causal, shift", [(True, True), (False, True), (False, False)])
def test_native_models_remember_what_they_are(causal: bool, shift: bool, tmp_path: Path) -> None:
    made = native(causal=causal, shift=shift, terminator_ids=(256, 258))
    save(made, tmp_path / "m")
    found = load(tmp_path / "m")
    assert (found.family, found.decoder, found.usual, found.parameters) == (
        "native", made.decoder, made.usual, made.parameters,
    )  # fmt: skip
    assert found.denoiser.readout_shift == shift and found.denoiser.causal == causal
    assert found.denoiser.mask_id == MASK and found.denoiser.terminator_ids == (256, 258)
    canvas = canvas_of(ROWS, fill=MASK)
    assert_same(logits(found.denoiser, canvas), logits(made.denoiser, canvas))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_length", 0),
        ("steps", -8),
        ("canvas", 2.5),
        ("block_length", "8"),
        ("steps", True),
        ("threshold", 0.0),
        ("threshold", 1),
        ("threshold", 1.5),
        ("threshold", "0.9"),
    ],
)
def test_a_usual_decoding_that_cannot_be_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    save(native(), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    config = json.loads(file.read_text())
    config["diffucode"][name] = value
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf'"diffucode": {name} = .*: expected a p'):
        load(tmp_path / "m")


def test_a_bidirectional_checkpoint_opens_causally(tmp_path: Path) -> None:
    """Also when its config.json says, as transformers writes it, that it is not causal."""
    save(native(shift=True), tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "is_causal": False}))
    found = load(tmp_path / "m", attention="causal").denoiser
    causal = tiny_transformer(261, mask_id=MASK, causal=True)
    canvas = canvas_of([[7, 8, 9, -1]], fill=MASK)
    assert_same(logits(found, canvas), logits(causal, canvas))


def test_layouts_hold_only_what_they_can(tmp_path: Path) -> None:
    shifted, plain = native(shift=True), native(shift=False, family="llama")
    for made, layout in ((shifted, "dream"), (plain, "llada")):
        save(made, tmp_path / layout, layout)
        found = load(tmp_path / layout)
        assert found.family == layout
        canvas = canvas_of(ROWS, fill=MASK)
        assert_same(logits(found.denoiser, canvas), logits(made.denoiser, canvas))
    for made, layout in ((shifted, "llada"), (plain, "dream"), (native(), "dream"), (plain, "x")):
        with pytest.raises(ValueError, match=f"layout '{layout}' cannot hold"):
            save(made, tmp_path / "no", layout)
    assert not (tmp_path / "no").exists()


def test_gradients_reach_every_loaded_weight(tmp_path: Path) -> None:
    denoiser = load(write_checkpoint(tmp_path, DREAM_CONFIG, dream_state())).denoiser
    canvas = canvas_of(ROWS, fill=MASK)
    tree = denoiser(canvas, everywhere(canvas), lambda z, _: {"logp": z.log_softmax(1)[:, 4]})
    tree["logp"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in denoiser.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_pads_are_trained_like_any_token(family: str, tmp_path: Path) -> None:
    config, make, _ = FAMILIES[family]
    denoiser = load(write_checkpoint(tmp_path, config, make())).denoiser
    canvas = canvas_of([[7, -1, 256]], fill=MASK)
    denoiser(canvas, everywhere(canvas), keep)["logits"].sum().backward()
    gradient = denoiser.model.get_input_embeddings().weight.grad
    assert gradient is not None and gradient[256].abs().sum() > 0


def test_a_stock_model_opens_for_the_ar_path(tmp_path: Path) -> None:
    model = tiny_model(261)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.family, loaded.decoder, loaded.usual) == ("stock", "ar", Usual())
    canvas = canvas_of([[7, 8, 9, -1, -1], [5, -1, -1]], fill=MASK)
    with torch.no_grad():
        expected = [model(torch.tensor([row])).logits[0, -1] for row in ([7, 8, 9], [5])]
    found = logits(loaded.denoiser, canvas, first_open(canvas))
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)
    assert loaded.denoiser.terminator_ids == (256, 258)
    adapted = load(tmp_path, attention="full")  # where an AR model's adaptation to diffusion begins
    assert adapted.decoder == "diffusion" and adapted.denoiser.readout_shift
