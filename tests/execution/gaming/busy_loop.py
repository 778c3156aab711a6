"""Compute past the limit."""


def solve(nums):
    while True:
        pass
