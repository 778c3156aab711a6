"""What a body asks for: OpenAI's fields in our words, and ours beside them, checked as ``generate`` checks.

    temperature, top_p, seed      the same fields of GenerateConfig
    n, stop, logit_bias           samples, stop, logit_bias (OpenAI names tokens by id)
    max_tokens                    at most so many tokens; max_completion_tokens is the same
    prompt, suffix, messages      what to answer
    EXTENSIONS                    fields of GenerateConfig that OpenAI does not have
    threshold, entropy_bound      short for schedule: "threshold:0.9", "entropy_bound:0.1"
    NEUTRAL                       accepted with the value that asks for nothing, refused otherwise
    IGNORED                       accepted and without effect: they name the user, not the answer

A field that is null counts as absent, one that is absent is as the server's own settings say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from diffucode import config
from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.serve.failures import Failure

T = TypeVar("T")

EXTENSIONS = (
    "order_temperature",
    "order",
    "steps",
    "schedule",
    "block_length",
    "compat",
    "top_k",
    "min_p",
    "temperature_last",
    "ban",
    "eos_penalty",
    "max_new_tokens",
)
SAME = ("temperature", "top_p", "seed")
TRANSLATED = ("n", "stop", "logit_bias", "max_tokens", "threshold", "entropy_bound")
NEUTRAL: dict[str, Any] = {
    "best_of": 1,
    "echo": False,
    "frequency_penalty": 0,
    "logprobs": False,
    "modalities": ["text"],
    "presence_penalty": 0,
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "tools": [],
    "top_logprobs": 0,
}
IGNORED = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)


@dataclass(frozen=True)
class StreamOptions:
    """``stream_options``."""

    include_usage: bool = False
    include_obfuscation: bool = False
    """Padding against eavesdroppers; there is none."""


@dataclass(frozen=True)
class Body:
    """What both kinds of requests say of the answer's form."""

    model: str
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()


@dataclass(frozen=True, kw_only=True)
class CompletionBody(Body):
    """``/v1/completions``."""

    prompt: str | tuple[str, ...]
    suffix: str | None = None


@dataclass(frozen=True)
class Part:
    """A piece of a message's content; only text is understood."""

    type: Literal["text"]
    text: str


@dataclass(frozen=True)
class ChatMessage:
    """A message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


@dataclass(frozen=True, kw_only=True)
class ChatBody(Body):
    """``/v1/chat/completions``."""

    messages: tuple[ChatMessage, ...]


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Sampling:
    """How a request wants to be decoded."""

    config: GenerateConfig
    ceiling: int | None
    """``max_tokens``."""


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in a body; Failure 400 for anything else."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not a JSON number")

    try:
        body = json.loads(data, parse_constant=refuse)
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Failure("the body has half of a surrogate pair in it, which is no text") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"the body is not JSON ({error})") from None
    if not isinstance(body, dict):
        raise Failure(f"the body is a JSON {type(body).__name__}; expected an object")
    return {name: value for name, value in body.items() if value is not None}


def read(
    kind: type[B], data: dict[str, Any], base: GenerateConfig, seed: int
) -> tuple[B, Sampling]:
    """The two halves of a body. ``seed`` is for requests that have none of their own.

    Raises Failure 400, which names the field at fault.
    """
    own = [field.name for field in fields(kind)]
    ours = [*EXTENSIONS, *(["prompt_style"] if kind is CompletionBody else [])]
    # chat clients say max_completion_tokens for max_tokens, the newer name of the same
    known = [*own, *SAME, *TRANSLATED, *ours, "max_completion_tokens", *NEUTRAL, *IGNORED]
    for name, value in data.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise Failure(
                f"unknown field {name!r}; {hint}known fields: {', '.join(known)}", param=name
            )
        if name in NEUTRAL and value != NEUTRAL[name]:
            raise Failure(
                f"{name} {value!r}: this server does not have it; leave the field out", param=name
            )
    body = _checked(kind, {name: data[name] for name in own if name in data})
    settings = {name: data[name] for name in (*SAME, *ours) if name in data}
    sampling = _sampling(data, {"seed": seed, **settings}, base)
    return body, sampling


def _sampling(data: Mapping[str, Any], settings: dict[str, Any], base: GenerateConfig) -> Sampling:
    ceilings = [data[n] for n in ("max_tokens", "max_completion_tokens") if n in data]
    ceiling = _only("max_tokens", "max_completion_tokens", ceilings)
    if ceiling is not None and (type(ceiling) is not int or ceiling < 1):
        raise Failure(f"max_tokens {ceiling!r}: expected a whole number >= 1", param="max_tokens")
    if ceiling is not None:
        if "max_new_tokens" in settings:
            raise Failure(
                "max_tokens (at most) and max_new_tokens (exactly) exclude each other",
                param="max_tokens",
            )
        settings["max_new_tokens"] = None
    if "n" in data:
        settings["samples"] = data["n"]
    if "stop" in data:
        settings["stop"] = [data["stop"]] if isinstance(data["stop"], str) else data["stop"]
    if "logit_bias" in data:
        settings["logit_bias"] = _by_id(data["logit_bias"])
    schedules = [settings["schedule"]] if "schedule" in settings else []
    schedules += [f"{n}:{data[n]}" for n in ("threshold", "entropy_bound") if n in data]
    schedule = _only("schedule", "threshold or entropy_bound", schedules)
    if schedule is not None:
        settings["schedule"] = schedule
    chosen = _checked(GenerateConfig, {**config.dump(base), **settings})
    check_alone(chosen)
    return Sampling(chosen, ceiling)


def check_alone(config: GenerateConfig) -> None:
    """Refuse what would make an answer depend on the other rows of its batch. Raises ConfigError."""
    if config.compat == "dream":
        raise ConfigError(
            "compat 'dream': that loop commits by the mean of its batch, and here strangers share one; "
            "use diffucode generate"
        )


def _only(one: str, other: str, values: Sequence[Any]) -> Any:
    if len(values) > 1:
        raise Failure(f"{one} and {other} exclude each other", param=one)
    return values[0] if values else None


def _by_id(bias: Any) -> Any:
    """OpenAI names tokens by their id, ``generate`` by ``#id`` or text."""
    if not isinstance(bias, dict):
        return bias
    return {f"#{token}" if token.isdecimal() else token: value for token, value in bias.items()}


def _checked(cls: type[T], data: dict[str, Any]) -> T:
    try:
        return config.of(cls, data, "request")
    except ConfigError as error:
        message = str(error).removeprefix("request: ")
        field = re.match(r"\w+", message)
        if field is None or field[0] not in data:
            raise Failure(message) from None
        name = {"samples": "n"}.get(field[0], field[0])
        raise Failure(name + message[field.end() :], param=name) from None
