"""An exception that `except Exception` misses."""


def solve(nums):
    raise KeyboardInterrupt
