"""Print for ever."""
# ruff: noqa: T201


def solve(nums):
    while True:
        print("passed" * 1000)
