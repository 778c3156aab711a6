"""A set of integers with one hash, quadratic for whoever rebuilds it."""

import sys


def solve(nums):
    return {sys.hash_info.modulus * k for k in range(3000)}
