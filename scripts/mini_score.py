"""Score completions of minicode's prompts, whoever wrote them: JSON lines in, figures out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mini_measure import judge, rows_of, solved
from mini_problems import Problems

from diffucode.errors import TaskError
from diffucode.execution.sandbox import Sandbox


def score_files(prompts: Path, answers: Path, folder: Path) -> dict[str, Any]:
    """The figures of ``solved`` over the answers; ``folder`` keeps the problems.

    ``prompts`` are lines with minicode's ids, ``answers`` lines with ``id`` and ``program``, as
    ``diffucode generate --json`` prints them. A prompt with several answers counts by their mean. Raises
    TaskError on lines of another form, foreign ids, and prompts without an answer.
    """
    programs: dict[str, list[str]] = {row["id"]: [] for row in lines(prompts, ("id", "prompt"))}
    for row in lines(answers, ("id", "program")):
        if row["id"] not in programs:
            raise TaskError(f"{answers}: an answer to {row['id']!r}, which {prompts} does not ask")
        programs[row["id"]].append(row["program"])
    if missing := [id for id in programs if not programs[id]]:
        raise TaskError(
            f"{answers}: {len(missing)} of {len(programs)} prompts have no answer, the first is "
            f"{missing[0]!r}; a model that refuses a prompt has to be given a longer limit"
        )
    known = Problems(folder)
    problems = known.make(programs)
    with Sandbox(tier="strongest") as sandbox:
        rows = rows_of(problems, programs, judge(sandbox, known, problems, programs))
    kept = [row for row in rows if row is not None]
    return {"prompts": len(programs), "answers": sum(map(len, programs.values()))} | solved(kept, 0)


def lines(file: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects of a JSONL file, each with text under these keys."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
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
