"""Finished models into the package, as long as it stays small."""

from __future__ import annotations

import shutil
from pathlib import Path

from diffucode.errors import CheckpointError
from diffucode.models.checkpoint import new_folder

BYTES = 25_000_000
"""All bundled models together stay under it."""


def ship(source: Path, target: Path) -> None:
    """Copy a finished model over the one in the package.

    Raises CheckpointError where there is none, or the models beside ``target`` and it are too large.
    """
    if not source.is_dir():
        raise CheckpointError(f"{source}: no finished model; train it first")
    total = weight_of(target.parent) - weight_of(target) + weight_of(source)
    if total >= BYTES:
        raise CheckpointError(
            f"{target.parent}: {total} bytes with {target.name}, not under the {BYTES} of the package; "
            "ship a smaller model or fewer"
        )
    shutil.rmtree(target, ignore_errors=True)
    with new_folder(target) as building:
        shutil.copytree(source, building, dirs_exist_ok=True)


def weight_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
