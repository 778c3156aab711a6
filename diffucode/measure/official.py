"""EvalPlus' own evaluator on our samples: what a published figure is compared with.

    problems ──> ground truth, in a process of its own ──> cache, one file
                                └────────────copy───────────┐
    samples ──> evaluator, in a process of its own <────────┘ ──> verdicts

It executes generated code under EvalPlus' ``reliability_guard`` alone, which its authors call no sandbox,
with the expected answers in the same process. So both processes run under bubblewrap: no network, no other
process, none of our environment, and of the files the interpreter, its packages and the system's libraries,
read-only, beside one folder that is thrown away. What a program can still reach is its own verdict and those
of the same run, and memory and processors without a bound; the strict scorer keeps the answers elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache as once
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from diffucode.errors import SandboxError, TaskError
from diffucode.execution.tiers import bubblewraps, layout
from diffucode.files import to_jsonl
from diffucode.measure.verdict import Verdict

SECONDS = 4.0
"""Least time of an input. EvalPlus' 1 s fails references on a busy machine; its main branch has 4, too."""
TRUTH_SECONDS = 7200.0
SAMPLE_SECONDS = 150.0
"""EvalPlus gives a sample 62 s a half of the tests; a run that takes longer hangs (evalplus#294)."""

_TRUTH = """
import sys
import evalplus.data as data, evalplus.evaluate as evaluate

mbpp = sys.argv[1] == "mbpp"
problems = data.get_mbpp_plus() if mbpp else data.get_human_eval_plus()
digest = data.get_mbpp_plus_hash() if mbpp else data.get_human_eval_plus_hash()
evaluate.get_groundtruth(problems, digest, evaluate.MBPP_OUTPUT_NOT_NONE_TASKS if mbpp else [])
"""
_EVALUATE = """
import functools, json, sys, threading, types
import evalplus.evaluate as evaluate

# Its watchdog sleeps 20 s in a thread that keeps the process alive.
daemons = functools.partial(threading.Thread, daemon=True)
evaluate.threading = types.SimpleNamespace(Thread=daemons)
evaluate.evaluate(**json.loads(sys.argv[1]))
"""

Isolation = Literal["bubblewrap", "none"]


def official(
    rows: Sequence[Mapping[str, Any]],
    programs: Mapping[str, Sequence[str]],
    *,
    family: Literal["humaneval", "mbpp"],
    cache: Path,
    workers: int = 2,
    allow_unsafe: bool = False,
) -> list[Verdict]:
    """EvalPlus' verdicts, in the order of the tasks and their samples.

    ``rows`` are the problems as EvalPlus' file has them, each with at least one sample; ``family`` says whose
    rules are applied. Ground truth is kept in ``cache``. Raises TaskError when the evaluator fails, with its
    last line, and SandboxError where no bubblewrap works, unless ``allow_unsafe``.
    """
    if isolation() == "none" and not allow_unsafe:
        raise SandboxError(
            "EvalPlus' evaluator runs generated code, and no bubblewrap works here (diffucode doctor says "
            "why); --scorer strict needs none, --unsafe runs it with your rights, files and network"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache) as made:
        folder = Path(made).resolve()
        problems, samples = folder / "problems.jsonl", folder / "samples.jsonl"
        problems.write_text(to_jsonl(rows), encoding="utf-8")
        given = [
            {"task_id": task, "solution": program}
            for task, found in programs.items()
            for program in found
        ]
        samples.write_text(to_jsonl(given), encoding="utf-8")
        digest = hashlib.md5(problems.read_bytes()).hexdigest()  # EvalPlus' name of its cache
        kept, truth = cache / f"{digest}.pkl", folder / "evalplus" / f"{digest}.pkl"
        if not kept.exists():
            _run(folder, _TRUTH, family, TRUTH_SECONDS)
            shutil.copyfile(truth, folder / "whole")
            os.replace(folder / "whole", kept)
        else:
            truth.parent.mkdir()
            shutil.copyfile(kept, truth)
        asked = {
            "dataset": family,
            "samples": str(samples),
            "parallel": workers,
            "min_time_limit": SECONDS,
        }
        _run(folder, _EVALUATE, json.dumps(asked), TRUTH_SECONDS + SAMPLE_SECONDS * len(given))
        results = folder / "samples_eval_results.json"
        found = json.loads(results.read_text(encoding="utf-8"))["eval"]
    return [
        _verdict(task, n, row)
        for task, solutions in programs.items()
        for n, (row, _) in enumerate(zip(found[task], solutions, strict=True))
    ]


def _run(folder: Path, program: str, argument: str, seconds: float) -> None:
    """Run a Python program that may write to ``folder``."""
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "HUMANEVAL_OVERRIDE_PATH": str(folder / "problems.jsonl"),
        "MBPP_OVERRIDE_PATH": str(folder / "problems.jsonl"),
        "HF_HUB_OFFLINE": "1",
    }
    try:
        done = subprocess.run(
            [*_confined(folder), sys.executable, "-c", program, argument],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise TaskError(f"EvalPlus' evaluator did not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().rsplit("\n", 1)[-1]
        raise TaskError(f"EvalPlus' evaluator ended with {done.returncode}: {last}")


def _verdict(task: str, sample: int, row: Mapping[str, Any]) -> Verdict:
    base, plus = row["base_status"], row["plus_status"]
    why = next((status for status in (base, plus) if status not in ("pass", None)), "")
    both = base == "pass" and plus in ("pass", None)
    return Verdict(task, sample, base == "pass", both, why)


def isolation() -> Isolation:
    """What the evaluator runs under on this machine."""
    return "none" if _bubblewrap() is None else "bubblewrap"


def _confined(folder: Path) -> list[str]:
    """The command that the evaluator runs under; empty where there is none."""
    bwrap = _bubblewrap()
    return [] if bwrap is None else _command(bwrap, folder)


@once
def _bubblewrap() -> str | None:
    """A bwrap with which this interpreter starts."""
    with TemporaryDirectory() as made:
        for bwrap in bubblewraps():
            command = [*_command(bwrap, Path(made).resolve()), sys.executable, "-c", ""]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return bwrap
    return None


def _command(bwrap: str, folder: Path) -> list[str]:
    command = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    for path in _readable():
        command += ["--ro-bind", path, path]
    for target, path in layout().links:
        command += ["--symlink", target, path]
    return [*command, "--bind", str(folder), str(folder), "--chdir", str(folder), "--"]


def _readable() -> list[str]:
    """The interpreter with its environment and packages, and the system's libraries."""
    system = [path for path, there in layout().binds if path == there and path[:5] != "/dev/"]
    packages = [path for path in sys.path if os.path.basename(path).endswith("-packages")]
    paths = [*system, sys.base_prefix, sys.prefix, *packages]
    return list(dict.fromkeys(path for path in paths if os.path.exists(path)))
