"""Another that `except Exception` misses, by subclass."""


class Done(GeneratorExit):
    pass


def solve(nums):
    raise Done
