"""Trace files: traces with the text of their tokens, so that a replay needs no model.

    {"format": "diffucode-trace", "version": 1, "model": NAME,
     "pieces": {TOKEN ID: TEXT, ...}, "terminators": [TOKEN ID, ...], "traces": [TRACE, ...]}

A TRACE is ``decoding.trace.Trace.to_json()`` with a version of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diffucode.decoding.trace import Trace
from diffucode.errors import TraceError
from diffucode.generate.tokenizer import Tokenizer, piece_of

FORMAT = "diffucode-trace"
VERSION = 1


@dataclass(frozen=True)
class TraceFile:
    """What a trace file holds."""

    model: str
    pieces: dict[int, str]
    """Text of every token that occurs."""
    traces: tuple[Trace, ...]
    terminators: tuple[int, ...] = ()
    """Tokens that end an answer; none in a file that does not say."""

    @classmethod
    def of(
        cls,
        model: str,
        tokenizer: Tokenizer,
        traces: Sequence[Trace],
        terminators: Sequence[int] = (),
    ) -> TraceFile:
        """The file of these traces."""
        return cls(model, pieces(tokenizer, traces), tuple(traces), tuple(terminators))

    def dumps(self) -> str:
        """JSON; ``loads`` gives back an equal value."""
        return json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "model": self.model,
                "pieces": {str(token): text for token, text in sorted(self.pieces.items())},
                "terminators": list(self.terminators),
                "traces": [trace.to_json() for trace in self.traces],
            }
        )

    @classmethod
    def loads(cls, text: str, place: str) -> TraceFile:
        """The file in this text; raises TraceError, which names ``place``."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise TraceError(f"{place}: not JSON ({error})") from None
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise TraceError(f"{place}: not a trace file; expected one that --trace wrote")
        if value.get("version") != VERSION:
            raise TraceError(
                f"{place}: trace file version {value.get('version')!r}; this diffucode reads {VERSION}"
            )
        try:
            names = {int(token): str(text) for token, text in value["pieces"].items()}
            traces = tuple(Trace.from_json(trace) for trace in value["traces"])
            ends = tuple(int(token) for token in value.get("terminators", ()))
            return cls(str(value["model"]), names, traces, ends)
        except TraceError as error:
            raise TraceError(f"{place}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TraceError(f"{place}: {type(error).__name__}: {error}") from None


def pieces(tokenizer: Tokenizer, traces: Iterable[Trace]) -> dict[int, str]:
    """The text of every token that the traces hold."""
    ids = {int(token) for trace in traces for token in trace.token}
    return {token: piece_of(tokenizer, token) for token in ids}
