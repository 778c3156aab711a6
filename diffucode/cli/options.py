"""Options that commands share, and what becomes of them: a checked config."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from diffucode.errors import ConfigError

if TYPE_CHECKING:
    from diffucode.generate.settings import GenerateConfig


def flag(kind: Any, panel: str, text: str, *names: str, metavar: str | None = None) -> Any:
    """The type of an option that may be left out; it is called after its parameter."""
    shown = typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar)
    return Annotated[kind | None, shown]


PROMPT = {
    "prompt_style": flag(str, "Prompt", "auto, chat, complete or raw. (auto)"),
    "system": flag(str, "Prompt", "System prompt of a chat. (the family's)"),
    "stop": flag(list[str], "Prompt", "Cut the text before this string; repeatable."),
    "samples": flag(int, "Prompt", "Completions of each prompt. (1)", "-n", "--samples"),
}
"""Fields of ``GenerateConfig`` that are options of ``generate`` alone."""

DECODING = {
    "model": flag(str, "Model", "Bundled or installed name, folder, or hub id. (mini)"),
    "revision": flag(str, "Model", "Branch, tag or commit of a hub id."),
    "decoder": flag(str, "Model", "auto, diffusion or ar. (auto)"),
    "device": flag(str, "Model", "auto, cpu, cuda or cuda:N. (auto)"),
    "dtype": flag(str, "Model", "float32, bfloat16 or float16. (float32)"),
    "max_new_tokens": flag(int, "Tokens", "How many to write. (the model's usual canvas, or 256)"),
    "temperature": flag(float, "Tokens", "Token temperature; 0 takes the likeliest. (0)"),
    "top_p": flag(float, "Tokens", "Keep the smallest set of tokens with this mass."),
    "top_k": flag(int, "Tokens", "Keep this many tokens."),
    "min_p": flag(float, "Tokens", "Keep tokens this likely relative to the likeliest."),
    "ban": flag(list[str], "Tokens", "Never write this token, text or #ID; repeatable."),
    "logit_bias": flag(
        list[str], "Tokens", "Add to a token's logit; repeatable.", metavar="TOKEN=NUMBER"
    ),
    "eos_penalty": flag(float, "Tokens", "Subtract from the terminators' logits. (0)"),
    "seed": flag(int, "Tokens", "The same seed writes the same text. (0)"),
    "steps": flag(
        int,
        "Order",
        "Model calls to spread the commits over. (the model's usual pace, or one commit a step)",
    ),
    "order": flag(
        str,
        "Order",
        "confidence, margin, entropy, drawn-confidence, random or left-to-right. (confidence)",
    ),
    "order_temperature": flag(float, "Order", "Randomness of the order; 0 is none. (0)"),
    "schedule": flag(
        str, "Order", "quota, cosine, threshold:PROBABILITY or entropy-bound:NATS. (the model's)"
    ),
    "block_length": flag(
        int,
        "Order",
        "Fill blocks of this length from left to right; 0: one block. (the model's)",
    ),
    "compat": flag(str, "Order", "Reproduce the published loop of dream or llada."),
    "batch_size": flag(int, "Output", "Rows decoded at once; changes no result. (8)"),
}
"""Fields of ``GenerateConfig`` that are options of every decoding command."""

PromptFile = flag(str, "Prompt", "Read the prompt from a file.", "-f", "--file")
PromptsFile = flag(str, "Prompt", "JSONL file, one {id, prompt} a line.", "--prompts")
ConfigFile = flag(Path, "Output", "YAML file of defaults; options override it.", "--config")
TraceFile = flag(Path, "Output", "Write how every canvas was filled to this file.", "--trace")
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a line.", rich_help_panel="Output"),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help="Show the canvas filling, on stderr.", rich_help_panel="Output"),
]

Command = Callable[..., None]


def takes(*tables: Mapping[str, Any]) -> Callable[[Command], Command]:
    """Give a command the options in these tables; those that were given arrive as ``flags``."""
    shared = {name: annotation for table in tables for name, annotation in table.items()}

    def wrap(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "flags"]
        keyword = inspect.Parameter.KEYWORD_ONLY

        def outer(**given: Any) -> None:
            taken = {name: given.pop(name) for name in shared}
            command(**given, flags={k: v for k, v in taken.items() if v not in (None, [])})

        outer.__name__, outer.__doc__ = command.__name__, command.__doc__
        outer.__annotations__ = {p.name: hints[p.name] for p in own} | shared
        outer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                *(p.replace(kind=keyword, annotation=hints[p.name]) for p in own),
                *(
                    inspect.Parameter(name, keyword, default=None, annotation=annotation)
                    for name, annotation in shared.items()
                ),
            ]
        )
        return outer

    return wrap


def config_of(
    file: Path | None, overrides: Sequence[str], flags: Mapping[str, Any]
) -> GenerateConfig:
    """Defaults <- file <- ``key=value`` <- flags. Raises ConfigError."""
    from diffucode import config
    from diffucode.generate.settings import GenerateConfig

    given = dict(flags)
    for name in ("stop", "ban"):
        if name in given:
            given[name] = tuple(given[name])
    if "logit_bias" in given:
        given["logit_bias"] = dict(map(_bias, given["logit_bias"]))
    for name in ("order", "schedule"):
        if name in given:
            given[name] = given[name].replace("-", "_")
    return dataclasses.replace(config.load(GenerateConfig, file, overrides), **given)


def _bias(text: str) -> tuple[str, float]:
    token, _, number = text.rpartition("=")
    try:
        return token, float(number if token else "")
    except ValueError:
        raise ConfigError(
            f"--logit-bias {text!r}: expected TOKEN=NUMBER, as in '#42=-2.5'"
        ) from None
