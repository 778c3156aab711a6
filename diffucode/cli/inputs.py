"""Where prompts come from: an argument, a file, standard input, a JSONL file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diffucode.errors import PromptError

if TYPE_CHECKING:
    from diffucode.generate.prompted import Prompt

STDIN = "-"


def read_text(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises PromptError."""
    try:
        if path == STDIN:
            return sys.stdin.read()
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PromptError(f"{path}: cannot read the file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PromptError(f"{path}: not UTF-8 text") from None


def prompts_of(prompt: str | None, file: str | None, prompts: str | None) -> list[Prompt]:
    """The prompts of exactly one source, in order.

    Raises PromptError for no source or several, and for an empty prompt.
    """
    from diffucode.generate.prompted import Prompt

    sources = [source for source in (prompt, file, prompts) if source is not None]
    if len(sources) != 1:
        raise PromptError(
            f'{len(sources)} sources of prompts; expected one: "PROMPT", - , -f FILE or --prompts FILE'
        )
    if prompts is not None:
        found = read_jsonl(read_text(prompts), prompts)
    elif file is not None:
        found = [Prompt(Path(file).name, read_text(file))]
    else:
        found = [Prompt("prompt", read_text(STDIN) if prompt == STDIN else str(prompt))]
    for id, text in found:
        if not text.strip():
            raise PromptError(f"prompt {id!r} is empty")
    return found


def read_jsonl(text: str, place: str) -> list[Prompt]:
    """One object a line with ``prompt`` and, if it has one, ``id`` (else the line number)."""
    from diffucode.generate.prompted import Prompt

    found = []
    for number, line in enumerate(text.split("\n"), 1):  # JSON strings may hold U+2028 and the like
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise PromptError(f"{place}, line {number}: not JSON ({error.msg})") from None
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
            raise PromptError(
                f'{place}, line {number}: expected an object {{"id": ..., "prompt": "..."}}'
            )
        name = row.get("id", number)
        if not isinstance(name, str | int):
            raise PromptError(f"{place}, line {number}: id {name!r}; expected text or a number")
        found.append(Prompt(str(name), row["prompt"]))
    if not found:
        raise PromptError(f"{place}: no prompts in it")
    return found
