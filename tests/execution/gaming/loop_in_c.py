"""Stay in one C call, where no Python signal handler runs."""


def solve(nums):
    return 3 ** (3**20)
