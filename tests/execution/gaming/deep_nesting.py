"""A list a hundred thousand lists deep."""


def solve(nums):
    nested = nums
    for _ in range(100_000):
        nested = [nested]
    return nested
