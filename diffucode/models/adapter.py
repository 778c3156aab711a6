"""LoRA adapters in peft's format, merged into the weights when a model is loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from diffucode.errors import CheckpointError
from diffucode.models.checkpoint import opened, read_json
from diffucode.models.lora import peft

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"


def merge_adapter(model: Any, folder: Path) -> Any:
    """``model`` with the adapter's deltas added; raises CheckpointError unless it fits exactly,
    MissingExtra without peft."""
    kind = read_json(folder / CONFIG).get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{folder}: an adapter of kind {kind!r}; expected LORA")
    if not (folder / TENSORS).is_file():
        raise CheckpointError(f"{folder}: no {TENSORS} in it (pickled adapters are not opened)")
    with opened(folder / TENSORS):
        state = load_file(folder / TENSORS)
    options = peft().LoraConfig.from_pretrained(str(folder))
    options.base_model_name_or_path = None  # peft warns that the model has another name
    try:
        with warnings.catch_warnings():
            # peft still reads an attribute of the model that transformers has deprecated.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = peft().get_peft_model(model, options)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder}: the adapter does not fit the model: {error}") from error
    expected = {name: t.shape for name, t in peft().get_peft_model_state_dict(wrapped).items()}
    found = {name: t.shape for name, t in state.items()}
    if expected != found:
        wrong = sorted(dict(expected.items() ^ found.items()))
        raise CheckpointError(
            f"{folder}: the adapter's weights do not fit the model: {len(wrong)} missing, unexpected "
            f"or misshapen, among them {wrong[0]}"
        )
    peft().set_peft_model_state_dict(wrapped, state)
    return wrapped.merge_and_unload(safe_merge=True).eval()
