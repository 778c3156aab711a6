"""What a gain consists of: which kind of failure became right, and what was lost on the way.

unterminated   the canvas was full before the answer ended
invalid        it ended, and is not Python
wrong          it is Python, and fails a test
right          it passes

gain of pass@1  =  termination + syntax + semantics
                   each: the share that went from its failure to right, minus the share that went back
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

State = Literal["unterminated", "invalid", "wrong", "right"]
Kind = Literal["termination", "syntax", "semantics"]

FAILURE: dict[Kind, State] = {
    "termination": "unterminated",
    "syntax": "invalid",
    "semantics": "wrong",
}


def state(*, right: bool, valid: bool, ended: bool) -> State:
    """Of one answer. What passes is right, however it ended."""
    if right:
        return "right"
    if not ended:
        return "unterminated"
    return "wrong" if valid else "invalid"


def gain(kind: Kind, before: State, after: State) -> int:
    """1 where a failure of this kind became right, -1 where right became one, else 0."""
    failure = FAILURE[kind]
    return (before == failure and after == "right") - (before == "right" and after == failure)


class Moves(NamedTuple):
    """Shares of problems."""

    gained: float
    lost: float


def moves(kind: Kind, before: Sequence[State], after: Sequence[State]) -> Moves:
    """How many went either way. Raises ValueError for sequences of different lengths."""
    steps = [gain(kind, one, other) for one, other in zip(before, after, strict=True)]
    many = max(1, len(steps))
    return Moves(steps.count(1) / many, steps.count(-1) / many)
