"""Any other causal language model of transformers, opened for the AR path: folders and GGUF files.

transformers itself converts and loads the weights (safetensors or GGUF, never remote code); this
file only refuses what would load incompletely or would not be the function its class computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging as transformers_logging

from diffucode.errors import CheckpointError, MissingExtra


def load_stock(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and tokenizer of a folder in transformers' layout, or of a ``.gguf`` file."""
    gguf = path.suffix == ".gguf"
    if gguf:
        _need_gguf()
        place: dict[str, Any] = {"gguf_file": path.name}
        weights: dict[str, Any] = {"quantization_config": GgufConfig(dequantize=True)}
        folder = path.parent
    else:
        place, weights, folder = {}, {"use_safetensors": True}, path
    try:
        with _quiet():
            model, found = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                device_map={"": device},
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **place,
                **weights,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True, **place
            )
    except Exception as error:  # transformers raises whatever its parsers raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: transformers cannot open it: {first}") from error
    wrong = {kind: sorted(map(str, names)) for kind, names in found.items() if names}
    if wrong:
        raise CheckpointError(f"{path}: weights do not fit {type(model).__name__}: {wrong}")
    model.eval()
    _check_head(model, path)
    return model, tokenizer


def _check_head(model: Any, path: Path) -> None:
    """The denoiser runs body and head apart; refuse a class that does more than that to logits."""
    tokens = torch.arange(4, device=model.device)[None]
    with torch.no_grad():
        whole = model(tokens, use_cache=False).logits
        hidden = model.base_model(tokens, use_cache=False).last_hidden_state
        parts = model.get_output_embeddings()(hidden)
    if not torch.allclose(whole, parts, rtol=1e-3, atol=1e-3):
        raise CheckpointError(
            f"{path}: {type(model).__name__} transforms its logits after the head (scaling or "
            "soft-capping), which is not supported"
        )


def _need_gguf() -> None:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            'reading GGUF files needs the gguf package: pip install "diffucode[gguf]"'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, which would tear the caller's output.

    Some of them ask transformers' switch; the GGUF reader's writes to stderr whatever it says.
    """
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
