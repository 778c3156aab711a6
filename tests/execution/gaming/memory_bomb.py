"""Take memory until there is none."""


def solve(nums):
    held = []
    while True:
        held.append(bytearray(1 << 26))
