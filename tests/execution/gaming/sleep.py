"""Sleep past the limit."""

import time


def solve(nums):
    time.sleep(60)
    return -1
