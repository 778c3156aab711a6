"""diffucode's own models: a stock layout plus a ``diffucode`` entry in config.json.

::

    {"model_type": "qwen3", ..., "mask_token_id": 3,
     "diffucode": {"family": "native", "decoder": "diffusion", "readout_shift": false,
                   "canvas": 128, "steps": 64, "block_length": 8,
                   "threshold": 0.95}}

Names and values of the rest are transformers' own, so the stock class opens the folder as well.
From ``canvas`` on (how it is decoded where nothing else is asked; see ``Usual``) all may be null or absent.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from diffucode.errors import CheckpointError
from diffucode.models.families.dream import same_name
from diffucode.models.families.spec import Decoder, Json, Spec, Usual, require

KEY = "diffucode"
CLASSES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
USUAL = tuple(field.name for field in fields(Usual))
REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
)


def read(config: Json, where: str) -> Spec:
    """The model of a native config.json; raises CheckpointError when it is not determined."""
    ours, kind = config[KEY], config.get("model_type")
    if not isinstance(ours, dict) or ours.get("family") != "native":
        raise CheckpointError(
            f'{where}: config.json states "{KEY}": {ours!r}; expected a native one'
        )
    if kind not in CLASSES:
        raise CheckpointError(
            f"{where}: config.json states model_type = {kind!r}; native models are one of "
            f"{', '.join(CLASSES)}"
        )
    require(config, REQUIRED, where)
    require(ours, ("decoder", "readout_shift"), f'{where}, "{KEY}"')
    if ours["decoder"] not in ("diffusion", "ar"):
        raise CheckpointError(
            f"{where}: config.json states decoder = {ours['decoder']!r}; expected diffusion or ar"
        )
    require(config["rope_parameters"], ("rope_theta",), where)
    config_class, model_class = CLASSES[kind]
    # The pad is an ordinary token here; named as padding, its embedding would get no gradient.
    stock = config_class.from_dict(
        {k: v for k, v in config.items() if k != KEY} | {"pad_token_id": None}
    )
    return Spec(
        "native",
        model_class,
        stock,
        same_name,
        ours["decoder"],
        readout_shift=bool(ours["readout_shift"]),
        usual=_usual(ours, where),
    )


def _usual(ours: Json, where: str) -> Usual:
    try:
        return Usual(**{name: ours.get(name) for name in USUAL})
    except CheckpointError as error:
        raise CheckpointError(f'{where}: config.json, "{KEY}": {error}') from None


def write(stock: Any, decoder: Decoder, readout_shift: bool, usual: Usual) -> Json:
    """The native config.json of a stock config."""
    config: Json = stock.to_dict()
    for runtime in ("is_causal", "_name_or_path", "_attn_implementation"):
        config.pop(runtime, None)
    config[KEY] = {
        "family": "native",
        "decoder": decoder,
        "readout_shift": readout_shift,
        **asdict(usual),
    }
    return config
