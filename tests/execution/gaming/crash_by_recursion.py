"""Recurse past the end of the C stack."""

import sys

sys.setrecursionlimit(1 << 30)


def solve(nums):
    nested = []
    for _ in range(10_000_000):
        nested = [nested]
    return repr(nested)
