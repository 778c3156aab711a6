"""LoRA (Hu et al. 2021): low-rank adapters that are trained in place of the weights.

    linear layer  W x   ──add_lora──>   W x + (alpha / rank) B A x   ──merge_lora──>   (W + ...) x
                                        W is frozen; A random, B zero

The adapters are peft's, put inside the stock model, whose class and names stay what they were; they are
saved in peft's format, which ``load(adapter=...)`` and peft itself read.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffucode.errors import ConfigError, MissingExtra
from diffucode.models.build import put
from diffucode.models.checkpoint import new_folder

NAME = "default"
"""peft's name of the adapter."""


@dataclass(frozen=True)
class Lora:
    """Adapters of the linear layers of the blocks."""

    rank: int = 16
    alpha: float = 32.0
    """The product of the two matrices is multiplied by ``alpha / rank``."""
    targets: tuple[str, ...] = ()
    """Names of the layers that get one (``q_proj``, ...). None named: all linear layers but the head."""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ConfigError(
                f"rank {self.rank}, alpha {self.alpha}: expected a rank of at least 1 and an alpha over 0"
            )


def peft() -> Any:
    """The package; raises MissingExtra without it."""
    try:
        import peft
    except ImportError as error:
        raise MissingExtra(
            'LoRA needs peft, which is not installed: pip install "diffucode[lora]"'
        ) from error
    return peft


def add_lora(model: Any, lora: Lora, seed: int) -> None:
    """Put adapters into a stock model and freeze everything else. What the model says stays the same.

    The adapters are float32, whatever the weights are. Raises ConfigError where ``targets`` names no
    linear layer.
    """
    options = peft().LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets) or _linear(model),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft still reads an attribute of the model that transformers has deprecated.
            warnings.simplefilter("ignore", FutureWarning)
            # On the meta device: peft would draw them from the global generator.
            peft().inject_adapter_in_model(options, model, NAME, low_cpu_mem_usage=True)
    except ValueError as error:
        raise ConfigError(f"lora.targets {list(lora.targets)}: {error}") from error
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            put(model, name, _first(name, parameter.shape, seed).to(model.device))
        else:
            parameter.requires_grad_(False)


def _linear(model: Any) -> list[str]:
    """Last names of the linear layers of a stock model's body."""
    layers = model.base_model.named_modules()
    return sorted({name.split(".")[-1] for name, layer in layers if isinstance(layer, nn.Linear)})


def _first(name: str, shape: torch.Size, seed: int) -> Tensor:
    """Where a matrix starts: A as peft draws it, from a generator of its own; B at zero."""
    value = torch.zeros(shape)
    if ".lora_A." in name:
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest))
        nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=generator)
    return value


def adapted(model: Any) -> dict[str, Any]:
    """The layers that have adapters, by name."""
    layer = peft().tuners.lora.LoraLayer
    return {name: module for name, module in model.named_modules() if isinstance(module, layer)}


def without_lora(model: Any) -> None:
    """Switch the adapters off: the model says what it said before it had them."""
    for layer in adapted(model).values():
        layer.enable_adapters(False)


def merge_lora(model: Any) -> None:
    """Add the adapters to the weights; the stock model is what it was, but for their values."""
    for name, layer in adapted(model).items():
        layer.merge(safe_merge=True, adapter_names=[NAME])
        model.set_submodule(name, layer.get_base_layer())


def save_lora(model: Any, folder: Path, base: str) -> None:
    """Write the adapters of a model named ``base``, as peft does. The folder appears whole or not at all."""
    state = peft().get_peft_model_state_dict(model, adapter_name=NAME)
    tensors = {
        f"base_model.model.{name}": value.detach().cpu().contiguous()
        for name, value in state.items()
    }
    options = model.peft_config[NAME]
    options.base_model_name_or_path = base
    options.inference_mode = True
    with new_folder(folder) as building:
        save_file(tensors, building / "adapter_model.safetensors", metadata={"format": "pt"})
        options.save_pretrained(str(building))
