"""A generator that yields for ever."""


def solve(nums):
    while True:
        yield sum(nums)
