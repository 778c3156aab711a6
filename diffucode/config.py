"""Configs: dataclass defaults <- a YAML file <- dotted ``key=value`` overrides, checked strictly.

A config is a frozen dataclass and nothing else. OmegaConf merges and resolves ``${...}``; pydantic
validates the result into the dataclass, so nested dataclasses, tuples, literals and unions picked by a
``kind`` field work. Values are not coerced: ``"3"`` is not an int, ``1`` is not a bool (an int is a
float, a list is a tuple).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from yaml import YAMLError

from diffucode.errors import ConfigError

T = TypeVar("T")


def load(cls: type[T], file: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """An instance of the dataclass ``cls``.

    ``overrides`` are ``key=value`` with dotted keys and YAML values (``model.layers=4``,
    ``order.kind=entropy``, ``stops=[a, b]``). Raises ConfigError on a missing or unreadable file, an
    unknown key or a value of the wrong type.
    """
    return of(cls, _merge(file, overrides), str(file or "config"))


def of(cls: type[T], data: Any, place: str) -> T:
    """An instance of the dataclass ``cls`` from JSON values, as strict as ``load``; ConfigError names
    ``place``."""
    kind: Any = cls  # mypy takes no type for hashable
    try:
        instance: T = _strict(kind).validate_json(json.dumps([data], default=str))[0]
        return instance
    except ValidationError as error:
        raise ConfigError(f"{place}: {_explain(cls, error.errors())}") from None


@cache
def _strict(cls: Any) -> TypeAdapter[list[Any]]:
    # A list around the class, because pydantic takes no config for a bare dataclass; JSON, because in
    # strict mode only JSON turns objects into dataclasses and lists into tuples.
    return TypeAdapter(list[cls], config=ConfigDict(extra="forbid", strict=True))


def dump(instance: Any) -> dict[str, Any]:
    """The resolved config as plain JSON values; loading it gives an equal instance."""
    kind: Any = type(instance)
    data: dict[str, Any] = _plain(kind).dump_python(instance, mode="json")
    return data


@cache
def _plain(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _merge(file: str | Path | None, overrides: Sequence[str]) -> Any:
    for override in overrides:
        if override.find("=") < 1:
            raise ConfigError(f"override {override!r}: expected key=value, as in model.layers=4")
    try:
        merged: Any = OmegaConf.create({}) if file is None else OmegaConf.load(file)
        for override in overrides:
            merged = _overridden(merged, override)
        return OmegaConf.to_container(merged, resolve=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{file}: cannot read the config file ({reason})") from None
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file or 'overrides'}: not a readable config ({reason})") from None


def _overridden(base: Any, override: str) -> Any:
    """The config with ``key=value``. A mapping that names its ``kind`` replaces what stands there: keys of
    another kind are not its own."""
    key, _, _ = override.partition("=")
    given = OmegaConf.from_dotlist([override])
    value: Any = OmegaConf.to_container(given, resolve=False)
    for part in key.split("."):
        value = value[part]
    if isinstance(value, dict) and "kind" in value:
        base = OmegaConf.merge(base, OmegaConf.from_dotlist([f"{key}=null"]))
    return OmegaConf.merge(base, given)


def _explain(cls: type, errors: list[ErrorDetails]) -> str:
    """The first complaint in words. Of a union only the branch whose ``kind`` was meant speaks."""
    kinds = [e for e in errors if e["loc"][-1] == "kind" and e["type"] == "literal_error"]
    refused = {e["loc"][:-1] for e in kinds}
    error = next((e for e in errors if e["loc"][:-1] not in refused), errors[0])
    key, known = _place(cls, error["loc"][1:])
    if error["type"] == "unexpected_keyword_argument":
        *_, name = key.split(".")
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key!r} = {error['input']!r}; {hint}known keys: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key}: a value is required, none came"
    if error["type"] == "value_error":  # raised by the dataclass itself, in its own words
        return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    if error in kinds:
        depth, value = len(error["loc"]), error["input"]
        same = [e for e in kinds if len(e["loc"]) == depth and e["input"] == value]
        expected = " or ".join(e["ctx"]["expected"] for e in same)
    else:
        expected = error["msg"].removeprefix("Input should be ")
    return f"{key}: expected {expected}, got {error['input']!r}"


def _place(cls: Any, loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The dotted key of an error, without the names of union branches, and the keys known there."""
    keys: list[str] = []
    known: list[str] = []
    for part in loc:
        if dataclasses.is_dataclass(cls):
            hints = get_type_hints(cls)
            known = [f.name for f in dataclasses.fields(cls)]
            keys.append(str(part))
            cls = hints.get(str(part))
        else:
            branches = [b for b in get_args(cls) if b is not type(None)]
            named = [b for b in branches if getattr(b, "__name__", None) == part]
            if isinstance(part, int) or not named:
                keys.append(str(part))
            cls = named[0] if named else next(iter(branches), None)
        if len(inner := [b for b in get_args(cls) if b is not type(None)]) == 1:
            cls = inner[0]
    return ".".join(keys), known
