"""The model that a config names, opened for the decoder that it names."""

from __future__ import annotations

import torch

from diffucode.decoding.engine import Decoder
from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.models.load import Loaded, load

DIFFUSION_ONLY = ("order", "order_temperature", "steps", "schedule", "block_length", "compat")


def open_model(config: GenerateConfig) -> tuple[Loaded, Decoder]:
    """Load the model and settle the decoder. Raises ConfigError for what the decoder does not have."""
    loaded = load(
        config.model,
        revision=config.revision,
        device=device_of(config.device),
        dtype=config.dtype,
        attention="causal" if config.decoder == "ar" else None,
    )
    return loaded, decoder_of(loaded, config)


def decoder_of(loaded: Loaded, config: GenerateConfig) -> Decoder:
    """``auto`` resolved: what the model was made for."""
    decoder: Decoder = loaded.decoder if config.decoder == "auto" else config.decoder
    if decoder == "diffusion" and loaded.denoiser.mask_id is None:
        raise ConfigError(
            f"decoder diffusion: {loaded.name} has no mask token, it is autoregressive; use ar"
        )
    if decoder == "ar":
        plain = GenerateConfig()
        for name in DIFFUSION_ONLY:
            if getattr(config, name) != getattr(plain, name):
                raise ConfigError(
                    f"{name} {getattr(config, name)!r}: {loaded.name} decodes from left to right, "
                    "one token a step; this belongs to diffusion decoding"
                )
    return decoder


def device_of(name: str) -> str:
    """``auto``: the first GPU if there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch {torch.__version__} sees no GPU here; use cpu")
    return name
