"""Open files until there are no more descriptors, then answer."""
# ruff: noqa: SIM115

held = []


def solve(nums):
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        return True
