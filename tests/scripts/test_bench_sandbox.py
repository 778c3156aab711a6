"""The benchmark of the sandbox runs and prints one line. No timing is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffucode.errors import SandboxError
from diffucode.execution.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


def test_one_line_of_json():
    try:
        Sandbox(1).close()
    except SandboxError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, "scripts/bench_sandbox.py", "--quick", "--json", "--shrink"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert list(report)[:3] == ["jobs_per_second", "median_ms", "evalplus_median_ms"]
    assert all(report[name] > 0 for name in list(report)[:6])
    assert report["tier"] == "bubblewrap"
