"""Running the generator's own code: what a composition computes, without a sandbox.

Only text that ``lower`` wrote (and edits of it by ``mutants``) runs here, never anything a model wrote.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Iterable
from typing import Any

FAILED = "failed"
"""Stands for an exception in a list of outcomes; no problem returns this string."""


def function(program: str, name: str) -> Callable[..., Any]:
    """The function that a program of the generator defines."""
    namespace: dict[str, Any] = {}
    exec(compile(program, "<minicode>", "exec"), namespace)
    found: Callable[..., Any] = namespace[name]
    return found


def outcomes(call: Callable[..., Any], inputs: Iterable[tuple[Any, ...]]) -> list[Any]:
    """The value for each input, or ``FAILED``. Inputs are copied: a call may change its arguments."""
    found: list[Any] = []
    for given in marshal.loads(marshal.dumps(tuple(inputs))):  # ten times faster than deepcopy
        try:
            found.append(call(*given))
        except Exception:
            found.append(FAILED)
    return found


def digest(values: list[Any]) -> str:
    """A short name for a list of outcomes, types included; dicts and sets without their order."""
    return hashlib.sha256(repr([_ordered(v) for v in values]).encode()).hexdigest()[:16]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return "dict", sorted(map(repr, value.items()))
    return ("set", sorted(map(repr, value))) if isinstance(value, set) else value
