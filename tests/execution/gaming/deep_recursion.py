"""Recurse without end."""


def solve(nums):
    return solve(nums)
