"""An integer of a hundred million digits."""


def solve(nums):
    return 1 << 330_000_000
