"""Names to models: bundled, installed beside us, a folder, a GGUF file, or a hub id.

::

    name ──find──> folder ──config.json──> Spec ──> skeleton on meta ──shard by shard──> denoiser
                      │                                                                     │
                      └──tokenizer files──> tokenizer ──> mask and terminator ids ──────────┘

No remote code is ever run and no pickle opened, whatever a checkpoint asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.utils import is_flash_attn_2_available

from diffucode.errors import CheckpointError, ConfigError, ModelNotFound
from diffucode.models.adapter import merge_adapter
from diffucode.models.attention import Attention
from diffucode.models.build import finish, parameter_shapes, put, skeleton
from diffucode.models.bundled import SMOLLM2, available, bundled_folder, smollm2_file
from diffucode.models.checkpoint import (
    SHARD_BYTES,
    new_folder,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from diffucode.models.families import dream, llada, native
from diffucode.models.families.spec import Decoder, Json, Spec, Usual
from diffucode.models.families.stock import load_stock
from diffucode.models.specials import mask_token_id, terminator_ids
from diffucode.models.transformer import TransformerDenoiser

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
]


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to decode, with its tokenizer."""

    name: str
    denoiser: TransformerDenoiser
    tokenizer: Any
    family: str
    """``dream``, ``llada``, ``native`` or ``stock``."""
    decoder: Decoder
    """How it is meant to be decoded."""
    parameters: int
    usual: Usual = field(default_factory=Usual)
    """How its checkpoint says that it is meant to be decoded."""
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """config.json as it was found."""

    @property
    def limit(self) -> int:
        """Positions that the model was built for; a very large number where it does not say."""
        config = self.denoiser.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", sys.maxsize))


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: str = "float32",
    attention: str | None = None,
    adapter: str | Path | None = None,
) -> Loaded:
    """Open a model by name.

    ``name``: a bundled model, ``smollm2``, a folder, a ``.gguf`` file or a hub id (``revision`` is a
    hub revision). ``attention`` (``full | causal | block-causal(n)``) overrides the family's own;
    a causal one makes an AR model of the same weights. ``adapter``: a LoRA folder, merged in.
    Raises ModelNotFound, MissingExtra, CheckpointError or ConfigError.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    if attention is not None:
        Attention.parse(attention)
    where, path = torch.device(device), find(str(name), revision)
    if where.type == "cpu":
        where = torch.device("cpu")  # accelerate counts CPUs ("cpu:0"), safetensors does not
    config = {} if path.is_file() else read_json(path / "config.json")
    read = _family(config)
    spec: Spec | None = None
    if read is None:
        model, tokenizer = load_stock(path, where, DTYPES[dtype])
        config = config or model.config.to_dict()
        decoder: Decoder = "ar"
    else:
        spec = read(config, str(path))
        tokenizer = load_tokenizer(path)
        decoder = spec.decoder
    attention = attention or ("full" if decoder == "diffusion" else "causal")
    decoder = "ar" if attention == "causal" else "diffusion"
    if spec is not None:
        implementation = attention_implementation(where, DTYPES[dtype], attention)
        model = _fill(spec, path, where, DTYPES[dtype], implementation)
    if adapter is not None:
        model = merge_adapter(model, Path(adapter))
    mask_id = mask_token_id(config, tokenizer, str(path))
    if mask_id is None and decoder == "diffusion":
        raise CheckpointError(
            f"{path}: neither config.json nor the tokenizer names a mask token, so the model cannot "
            'decode by diffusion; attention="causal" opens it for the AR decoder'
        )
    denoiser = TransformerDenoiser(
        model,
        mask_id=mask_id,
        terminator_ids=terminator_ids(config, tokenizer, pads=decoder == "diffusion"),
        readout_shift=spec.readout_shift if spec else True,
        attention=attention,
    )
    return Loaded(
        name=str(name),
        denoiser=denoiser,
        tokenizer=tokenizer,
        family=spec.family if spec else "stock",
        decoder=decoder,
        parameters=sum(p.numel() for p in denoiser.parameters()),
        usual=spec.usual if spec else Usual(),
        config=MappingProxyType(config),
    )


def find(name: str, revision: str | None = None) -> Path:
    """The folder or ``.gguf`` file a name stands for, fetched from the hub if need be."""
    if (folder := bundled_folder(name)) is not None:
        return folder
    if name == SMOLLM2:
        return smollm2_file()
    path = Path(name).expanduser()
    if (name and path.is_dir()) or (path.is_file() and path.suffix == ".gguf"):
        return path
    names = ", ".join(info.name for info in available())
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"no model {name!r}: expected one of {names}, a folder, or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        # OSError covers "offline and not in the cache" and every kind of broken connection.
        raise ModelNotFound(
            f"no model {name!r}: not one of {names}, not a folder, and the hub gave "
            f"{type(error).__name__} (no such model, no access, or offline)"
        ) from error


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a family's folder: tokenizer.json, or vocab.json + merges.txt (Qwen2's).

    The class a checkpoint names is not asked: the published ones are remote code over these files.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer_class: Any = PreTrainedTokenizerFast
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer_class = Qwen2Tokenizer
    else:
        raise CheckpointError(f"{folder}: neither tokenizer.json nor vocab.json with merges.txt")
    try:
        return tokenizer_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise CheckpointError(f"{folder}: the tokenizer cannot be opened: {error}") from error


def attention_implementation(device: torch.device, dtype: torch.dtype, attention: str) -> str:
    """flash-attn where it is installed and can serve (half precision, CUDA, full attention).

    The others need masks it does not take; torch's own attention runs its flash kernels for them.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    flash = attention == "full" and device.type == "cuda" and half and is_flash_attn_2_available()
    return "flash_attention_2" if flash else "sdpa"


def _family(config: Json) -> Callable[[Json, str], Spec] | None:
    if native.KEY in config:
        return native.read
    return {dream.MODEL_TYPE: dream.read, llada.MODEL_TYPE: llada.read}.get(
        str(config.get("model_type"))
    )


def _fill(
    spec: Spec, folder: Path, device: torch.device, dtype: torch.dtype, implementation: str
) -> Any:
    model = skeleton(spec.model_class, spec.config, implementation)
    shapes = parameter_shapes(model)
    ours = {spec.published(name): name for name in shapes}
    expected = {spec.published(name): tuple(shape) for name, shape in shapes.items()}
    # On a CPU the tensors are windows into the file: a copy outlives it, and is aligned.
    mapped = device.type == "cpu"
    for name, tensor in read_tensors(folder, expected, device):
        put(model, ours[name], tensor.to(dtype, copy=mapped))
    return finish(model, device)


def saved_layout(loaded: Loaded) -> str:
    """The layout that a trained model is saved in: the one it was found in, or ours for a stock model.

    Raises ConfigError for a kind of model that ours cannot hold.
    """
    layout = "native" if loaded.family == "stock" else loaded.family
    kind = loaded.denoiser.model.config.model_type
    if layout == "native" and kind not in native.CLASSES:
        raise ConfigError(
            f"model {loaded.name!r}: a {kind} model cannot be saved; expected one of "
            f"{', '.join(native.CLASSES)}"
        )
    return layout


def save(
    loaded: Loaded,
    folder: str | Path,
    layout: str | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write weights, config and tokenizer in a published layout (default: the family's own).

    The folder appears complete or not at all, and must be new or empty. Raises CheckpointError
    where the model is not one that ``layout`` can hold.
    """
    layout, model = layout or loaded.family, loaded.denoiser.model
    published, config = _publish(loaded, layout)
    state = dict(model.named_parameters())
    tensors = {published(name): state[name] for name in parameter_shapes(model)}
    with new_folder(Path(folder)) as building:
        write_tensors(building, tensors, shard_bytes)
        loaded.tokenizer.save_pretrained(building)
        write_json(building / "config.json", config)


def _publish(loaded: Loaded, layout: str) -> tuple[Callable[[str], str], Json]:
    """How ``layout`` names the weights, and its config.json."""
    denoiser = loaded.denoiser
    stock = denoiser.model.config
    kind, shift = stock.model_type, denoiser.readout_shift
    if layout == "native" and kind in native.CLASSES:
        config = native.write(stock, loaded.decoder, shift, loaded.usual)
        published = dream.same_name
    elif layout == "dream" and kind == "qwen2" and shift:
        config, published = dream.write(stock), dream.same_name
    elif layout == "llada" and kind == "llama" and not shift and not stock.attention_bias:
        config, published = llada.write(stock), llada.published_name
    else:
        raise CheckpointError(
            f"layout {layout!r} cannot hold a {kind} model with readout_shift={shift}; native holds "
            f"{', '.join(native.CLASSES)}, dream shifted qwen2, llada unshifted llama without biases"
        )
    if layout == loaded.family:
        config = {**loaded.config, **config}
    dtype = str(denoiser.model.dtype).removeprefix("torch.")
    config["dtype" if layout == "native" else "torch_dtype"] = dtype
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        config[name] = loaded.config.get(name, getattr(loaded.tokenizer, name))
    config["mask_token_id"] = denoiser.mask_id
    return published, {k: v for k, v in config.items() if v is not None or k in loaded.config}
