"""Checkpoint folders: config.json and safetensors, read strictly, written atomically.

Reading plans from the headers alone (kilobytes), so an incomplete or misshapen checkpoint is refused
before any weight is read. Then each shard is opened once and its tensors go straight to their
device: the peak is the weights plus one shard. Pickles are never opened.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffucode.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
SHARD_BYTES = 5_000_000_000

Shapes = Mapping[str, tuple[int, ...]]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises CheckpointError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: no {path.name} in it") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def shard_shapes(folder: Path) -> dict[Path, Shapes]:
    """Names and shapes of the tensors of each shard, from the headers."""
    shards: dict[Path, Shapes] = {}
    for path in _shard_paths(folder):
        with opened(path) as shard:
            shards[path] = {n: tuple(shard.get_slice(n).get_shape()) for n in shard.keys()}  # noqa: SIM118
    return shards


def read_tensors(
    folder: Path, expected: Shapes, device: torch.device | str = "cpu"
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a checkpoint that holds exactly ``expected``, in their stored dtype.

    Raises CheckpointError, before the first one, for missing, extra or misshapen weights.
    """
    shards = shard_shapes(folder)
    _refuse_misfits(folder, expected, shards)
    for path, names in shards.items():
        with opened(path, device) as shard:
            for name in names:
                yield name, shard.get_tensor(name)


@contextmanager
def opened(path: Path, device: torch.device | str = "cpu") -> Iterator[Any]:
    """An open safetensors file; a damaged one raises CheckpointError."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as shard:
            yield shard
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: damaged or incomplete safetensors file ({error}); fetch it again"
        ) from error


def _shard_paths(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        entries = read_json(folder / INDEX).get("weight_map")
        if not isinstance(entries, dict) or not entries:
            raise CheckpointError(f"{folder / INDEX}: no weight_map in it")
        names = sorted(set(map(str, entries.values())))
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise CheckpointError(
                f"{folder}: {INDEX} names shards that are not there: {_some(absent)}"
            )
        return [folder / name for name in names]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{folder}: weights only as pickles ({_some(pickles)}), which can run code when opened; "
            "expected safetensors"
        )
    raise CheckpointError(f"{folder}: neither {SINGLE} nor {INDEX} in it")


def _refuse_misfits(folder: Path, expected: Shapes, shards: dict[Path, Shapes]) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for path, names in shards.items():
        twice = found.keys() & names.keys()
        if twice:
            raise CheckpointError(f"{path}: holds weights of another shard too: {_some(twice)}")
        found.update(names)
    problems = []
    if missing := expected.keys() - found.keys():
        problems.append(f"missing {_some(missing)}")
    if extra := found.keys() - expected.keys():
        problems.append(f"unexpected {_some(extra)}")
    misshapen = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != tuple(shape)
    ]
    if misshapen:
        problems.append(f"misshapen {_some(misshapen)}")
    if problems:
        raise CheckpointError(
            f"{folder}: the weights do not fit its config.json: {'; '.join(problems)} "
            f"({len(found)} found, {len(expected)} expected)"
        )


def _some(names: Any, most: int = 5) -> str:
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears complete or not at all: filled under another name, then renamed."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder}: already exists; checkpoints are not overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield building
        building.chmod(0o755)
        os.replace(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_tensors(
    folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Safetensors files of at most ``shard_bytes`` (but one tensor at least), and their index."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        if groups[-1] and filled + tensor.nbytes > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += tensor.nbytes
    many = len(groups)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = SINGLE if many == 1 else f"model-{number:05d}-of-{many:05d}.safetensors"
        weight_map |= dict.fromkeys(names, file)
        shard = {name: tensors[name].detach().cpu().contiguous() for name in names}
        save_file(shard, folder / file, metadata={"format": "pt"})
    if many > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / INDEX, index)
