"""The benchmark of the sandbox runs and prints one line. No timing is asserted."""

import json

import pytest
from running import python

from diffucode.errors import SandboxError
from diffucode.execution.sandbox import Sandbox


def test_one_line_of_json():
    try:
        Sandbox(1).close()
    except SandboxError as error:
        pytest.skip(str(error))
    printed, _ = python("scripts/bench_sandbox.py", "--quick", "--json", "--shrink")
    (line,) = printed.splitlines()
    report = json.loads(line)
    assert list(report)[:3] == ["jobs_per_second", "median_ms", "evalplus_median_ms"]
    assert all(report[name] > 0 for name in list(report)[:6])
    assert report["tier"] == "bubblewrap"
