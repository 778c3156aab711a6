"""Files with holes to jobs: ``<FILL>`` or ``<FILL:n>``, as many as there are, at the start too.

    def area(r):\\n    return <FILL:4> * r\\n
    g   g   g   g  g  g  g  _ _ _ _  g g g        g given, _ open: one span of n tokens per hole

The given pieces are tokenised one by one, so a hole begins and ends at a token boundary, and the
filled file holds them letter for letter. A hole with given text after it is filled to its last token:
terminators are banned there. A hole at the end of the file may end early, as any completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from diffucode.decoding.engine import Finished
from diffucode.decoding.plan import Request
from diffucode.errors import PromptError
from diffucode.generate.job import Answer, before_any
from diffucode.generate.settings import GenerateConfig, edits, plan
from diffucode.generate.tokenizer import Tokenizer, text_of
from diffucode.sampling.edits import BanInside

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

HOLE = re.compile(r"<FILL(?::(\d+))?>")
DEFAULT_LENGTH = 16
"""Tokens of a ``<FILL>`` without a number, unless ``max_new_tokens`` says otherwise."""


@dataclass(frozen=True)
class Holes:
    """A file taken apart: ``given[0], hole, given[1], ..., given[-1]``."""

    given: tuple[str, ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, text: str, default: int = DEFAULT_LENGTH) -> Holes:
        """Raises PromptError for a text without holes and for a hole of no tokens."""
        given, lengths, at = [], [], 0
        for hole in HOLE.finditer(text):
            given.append(text[at : hole.start()])
            lengths.append(default if hole[1] is None else int(hole[1]))
            at = hole.end()
        if not lengths:
            raise PromptError("no holes in the text; mark them with <FILL> or <FILL:tokens>")
        if min(lengths) < 1:
            raise PromptError("a hole <FILL:0>: expected at least 1 token")
        return cls((*given, text[at:]), tuple(lengths))

    def filled(self, fills: Sequence[str]) -> str:
        """The file with its holes filled."""
        return "".join(a + b for a, b in zip(self.given, (*fills, ""), strict=True))


@dataclass(frozen=True)
class Infill:
    """A file to fill."""

    request: Request
    holes: Holes

    def stopped(self, tokenizer: Tokenizer, beginning: Sequence[int]) -> bool:
        return False

    def read(self, tokenizer: Tokenizer, finished: Finished, terminators: Sequence[int]) -> Answer:
        """Raw tokens are those of all holes; text and program are the whole file."""
        spans, tokens, effective = [], [], 0
        at = 0
        for opened, run in groupby(self.request.open):
            length = len(list(run))
            if opened:
                spans.append(range(at, at + length))
            at += length
        fills = []
        for span in spans:
            written = [i for i in span if finished.trace.step[i] >= 0]
            ids = [int(finished.tokens[i]) for i in written]
            kept = before_any(ids, terminators)
            fills.append(text_of(tokenizer, kept))
            tokens += ids
            effective += len(kept)
        text = self.holes.filled(fills)
        return Answer(tuple(tokens), effective, text, text, False)


def prepare_infill(loaded: Loaded, id: str, text: str, config: GenerateConfig) -> list[Infill]:
    """A job for every sample of the file. Raises PromptError where it does not fit the model."""
    return prepare_holes(
        loaded, id, Holes.of(text, config.max_new_tokens or DEFAULT_LENGTH), config
    )


def prepare_holes(loaded: Loaded, id: str, holes: Holes, config: GenerateConfig) -> list[Infill]:
    """``prepare_infill`` of a file that is taken apart already."""
    tokenizer = loaded.tokenizer
    tokens: list[int] = []
    opened: list[bool] = []

    def put(ids: Sequence[int], is_open: bool) -> None:
        tokens.extend(ids)
        opened.extend([is_open] * len(ids))

    for number, piece in enumerate(holes.given):
        last = number == len(holes.lengths)
        if not (
            last and not piece.strip()
        ):  # a file's last newline does not force a hole to be full
            put(encode_exactly(tokenizer, piece, first=number == 0), False)
        if not last:
            put([0] * holes.lengths[number], True)
    if len(tokens) > (limit := loaded.limit):
        raise PromptError(
            f"{id}: {len(tokens)} tokens, {sum(opened)} of them in holes, are over the model's limit "
            f"of {limit}"
        )
    terminators = loaded.denoiser.terminator_ids
    changes = (*edits(config, tokenizer, terminators), BanInside(terminators))
    chosen = plan(config, sum(opened), changes)
    return [
        Infill(Request(id, tuple(tokens), tuple(opened), chosen, config.seed, sample), holes)
        for sample in range(config.samples)
    ]


def encode_exactly(tokenizer: Tokenizer, piece: str, *, first: bool) -> list[int]:
    """The tokens of a given piece. Raises PromptError where they do not spell it letter for letter."""
    ids = tokenizer.encode(piece, add_special_tokens=False)
    back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if back != piece:
        at = next(
            (i for i, (a, b) in enumerate(zip(piece, back, strict=False)) if a != b), len(back)
        )
        raise PromptError(
            f"the model's tokenizer cannot spell {piece[at : at + 20]!r}; it gives {back[at : at + 20]!r}"
        )
    return tokenizer.encode(piece, add_special_tokens=True) if first else ids
