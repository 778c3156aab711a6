"""Answers to minicode's prompts, whoever wrote them: JSON lines in, programs by problem out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffucode.errors import TaskError


def read_answers(prompts: Path, answers: Path) -> dict[str, list[str]]:
    """The programs that answer each prompt, by its id, in the order of the prompts.

    ``prompts`` are lines with ``id`` and ``prompt``, ``answers`` lines with ``id`` and ``program``, as
    ``diffucode generate --json`` prints them. Raises TaskError on lines of another form, answers to
    something else, and prompts without an answer.
    """
    programs: dict[str, list[str]] = {row["id"]: [] for row in _lines(prompts, ("id", "prompt"))}
    for row in _lines(answers, ("id", "program")):
        if row["id"] not in programs:
            raise TaskError(f"{answers}: an answer to {row['id']!r}, which {prompts} does not ask")
        programs[row["id"]].append(row["program"])
    if missing := [id for id in programs if not programs[id]]:
        raise TaskError(
            f"{answers}: {len(missing)} of {len(programs)} prompts have no answer, the first is "
            f"{missing[0]!r}; a model that refuses a prompt has to be given a longer limit"
        )
    return programs


def _lines(file: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects of a JSONL file, each with text under these keys."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not (isinstance(row, dict) and all(isinstance(row.get(key), str) for key in keys)):
            raise TaskError(
                f"{file}, line {number}: expected an object with {' and '.join(keys)}, got {line[:80]!r}"
            )
        found.append(row)
    if not found:
        raise TaskError(f"{file}: no lines in it")
    return found
