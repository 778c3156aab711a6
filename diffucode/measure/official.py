"""EvalPlus' own evaluator on our samples: what a published figure is compared with.

It runs in a process of its own, offline, on files that we give it through its override variables. There it
executes generated code under EvalPlus' ``reliability_guard`` alone, which its authors call no sandbox: where
bubblewrap works, the whole process runs under it, without network and with files that are read-only but for
a folder of its own and the cache. It can read this machine's other files, which our sandbox does not allow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffucode.errors import TaskError
from diffucode.execution.tiers import bubblewraps
from diffucode.files import to_jsonl
from diffucode.measure.verdict import Verdict

SECONDS = 4.0
"""Least time of an input. EvalPlus' 1 s fails references on a busy machine; its main branch has 4, too."""

_EVALUATE = """
import functools, json, sys, threading, types
import evalplus.evaluate as evaluate

# Its watchdog sleeps 20 s in a thread that keeps the process alive.
daemons = functools.partial(threading.Thread, daemon=True)
evaluate.threading = types.SimpleNamespace(Thread=daemons)
evaluate.evaluate(**json.loads(sys.argv[1]))
"""


def official(
    rows: Sequence[Mapping[str, Any]],
    programs: Mapping[str, Sequence[str]],
    *,
    family: str,
    cache: Path,
    workers: int = 2,
) -> list[Verdict]:
    """EvalPlus' verdicts, in the order of the tasks and their samples.

    ``rows`` are the problems as EvalPlus' file has them, each with at least one sample; ``family`` is
    ``humaneval`` or ``mbpp``, whose rules are applied. Ground truth is kept in ``cache``. Raises TaskError
    when the evaluator fails, with its last line.
    """
    with TemporaryDirectory() as made:
        folder, cache = Path(made).resolve(), cache.resolve()
        problems, samples = folder / "problems.jsonl", folder / "samples.jsonl"
        problems.write_text(to_jsonl(rows), encoding="utf-8")
        given = [
            {"task_id": task, "solution": program}
            for task, found in programs.items()
            for program in found
        ]
        samples.write_text(to_jsonl(given), encoding="utf-8")
        cache.mkdir(parents=True, exist_ok=True)
        asked = {
            "dataset": family,
            "samples": str(samples),
            "parallel": workers,
            "min_time_limit": SECONDS,
        }
        environment = os.environ | {
            "HUMANEVAL_OVERRIDE_PATH": str(problems),
            "MBPP_OVERRIDE_PATH": str(problems),
            "HF_HUB_OFFLINE": "1",
            "XDG_CACHE_HOME": str(cache),
            "TMPDIR": str(folder),
        }
        command = [sys.executable, "-c", _EVALUATE, json.dumps(asked)]
        done = subprocess.run(
            [*confinement(folder, cache), *command],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        results = folder / "samples_eval_results.json"
        if done.returncode != 0 or not results.exists():
            last = (done.stderr or done.stdout).strip().rsplit("\n", 1)[-1]
            raise TaskError(f"EvalPlus' evaluator ended with {done.returncode}: {last}")
        found = json.loads(results.read_text(encoding="utf-8"))["eval"]
    return [
        _verdict(task, n, row)
        for task in programs
        for n, row in enumerate(_in_order(found[task], programs[task]))
    ]


def _in_order(
    rows: Sequence[Mapping[str, Any]], programs: Sequence[str]
) -> list[Mapping[str, Any]]:
    """EvalPlus lists the samples of a task as they finished."""
    left = list(rows)
    ordered = []
    for program in programs:
        at = next(i for i, row in enumerate(left) if row["solution"] == program)
        ordered.append(left.pop(at))
    return ordered


def _verdict(task: str, sample: int, row: Mapping[str, Any]) -> Verdict:
    base, plus = row["base_status"], row["plus_status"]
    why = next((status for status in (base, plus) if status not in ("pass", None)), "")
    both = base == "pass" and plus in ("pass", None)
    return Verdict(task, sample, base == "pass", both, why)


def confinement(*writable: Path) -> list[str]:
    """The command that the evaluator runs under: all files read-only but these folders, no network, its own
    processes. Empty where no bubblewrap works."""
    for program in bubblewraps():
        command = [program, "--unshare-all", "--die-with-parent", "--new-session"]
        command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        for folder in writable:
            command += ["--bind", str(folder), str(folder)]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []
