"""Benchmarks by name: what is asked, and the tests of the answers.

    humaneval, mbpp         HumanEval+ and MBPP+, the files that EvalPlus publishes, found on this machine
    minicode                problems of the generator; minicode:SPLIT:SEED (minicode:test:0)
    FILE                    a .jsonl or .jsonl.gz of EvalPlus' format

Nothing is downloaded: ``find`` says where a file is looked for, those of HumanEval infilling too, whose tasks
have holes and are another kind (``infill_tasks``).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffucode.errors import TaskError
from diffucode.execution.compare import Same
from diffucode.execution.evalplus import PlusProblem, read
from diffucode.measure.problems import Problems, generator_digest, ids
from diffucode.progress import Progress, silent
from diffucode.tasks import minicode
from diffucode.tasks.minicode.export import task_id

FILES = {
    "humaneval": ("HumanEvalPlus.jsonl.gz", "HumanEvalPlus.jsonl", "HumanEvalPlus-v0.1.10.jsonl"),
    "mbpp": ("MbppPlus.jsonl.gz", "MbppPlus.jsonl", "MbppPlus-v0.2.0.jsonl"),
}
"""Names under which EvalPlus publishes and keeps them."""
INFILLING = {
    "humaneval-infilling": ("HumanEval-SingleLineInfilling.jsonl.gz",),
    "humaneval-infilling:random-span": ("HumanEval-RandomSpanInfillingLight.jsonl.gz",),
}
"""OpenAI's files of tasks with a hole: a line, or a span that begins and ends anywhere."""
FOLDERS = {"humaneval": "humanevalplus", "mbpp": "mbppplus"} | dict.fromkeys(
    INFILLING, "humaneval_infilling"
)
RELEASES = {
    "humaneval": "evalplus/humanevalplus_release",
    "mbpp": "evalplus/mbppplus_release",
} | dict.fromkeys(INFILLING, "openai/human-eval-infilling")
OVERRIDES = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}
"""EvalPlus' own environment variables."""
DATA = "DIFFUCODE_DATA"
VERSIONS = {
    "fe585eb4df8c88d844eeb463ea4d0302": "HumanEval+ v0.1.10",
    "ee43ecabebf20deef4bb776a405ac5b1": "MBPP+ v0.2.0",
}
"""By the MD5 of the plain file, which EvalPlus prints as the hash of its results."""
DRAWN = 200
"""Problems of minicode where no number is asked for."""


@dataclass(frozen=True)
class Task:
    """What a model is asked."""

    id: str
    prompt: str
    entry_point: str


@dataclass(frozen=True)
class Benchmark:
    """Tasks in the order of their source."""

    asked: str
    """The name that it was asked for by."""
    name: str
    source: str
    """A file, or the split and seed of the generator."""
    version: str
    """A published name, where the content is known; else a digest of it."""
    tasks: tuple[Task, ...]
    cluster: Mapping[str, str]
    """What is resampled together, by a task's id: minicode's signatures, elsewhere each task alone."""
    problems: Callable[[], tuple[PlusProblem, ...]]
    """The tasks with their tests; minicode's take a while to make."""
    rows: Callable[[], list[dict[str, Any]]]
    """The same as EvalPlus' file has them."""

    def to_json(self) -> dict[str, str | int]:
        return {
            "asked": self.asked,
            "dataset": self.name,
            "source": self.source,
            "version": self.version,
            "tasks": len(self.tasks),
        }


def benchmark(
    name: str,
    *,
    first: int | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Benchmark:
    """The benchmark of this name, all of it or its ``first`` tasks.

    ``data`` is a folder to look in, ``cache`` keeps what minicode makes. Raises TaskError for a name
    without a file, and for a file that is none.
    """
    if name == "minicode" or name.startswith("minicode:"):
        return _minicode(name, first or DRAWN, cache or cache_folder(), progress)
    if name in INFILLING:
        raise TaskError(
            f"dataset {name}: its tasks have holes; diffucode infilling {name} fills and checks them"
        )
    file = find(name, data) if name in FILES else Path(name)
    if name not in FILES and not name.endswith((".jsonl", ".jsonl.gz")):
        known = ", ".join([*FILES, "minicode"])
        raise TaskError(f"dataset {name!r}: expected {known}, or a .jsonl or .jsonl.gz file")
    problems = read(file)[:first]
    if not problems:
        raise TaskError(f"{file}: no problems in it")
    raw = file.read_bytes()
    text = gzip.decompress(raw) if file.suffix == ".gz" else raw
    digest = hashlib.md5(text).hexdigest()
    return Benchmark(
        asked=name,
        name=name if name in FILES else file.name.split(".")[0],
        source=file.name,
        version=VERSIONS.get(digest, f"md5 {digest}"),
        tasks=tuple(Task(p.id, p.prompt, p.entry_point) for p in problems),
        cluster={p.id: p.id for p in problems},
        problems=lambda: problems,
        rows=lambda: [json.loads(line) for line in text.split(b"\n")[: len(problems)]],
    )


def find(name: str, data: Path | None = None) -> Path:
    """The file of ``humaneval``, ``mbpp`` or HumanEval infilling.

    Looked for in ``data``, or else in the folder that the environment calls DIFFUCODE_DATA, where EvalPlus'
    override variable points, and in EvalPlus' cache. Raises TaskError where it is in none of them.
    """
    files = (FILES | INFILLING)[name]
    named = os.environ.get(DATA)
    folders = [data] if data is not None else [Path(named)] if named else []
    tried = [
        folder / part / file for folder in folders for part in ("", FOLDERS[name]) for file in files
    ]
    where = [str(data)] if data is not None else [f"{DATA}={named or '(not set)'}"]
    if data is None and name in FILES:
        override = os.environ.get(OVERRIDES[name])
        tried += [Path(override)] if override else []
        tried += [_cache_home() / "evalplus" / file for file in files]
        where += [f"{OVERRIDES[name]}={override or '(not set)'}", str(_cache_home() / "evalplus")]
    for file in tried:
        if file.is_file():
            return file
    raise TaskError(
        f"dataset {name}: no {files[0]} in {', '.join(where)}; it is published at "
        f"github.com/{RELEASES[name]}: give its folder with --data"
    )


def cache_folder() -> Path:
    """Where reference answers and generated problems are kept between calls."""
    return _cache_home() / "diffucode"


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _minicode(name: str, first: int, cache: Path, progress: Progress) -> Benchmark:
    _, split, seed, *rest = (*name.split(":"), *("test", "0")[name.count(":") :])
    if rest or not seed.isdecimal() or split not in minicode.SPLITS:
        raise TaskError(
            f"dataset {name!r}: expected minicode, minicode:SPLIT or minicode:SPLIT:SEED with a split of "
            f"{', '.join(minicode.SPLITS)}"
        )
    asked = ids(split, int(seed), first)
    drawn = [minicode.problem(id) for id in asked]

    def problems() -> tuple[PlusProblem, ...]:
        return tuple(
            PlusProblem(
                id=task_id(one.problem),
                prompt=one.problem.prompt,
                entry_point=one.problem.entry_point,
                reference=one.problem.reference,
                base=tuple(case.arguments for case in one.tests.base),
                plus=tuple(case.arguments for case in one.tests.plus),
                rule=Same(0),
            )
            for one in Problems(cache, progress).get(asked)
        )

    return Benchmark(
        asked=name,
        name="minicode",
        source=f"{split}:{seed}",
        version=f"generator {generator_digest()}",
        tasks=tuple(Task(task_id(p), p.prompt, p.entry_point) for p in drawn),
        cluster={task_id(p): p.signature for p in drawn},
        problems=problems,
        rows=lambda: list(minicode.evalplus(drawn)),
    )
