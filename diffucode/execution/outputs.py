"""What programs return on given inputs: labels by which programs that do the same are one.

    program, inputs ──> sandbox ──> (outcome of input 0, outcome of input 1, ...)   equal: the same behaviour

No expected value is involved, so a vote over labels knows no test.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from diffucode.errors import SandboxError
from diffucode.execution.sandbox import Job, Limits, Returned, Sandbox
from diffucode.execution.values import Undecodable, decode, encode
from diffucode.tasks.extract import parses

DIGITS = 9
"""Of a float that count."""


class Asked(NamedTuple):
    """A program, and what its function is called with."""

    program: str
    entry_point: str
    inputs: Sequence[tuple[Any, ...]]


Label = tuple[Hashable, ...]
"""An outcome for each input, in their order."""


def labels(
    sandbox: Sandbox, asked: Iterable[Asked], limits: Limits | None = None
) -> list[Label | None]:
    """The behaviour of each program; None for one that is not Python or returns nothing on any input.

    Raises SandboxError where the sandbox could not do its work.
    """
    known = list(asked)
    run = [number for number, one in enumerate(known) if parses(one.program)]
    found: dict[int, list[Hashable]] = {number: [] for number in run}
    returns: set[int] = set()

    def receive(job: int, returned: Returned) -> bool:
        outcome = _outcome(returned)
        found[run[job]].append(outcome)
        if returned.status == "returned":
            returns.add(run[job])
        return True

    jobs = (
        Job(
            known[number].program,
            known[number].entry_point,
            [encode(tuple(given)) for given in known[number].inputs],
            limits or Limits(),
        )
        for number in run
    )
    for done in sandbox.run(jobs, receive):
        if done.infrastructure is not None:
            raise SandboxError(f"no outputs of a program: {done.infrastructure}; run it again")
    return [tuple(found[n]) if n in returns else None for n in range(len(known))]


def _outcome(returned: Returned) -> Hashable:
    if returned.status != "returned":
        return returned.status, returned.error if returned.status == "raised" else None
    try:
        return "returned", same(decode(returned.value or b""))
    except Undecodable:
        return "unencodable", None


def same(value: Any) -> Hashable:
    """A key that is equal for values that a test would take for one another, as far as a key can be.

    Numbers by their value (``1 == 1.0 == True``, as Python has it), floats to nine digits; a list is no
    tuple; dictionaries and sets in any order.
    """
    match value:
        case float() if math.isnan(value):
            return "float", "nan"
        case float() if math.isfinite(value):
            return float(f"{value:.{DIGITS - 1}e}")
        case list() | tuple():
            return type(value).__name__, tuple(map(same, value))
        case dict():
            return "dict", frozenset((same(key), same(item)) for key, item in value.items())
        case set() | frozenset():
            return "set", frozenset(map(same, value))
        case bytearray():
            return bytes(value)
        case _:
            hashable: Hashable = value
            return hashable


def fingerprint(label: Label) -> str:
    """A short text for a label: equal for equal ones, in this process and in every other."""
    return hashlib.sha256(_written(label).encode()).hexdigest()[:16]


def _written(value: Hashable) -> str:
    """Text that does not depend on the order of a set, or on how equal numbers are spelt."""
    match value:
        case tuple():
            return f"({','.join(map(_written, value))})"
        case frozenset():
            return f"{{{','.join(sorted(map(_written, value)))}}}"
        case bool() | int():
            return str(int(value))
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return repr(value)
