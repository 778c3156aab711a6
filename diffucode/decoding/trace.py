"""Traces: the record of how a canvas was filled.

A trace is a versioned list of commit events; because a position is written at most once, it has a
dense view, one column per quantity over the row. AR decoding gives the same trace with step equal to
the position in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from diffucode.errors import TraceError

VERSION = 1

FLOATS = (
    "raw_logprob",
    "behaviour_logprob",
    "tau",
    "entropy",
    "tempered_entropy",
    "order_logprob",
)
"""Float32 columns written at commit, in nats: ln p of the unedited model at temperature 1; ln q of
what the token was drawn from; its temperature; the entropies of both before truncation; ln of the
probability that the order chose the position then."""


@dataclass(frozen=True)
class Trace:
    """One row: arrays of length L. ``step`` and ``rank`` are -1, floats 0, where nothing was written.

    ``token`` is the row as it ended; given positions hold the prompt, positions never opened the fill.
    """

    id: str
    sample: int
    seed: int
    start: int
    token: np.ndarray
    given: np.ndarray
    step: np.ndarray
    rank: np.ndarray
    raw_logprob: np.ndarray
    behaviour_logprob: np.ndarray
    tau: np.ndarray
    entropy: np.ndarray
    tempered_entropy: np.ndarray
    order_logprob: np.ndarray

    @property
    def committed(self) -> np.ndarray:
        """Columns in the order they were committed: by step, then rank."""
        columns = np.flatnonzero(self.step >= 0)
        return columns[np.lexsort((self.rank[columns], self.step[columns]))]

    def frame(self, step: int, fill: int) -> np.ndarray:
        """The row after that step: tokens committed later (or never) are ``fill``."""
        known = self.given | ((self.step >= 0) & (self.step <= step))
        return np.where(known, self.token, fill)

    def to_json(self) -> dict[str, Any]:
        """A JSON value; ``from_json`` gives back the identical trace."""
        events = [
            {
                "step": int(self.step[i]),
                "rank": int(self.rank[i]),
                "position": int(i),
                "token": int(self.token[i]),
                **{name: float(getattr(self, name)[i]) for name in FLOATS},
            }
            for i in self.committed
        ]
        never = np.flatnonzero(~self.given & (self.step < 0))
        fill = int(self.token[never[0]]) if len(never) else None
        return {
            "version": VERSION,
            "id": self.id,
            "sample": self.sample,
            "seed": self.seed,
            "start": self.start,
            "length": len(self.token),
            "fill": fill,
            "given": [[int(i), int(self.token[i])] for i in np.flatnonzero(self.given)],
            "events": events,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Trace:
        """The trace of a JSON value; TraceError names what does not fit."""
        try:
            if value["version"] != VERSION:
                raise TraceError(
                    f"trace version {value['version']}: this diffucode reads version {VERSION}"
                )
            length = int(value["length"])
            fill = 0 if value["fill"] is None else int(value["fill"])
            trace = blank(
                value["id"],
                int(value["sample"]),
                int(value["seed"]),
                int(value["start"]),
                length,
                fill,
            )
            for position, token in value["given"]:
                trace.token[position], trace.given[position] = token, True
            for event in value["events"]:
                position = event["position"]
                if trace.given[position] or trace.step[position] >= 0:
                    raise TraceError(
                        f"trace {value['id']!r}: position {position} is written twice; version "
                        f"{VERSION} traces commit a position once"
                    )
                for name in ("token", "step", "rank", *FLOATS):
                    getattr(trace, name)[position] = event[name]
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise TraceError(
                f"not a trace of version {VERSION}: {type(error).__name__}: {error}"
            ) from error
        return trace

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]


def blank(id: str, sample: int, seed: int, start: int, length: int, fill: int) -> Trace:
    """A trace in which nothing is given and nothing committed."""
    floats = {name: np.zeros(length, dtype=np.float32) for name in FLOATS}
    return Trace(
        id=id,
        sample=sample,
        seed=seed,
        start=start,
        token=np.full(length, fill, dtype=np.int64),
        given=np.zeros(length, dtype=bool),
        step=np.full(length, -1, dtype=np.int64),
        rank=np.full(length, -1, dtype=np.int64),
        **floats,
    )
