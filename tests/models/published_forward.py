"""The published forward passes, written down plainly: one sequence, one matrix at a time.

Nothing here knows transformers or diffucode: only the published weight names, the config.json
fields and the mathematics. Also random checkpoints in the published layouts.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffucode.models.toy import tiny_tokenizer

State = dict[str, Tensor]
Json = dict[str, Any]

DREAM_CONFIG: Json = {
    "architectures": ["DreamModel"],
    "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
    "model_type": "Dream",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000.0,
    "rope_scaling": None,
    "max_position_embeddings": 128,
    "vocab_size": 261,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": None,
    "max_window_layers": 28,
    "use_mrope": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "bos_token_id": 256,
    "eos_token_id": 256,
    "pad_token_id": 256,
    "mask_token_id": 259,
    "torch_dtype": "float32",
    "transformers_version": "4.51.3",
}
LLADA_CONFIG: Json = {
    "architectures": ["LLaDAModelLM"],
    "auto_map": {"AutoModel": "modeling_llada.LLaDAModelLM"},
    "model_type": "llada",
    "d_model": 24,
    "n_heads": 4,
    "n_kv_heads": 4,
    "n_layers": 2,
    "mlp_hidden_size": 40,
    "mlp_ratio": 4,
    "activation_type": "silu",
    "block_type": "llama",
    "block_group_size": 1,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500.0,
    "include_bias": False,
    "include_qkv_bias": False,
    "bias_for_layer_norm": False,
    "attention_layer_norm": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "alibi": False,
    "clip_qkv": None,
    "multi_query_attention": None,
    "weight_tying": False,
    "embedding_size": 261,
    "vocab_size": 261,
    "max_sequence_length": 128,
    "eos_token_id": 256,
    "pad_token_id": 256,
    "mask_token_id": 259,
    "init_fn": "mitchell",
    "precision": "amp_bf16",
    "torch_dtype": "float32",
}


# --- the mathematics -----------------------------------------------------------------------------


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rotate(x_LHd: Tensor, theta: float) -> Tensor:
    """Rotary position: feature i and feature i + d/2 turn together by position * theta^(-2i/d)."""
    length, _, d = x_LHd.shape
    turn = theta ** (-torch.arange(0, d, 2, dtype=torch.float32) / d)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * turn
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x_LHd[..., : d // 2], x_LHd[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, kv_heads: int, theta: float) -> Tensor:
    """Full attention, no mask; several query heads may share a key-value head."""
    length = len(q)
    q = rotate(q.view(length, heads, -1), theta)
    k = rotate(k.view(length, kv_heads, -1), theta).repeat_interleave(heads // kv_heads, 1)
    v = v.view(length, kv_heads, -1).repeat_interleave(heads // kv_heads, 1)
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(length, -1)


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def dream_forward(state: State, config: Json, tokens: list[int]) -> Tensor:
    """Logits ``[L, V]`` of the token *at* each position: Dream reads them one to the left."""
    eps, heads, kv_heads = config["rms_norm_eps"], config["num_attention_heads"], 2
    x = state["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        w = {k.removeprefix(f"model.layers.{i}."): t for k, t in state.items()}
        h = rms_norm(x, w["input_layernorm.weight"], eps)
        q, k, v = (
            h @ w[f"self_attn.{n}_proj.weight"].T + w[f"self_attn.{n}_proj.bias"] for n in "qkv"
        )
        mixed = attend(q, k, v, heads, kv_heads, config["rope_theta"])
        x = x + mixed @ w["self_attn.o_proj.weight"].T
        h = rms_norm(x, w["post_attention_layernorm.weight"], eps)
        gate = silu(h @ w["mlp.gate_proj.weight"].T) * (h @ w["mlp.up_proj.weight"].T)
        x = x + gate @ w["mlp.down_proj.weight"].T
    logits = rms_norm(x, state["model.norm.weight"], eps) @ state["lm_head.weight"].T
    return torch.cat([logits[:1], logits[:-1]])


def llada_forward(state: State, config: Json, tokens: list[int]) -> Tensor:
    """Logits ``[L, V]``, read in place."""
    eps, heads = config["rms_norm_eps"], config["n_heads"]
    x = state["model.transformer.wte.weight"][tokens]
    for i in range(config["n_layers"]):
        w = {k.removeprefix(f"model.transformer.blocks.{i}."): t for k, t in state.items()}
        h = rms_norm(x, w["attn_norm.weight"], eps)
        q, k, v = (h @ w[f"{n}_proj.weight"].T for n in "qkv")
        x = x + attend(q, k, v, heads, heads, config["rope_theta"]) @ w["attn_out.weight"].T
        h = rms_norm(x, w["ff_norm.weight"], eps)
        x = (
            x
            + (silu(h @ w["ff_proj.weight"].T) * (h @ w["up_proj.weight"].T)) @ w["ff_out.weight"].T
        )
    head = "wte" if config["weight_tying"] else "ff_out"
    x = rms_norm(x, state["model.transformer.ln_f.weight"], eps)
    return x @ state[f"model.transformer.{head}.weight"].T


# --- random checkpoints --------------------------------------------------------------------------


def dream_state(config: Json = DREAM_CONFIG, seed: int = 0) -> State:
    d, ff, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kv = d // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, d)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{layer}{norm}.weight"] = (d,)
        for name, width in (("q", d), ("k", kv), ("v", kv)):
            shapes[f"{layer}self_attn.{name}_proj.weight"] = (width, d)
            shapes[f"{layer}self_attn.{name}_proj.bias"] = (width,)
        shapes[f"{layer}self_attn.o_proj.weight"] = (d, d)
        shapes[f"{layer}mlp.gate_proj.weight"] = shapes[f"{layer}mlp.up_proj.weight"] = (ff, d)
        shapes[f"{layer}mlp.down_proj.weight"] = (d, ff)
    shapes["model.norm.weight"] = (d,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, d)
    return _random(shapes, seed)


def llada_state(config: Json = LLADA_CONFIG, seed: int = 0) -> State:
    d, ff, vocab = config["d_model"], config["mlp_hidden_size"], config["embedding_size"]
    shapes: dict[str, tuple[int, ...]] = {"model.transformer.wte.weight": (vocab, d)}
    for i in range(config["n_layers"]):
        block = f"model.transformer.blocks.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "attn_out"):
            shapes[f"{block}{name}.weight"] = (d, d)
        shapes[f"{block}attn_norm.weight"] = shapes[f"{block}ff_norm.weight"] = (d,)
        shapes[f"{block}ff_proj.weight"] = shapes[f"{block}up_proj.weight"] = (ff, d)
        shapes[f"{block}ff_out.weight"] = (d, ff)
    shapes["model.transformer.ln_f.weight"] = (d,)
    if not config["weight_tying"]:
        shapes["model.transformer.ff_out.weight"] = (vocab, d)
    return _random(shapes, seed)


def _random(shapes: dict[str, tuple[int, ...]], seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        norm = len(shape) == 1 and not name.endswith("bias")
        state[name] = 1 + 0.1 * value if norm else 2 * value / shape[-1] ** 0.5
    return state


def write_qwen_tokenizer(folder: Path) -> None:
    """vocab.json, merges.txt and added tokens, under a class that only remote code knows."""
    ids = tiny_tokenizer().get_vocab()
    added = {name: i for name, i in ids.items() if i >= 256}
    (folder / "vocab.json").write_text(json.dumps({n: i for n, i in ids.items() if i < 256}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "added_tokens.json").write_text(json.dumps(added))
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    config = {
        "added_tokens_decoder": {
            str(i): {"content": name, "special": True, **flags} for name, i in added.items()
        },
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "eos_token": "<|endoftext|>",
        "mask_token": "<|mask|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "DreamTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_checkpoint(folder: Path, config: Json, state: State, shards: int = 1) -> Path:
    """A folder as it is published, its weights dealt over ``shards`` files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if config["model_type"] == "Dream":
        write_qwen_tokenizer(folder)
    else:
        tiny_tokenizer().save_pretrained(folder)
    names = sorted(state)
    files = [f"model-{s + 1:05d}-of-{shards:05d}.safetensors" for s in range(shards)]
    if shards == 1:
        files = ["model.safetensors"]
    for s, file in enumerate(files):
        save_file({name: state[name] for name in names[s::shards]}, folder / file)
    if shards > 1:
        weight_map = {name: files[s] for s in range(shards) for name in names[s::shards]}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
