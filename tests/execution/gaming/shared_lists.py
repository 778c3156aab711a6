"""A value that is small in memory and exponential when written out."""


def solve(nums):
    value = [0, 1]
    for _ in range(60):
        value = [value, value]
    return value
