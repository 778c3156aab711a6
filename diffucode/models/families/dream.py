"""Dream and DiffuCoder: Qwen2 under full attention, read out one position to the left.

Weight names are Qwen2's own. Source: the published config.json and modeling files of Dream 7B;
``config.json`` is authoritative, the published config *class* defaults describe no released model.
"""

from __future__ import annotations

from typing import Any

from transformers import Qwen2Config, Qwen2ForCausalLM

from diffucode.models.families.spec import Json, Spec, expect, require

MODEL_TYPE = "Dream"
SHAPE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
)
FIXED = {"hidden_act": "silu", "use_sliding_window": False, "use_mrope": False}


def read(config: Json, where: str) -> Spec:
    """The model of a published config.json; raises CheckpointError when it is not determined."""
    require(config, (*SHAPE, "rope_theta"), where)
    expect(config, {**FIXED, "rope_scaling": None}, where)
    stock = Qwen2Config(
        **{name: config[name] for name in SHAPE},
        rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
        hidden_act="silu",
        use_sliding_window=False,
        # An ordinary token here; named as padding, its embedding would get no gradient.
        pad_token_id=None,
    )
    return Spec("dream", Qwen2ForCausalLM, stock, same_name, "diffusion", readout_shift=True)


def same_name(name: str) -> str:
    return name


def write(stock: Any) -> Json:
    """The published config.json of a Qwen2 config."""
    return {
        "architectures": ["DreamModel"],
        "model_type": MODEL_TYPE,
        **{name: getattr(stock, name) for name in SHAPE},
        "rope_theta": stock.rope_parameters["rope_theta"],
        "rope_scaling": None,
        **FIXED,
        "attention_dropout": 0.0,
        "initializer_range": stock.initializer_range,
    }
