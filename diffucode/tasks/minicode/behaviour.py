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
    return [_outcome(call, given) for given in _copies(inputs)]


def agree(call: Callable[..., Any], inputs: Iterable[tuple[Any, ...]], wanted: list[Any]) -> bool:
    """Whether ``outcomes`` are those; ends at the first other one."""
    return all(
        _outcome(call, given) == value for given, value in zip(_copies(inputs), wanted, strict=True)
    )


def _copies(inputs: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    copies: tuple[tuple[Any, ...], ...] = marshal.loads(marshal.dumps(tuple(inputs)))
    return copies  # ten times faster than deepcopy


def _outcome(call: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    try:
        return call(*given)
    except Exception:
        return FAILED


def digest(values: list[Any]) -> str:
    """A short name for a list of outcomes, types included; dicts and sets without their order."""
    return hashlib.sha256(repr([_ordered(v) for v in values]).encode()).hexdigest()[:16]


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return "dict", sorted(map(repr, value.items()))
    return ("set", sorted(map(repr, value))) if isinstance(value, set) else value
