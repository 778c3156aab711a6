"""Millions of empty lists: small to send, large to hold."""


def solve(nums):
    return [[] for _ in range(5_000_000)]
