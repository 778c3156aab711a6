"""Print more than is kept, on both streams, and then be wrong."""
# ruff: noqa: T201

import os
import sys


def solve(nums):
    for _ in range(40):
        os.write(1, b"passed\n" * 10_000)
        print("passed\n" * 10_000, file=sys.stderr)
    return -1
