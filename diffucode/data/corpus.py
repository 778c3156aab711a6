"""Text corpora as files of tokens: made once, then read at any place without reading what stands before.

    documents of the files, in their order          d d d d   d d d   d d d d d d
    tokens.bin                                      d d d d e d d d e d d d d d d e ...
    windows of ``length`` tokens                    └── 0 ──┘└── 1 ──┘└── 2 ──┘

Each document is followed by the end-of-text token e. A window begins and ends wherever it falls, in the
middle of a document, too, and attention crosses documents: that is how DiffuCoder and its ancestors packed
(DiffuLLaMA, LLaDA), and how the AR models they start from did. What is left behind the last whole window is
not read.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffucode.data import rows
from diffucode.errors import ConfigError, TaskError
from diffucode.files import write_atomic

TOKENS, ABOUT = "tokens.bin", "about.json"
AT_ONCE = 256
"""Documents that the tokenizer is given together: it works on them in parallel."""


@dataclass(frozen=True)
class Corpus:
    """A document a row of what ``data.rows`` reads."""

    files: str
    """File or saved folder, or a pattern of them (``stack/*.parquet``), read in the order of their names."""
    text: str = "text"
    """The column with the document."""
    split: str | None = None
    """Of a saved folder that has several."""
    weight: float = 1.0
    """Rows of the mixture, relative to those of the other corpora."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight {self.weight} of {self.files}: expected a number over 0")

    def paths(self) -> list[Path]:
        """The files and folders. Raises TaskError where there are none."""
        if Path(self.files).exists():
            return [Path(self.files)]
        found = sorted(map(Path, glob.glob(self.files, recursive=True)))
        if not found:
            raise TaskError(f"files {self.files}: no such file or folder, and no pattern of any")
        return found


class Tokens(NamedTuple):
    """A corpus, tokenised."""

    token_T: np.ndarray
    """uint16, or uint32 for a larger vocabulary; a window into the file."""
    documents: int
    left_out: dict[str, int]
    """Rows that are no documents, by reason."""


def tokens_of(
    corpus: Corpus,
    tokenizer: Any,
    *,
    end: int,
    mask: int,
    folder: Path,
    seen: Callable[[int], None] = lambda documents: None,
) -> Tokens:
    """The tokens of a corpus, from ``folder`` if an earlier call has left them there.

    They lie under a name made of the corpus' files (names, sizes, times), its columns and the tokenizer,
    so many runs may share a folder. One process at a time may make them; ``seen`` is told how many
    documents were read so far. Raises TaskError on what cannot be read, and where no row is a document.
    """
    paths = corpus.paths()
    place = folder / _name(corpus, paths, tokenizer, end, mask)
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
    if not (place / ABOUT).exists():
        left_out: Counter[str] = Counter()
        found = _documents(corpus, paths, left_out)
        documents = _write(place, _encoded(found, tokenizer, end, mask, left_out), dtype, seen)
        if not documents:
            reasons = "; ".join(f"{n} x {reason}" for reason, n in left_out.most_common())
            raise TaskError(f"{corpus.files}: no document in it; left out: {reasons or 'nothing'}")
        about = {"files": corpus.files, "documents": documents, "left_out": left_out}
        write_atomic(place / ABOUT, json.dumps(about, indent=2) + "\n")
    about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
    token_T = np.memmap(place / TOKENS, dtype=dtype, mode="r")
    return Tokens(token_T, about["documents"], about["left_out"])


def _name(corpus: Corpus, paths: list[Path], tokenizer: Any, end: int, mask: int) -> str:
    found = []
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files]
        found += [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    facts = [found, corpus.text, corpus.split, vocabulary, end, mask]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _documents(corpus: Corpus, paths: list[Path], left_out: Counter[str]) -> Iterator[str]:
    for path in paths:
        for row in rows.read(path, corpus.split):
            if row.fields is None:
                left_out["no JSON object"] += 1
            elif corpus.text not in row.fields:
                beside = ", ".join(map(repr, row.fields))
                left_out[f"no column {corpus.text!r} beside {beside}"] += 1
            elif not isinstance(text := row.fields[corpus.text], str):
                left_out[f"{corpus.text} is no text"] += 1
            elif not text.strip():
                left_out[f"{corpus.text} is blank"] += 1
            else:
                yield text


def _encoded(
    documents: Iterator[str], tokenizer: Any, end: int, mask: int, left_out: Counter[str]
) -> Iterator[list[list[int]]]:
    """Tokens of documents with their ends, many documents at a time."""
    while some := list(islice(documents, AT_ONCE)):
        encoded = tokenizer.backend_tokenizer.encode_batch_fast(some, add_special_tokens=False)
        kept = [[*one.ids, end] for one in encoded if mask not in one.ids]
        if len(kept) < len(some):
            left_out["spells the mask token"] += len(some) - len(kept)
        yield kept


def _write(
    place: Path,
    batches: Iterable[list[list[int]]],
    dtype: type[np.unsignedinteger[Any]],
    seen: Callable[[int], None],
) -> int:
    """The file of tokens, whole or not at all; returns the number of documents."""
    place.mkdir(parents=True, exist_ok=True)
    building, documents = place / f".{TOKENS}", 0
    with building.open("wb") as file:
        for batch in batches:
            for tokens in batch:
                file.write(np.array(tokens, dtype=dtype).tobytes())
            documents += len(batch)
            seen(documents)
        file.flush()
        os.fsync(file.fileno())
    building.replace(place / TOKENS)
    return documents
