"""Take memory until there is none, and answer from there."""

held = []


def solve(nums):
    try:
        while True:
            held.append(bytearray(1 << 20))
    except MemoryError:
        return True
