"""Define everything but what was asked."""
# ruff: noqa: E731


def Solve(nums):
    return sum(x * x for x in nums)


__getattr__ = lambda name: Solve
