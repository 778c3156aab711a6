"""Start shells and pythons that would do the work elsewhere."""

import multiprocessing
import subprocess
import sys


def solve(nums):
    for command in (["/bin/sh", "-c", "echo 1"], [sys.executable, "-c", "print(1)"]):
        try:
            return int(subprocess.run(command, capture_output=True, check=True).stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, [-1])
