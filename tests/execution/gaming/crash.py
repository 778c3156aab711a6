"""Read address zero."""

import ctypes


def solve(nums):
    return ctypes.string_at(0)
