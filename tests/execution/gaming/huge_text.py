"""A text of hundreds of megabytes."""


def solve(nums):
    return "x" * 400_000_000
