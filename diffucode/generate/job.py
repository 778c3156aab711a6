"""A request together with how its tokens are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from diffucode.decoding.engine import Finished
from diffucode.decoding.plan import Request
from diffucode.generate.tokenizer import Tokenizer


class Answer(NamedTuple):
    """What a row came to. Text, program and raw tokens are kept apart."""

    tokens: tuple[int, ...]
    """Raw ids."""
    effective: int
    """How many of them precede the first terminator."""
    text: str
    program: str
    stopped: bool
    """Whether a stop string ended the text."""


class Job(Protocol):
    @property
    def request(self) -> Request: ...

    def stopped(self, tokenizer: Tokenizer, beginning: Sequence[int]) -> bool:
        """Whether the row may end: its answer's beginning, gapless so far, holds a stop string."""

    def read(
        self, tokenizer: Tokenizer, finished: Finished, terminators: Sequence[int]
    ) -> Answer: ...


def before_any(tokens: Sequence[int] | np.ndarray, ends: Sequence[int]) -> list[int]:
    """The tokens before the first of these."""
    found = np.append(np.isin(tokens, ends), True)
    return [int(token) for token in tokens[: int(found.argmax())]]
