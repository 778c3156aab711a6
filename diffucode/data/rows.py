"""Rows of a table on disk, one at a time, each with the place where it stands.

    FILE.jsonl, FILE.json, FILE.jsonl.gz    one JSON object a line
    FILE.parquet                            what pyarrow reads
    FOLDER                                  a data set that ``datasets`` saved (``save_to_disk``)

Nothing is held but a batch of rows: a table may be larger than the memory.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from diffucode.errors import TaskError

AT_ONCE = 256
"""Rows of a parquet file that are read together."""


class Row(NamedTuple):
    """One row."""

    place: str
    """The file and the line or row in it, from 1: for people."""
    fields: dict[str, Any] | None
    """None where the line is no JSON object."""


def read(path: Path, split: str | None = None) -> Iterator[Row]:
    """The rows of a file or folder, by what its name says it is.

    ``split`` picks one where ``datasets`` saved several. Raises TaskError on what cannot be read, when
    the first row is asked for or where the reading fails.
    """
    if path.is_dir():
        return _saved(path, split)
    if split is not None:
        raise TaskError(
            f"{path}: split {split!r} is asked of a file; only a saved folder has splits"
        )
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix in (".jsonl", ".json") or path.name.endswith(".jsonl.gz"):
        return _jsonl(path)
    raise TaskError(
        f"{path}: expected a .jsonl, .jsonl.gz or .parquet file or a folder of datasets.save_to_disk"
    )


def _jsonl(path: Path) -> Iterator[Row]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        # newline: strings may hold U+2028 and the like, but never a bare line feed
        with opened(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield Row(f"{path.name}:{number}", _object(line))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read ({error})") from None


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{path.name}:{number}", fields)
    except (OSError, pyarrow.ArrowException) as error:
        raise TaskError(f"{path}: cannot be read as parquet ({error})") from None


def _saved(folder: Path, split: str | None) -> Iterator[Row]:
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise TaskError(f"{folder}: no data set that datasets saved ({error})") from None
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise TaskError(f"{folder}: expected one of its splits {', '.join(found)}, got {split}")
        found = found[split]
    elif split is not None:
        raise TaskError(f"{folder}: split {split!r} is asked of a data set without splits")
    for number, fields in enumerate(found, start=1):
        yield Row(f"{folder.name}:{number}", fields)
