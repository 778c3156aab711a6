"""Tokenised examples, one after another in flat arrays, prompt before answer."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

REGIONS = ("text", "code")
"""Names of the regions, in the order of their numbers."""


class Example(Protocol):
    """A text to learn from; ``minicode.examples`` makes them."""

    @property
    def prompt(self) -> str: ...

    @property
    def response(self) -> str: ...

    @property
    def form(self) -> str: ...

    @property
    def regions(self) -> Sequence[tuple[int, int, str]]:
        """``(start, end, name)`` over the characters of prompt + response; elsewhere it is code."""


@dataclass(frozen=True)
class Packed:
    """``n`` examples of ``T`` tokens in all."""

    token_T: np.ndarray
    """uint16, or uint32 for a larger vocabulary."""
    region_T: np.ndarray
    """int8, an index into ``REGIONS``; empty where nobody asked."""
    prompt_n: np.ndarray
    answer_n: np.ndarray
    """Tokens of each prompt and answer."""
    canvas_n: np.ndarray
    """Most positions that the answer may be given; more than ``answer_n``."""
    start_n: np.ndarray
    """Where each example begins."""

    def __len__(self) -> int:
        return len(self.prompt_n)

    def row(self, n: int) -> np.ndarray:
        """Tokens of a prompt and its answer, int64."""
        start, length = self.start_n[n], self.prompt_n[n] + self.answer_n[n]
        return self.token_T[start : start + length].astype(np.int64)

    def dump(self) -> bytes:
        """An npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        return buffer.getvalue()

    @classmethod
    def load(cls, file: Path) -> Packed:
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**arrays)


def pack(
    examples: Iterable[Example], tokenizer: Any, canvas: Mapping[str, int], other: int, longest: int
) -> tuple[Packed, Counter[str]]:
    """Tokenise; an example that does not fit is left out, and counted under its form.

    ``canvas`` maps a form to the positions its answers are given (``other`` where it does not say): an
    answer needs one fewer, for the end. ``longest`` bounds prompt and canvas together.
    """
    dropped: Counter[str] = Counter()
    tokens, regions, sizes = [], [], []
    for example in examples:
        room = canvas.get(example.form, other)
        prompt = tokenizer.backend_tokenizer.encode(example.prompt)
        answer = tokenizer.backend_tokenizer.encode(example.response)
        if len(answer) >= room or len(prompt) + room > longest:
            dropped[example.form] += 1
            continue
        tokens.append(np.array(prompt.ids + answer.ids, dtype=np.uint16))
        begins = [start for start, _ in prompt.offsets]
        begins += [len(example.prompt) + start for start, _ in answer.offsets]
        regions.append(region_of(begins, example.regions))
        sizes.append((len(prompt), len(answer), room))
    return _packed(tokens, regions, sizes, np.uint16), dropped


def pack_ids(rows: Iterable[tuple[Sequence[int], Sequence[int], int]]) -> Packed:
    """Prompts and answers that are tokens already, each with the positions that its answer may be given."""
    tokens, sizes = [], []
    for prompt, answer, room in rows:
        tokens.append(np.array([*prompt, *answer], dtype=np.uint32))
        sizes.append((len(prompt), len(answer), room))
    return _packed(tokens, [], sizes, np.uint32)


def _packed(
    tokens: list[np.ndarray],
    regions: list[np.ndarray],
    sizes: list[tuple[int, int, int]],
    dtype: type[np.unsignedinteger[Any]],
) -> Packed:
    prompt_n, answer_n, canvas_n = np.array(sizes, dtype=np.int64).reshape(-1, 3).T
    start_n = np.cumsum(prompt_n + answer_n) - prompt_n - answer_n
    none = [np.empty(0)]
    return Packed(
        np.concatenate(tokens or none).astype(dtype),
        np.concatenate(regions or none).astype(np.int8),
        prompt_n,
        answer_n,
        canvas_n,
        start_n,
    )


def region_of(begins: Sequence[int], spans: Iterable[tuple[int, int, str]]) -> np.ndarray:
    """The region in which each token begins, by the character it begins with, ``[T]`` int8."""
    begin_T = np.asarray(begins, dtype=np.int64)
    region_T = np.full(len(begin_T), REGIONS.index("code"), dtype=np.int8)
    for start, end, name in spans:
        region_T[(start <= begin_T) & (begin_T < end)] = REGIONS.index(name)
    return region_T
