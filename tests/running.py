"""Scripts of this repository, as modules of this process or in processes of their own."""

import importlib.util
import os
import subprocess
import sys
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@cache
def as_module(path: str) -> Any:
    """A script below the root, which its main does not run."""
    name = "script_" + Path(path).stem
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(ROOT / path)))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def forget() -> None:
    """accelerate keeps its state in class attributes."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def python(*arguments: object, code: int = 0, timeout: float = 280) -> tuple[str, str]:
    """What a Python process prints to standard output and error; it must end with this status."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == code, f"status {done.returncode}\n{done.stderr[-3000:]}"
    return done.stdout, done.stderr
