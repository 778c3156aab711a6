"""LLaDA: Llama under full attention, read out in place, with weight names of its own.

Source: the published config.json, configuration and modeling files of LLaDA 8B. The config class
defaults (tied weights, theta 10000, no rope) are leftovers of its ancestor, so nothing is guessed.
"""

from __future__ import annotations

import re
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from diffucode.models.families.spec import Json, Spec, expect, require

MODEL_TYPE = "llada"
REQUIRED = (
    "d_model",
    "n_heads",
    "n_layers",
    "mlp_hidden_size",
    "vocab_size",
    "max_sequence_length",
    "rms_norm_eps",
    "rope_theta",
    "weight_tying",
)
STATED = {"block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "rope": True}
"""Must be stated: the class defaults are different."""
FIXED = {
    "alibi": False,
    "attention_layer_norm": False,
    "block_group_size": 1,
    "clip_qkv": None,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_with_affine": True,
    "multi_query_attention": False,
    "rope_full_precision": True,
    "scale_logits": False,
}
"""May be absent: the class defaults agree."""

NAMES = {
    "model.embed_tokens.weight": "model.transformer.wte.weight",
    "model.norm.weight": "model.transformer.ln_f.weight",
    # "ff_out" is the output head here, and the down-projection inside a block.
    "lm_head.weight": "model.transformer.ff_out.weight",
}
BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


def published_name(name: str) -> str:
    """LLaDA's name of a Llama parameter."""
    block = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
    if block is None:
        return NAMES[name]
    return f"model.transformer.blocks.{block[1]}.{BLOCK_NAMES[block[2]]}.weight"


def read(config: Json, where: str) -> Spec:
    """The model of a published config.json; raises CheckpointError when it is not determined."""
    require(config, (*REQUIRED, *STATED), where)
    expect(config, {**STATED, **FIXED}, where)
    stock = LlamaConfig(
        vocab_size=config.get("embedding_size") or config["vocab_size"],
        hidden_size=config["d_model"],
        intermediate_size=config["mlp_hidden_size"],
        num_hidden_layers=config["n_layers"],
        num_attention_heads=config["n_heads"],
        num_key_value_heads=config.get("n_kv_heads") or config["n_heads"],
        max_position_embeddings=config["max_sequence_length"],
        rms_norm_eps=config["rms_norm_eps"],
        tie_word_embeddings=config["weight_tying"],
        rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
        # An ordinary token here; named as padding, its embedding would get no gradient.
        pad_token_id=None,
    )
    return Spec("llada", LlamaForCausalLM, stock, published_name, "diffusion", readout_shift=False)


def write(stock: Any) -> Json:
    """The published config.json of a Llama config."""
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": MODEL_TYPE,
        "d_model": stock.hidden_size,
        "mlp_hidden_size": stock.intermediate_size,
        "n_layers": stock.num_hidden_layers,
        "n_heads": stock.num_attention_heads,
        "n_kv_heads": stock.num_key_value_heads,
        "vocab_size": stock.vocab_size,
        "embedding_size": stock.vocab_size,
        "max_sequence_length": stock.max_position_embeddings,
        "rms_norm_eps": stock.rms_norm_eps,
        "rope_theta": stock.rope_parameters["rope_theta"],
        "weight_tying": stock.tie_word_embeddings,
        **STATED,
        **FIXED,
        "multi_query_attention": None,
    }
