"""A plain list of lying integers: the check has to look inside."""


class Liar(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def solve(nums):
    return [Liar(x) for x in nums]
