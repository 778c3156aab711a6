"""A coroutine and an endless generator instead of a value."""


async def later():
    return 0


def endless():
    while True:
        yield 1


def solve(nums):
    return endless() if len(nums) % 2 else [later()]
