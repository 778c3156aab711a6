"""One problem that a test can do without the generator, and answers to it."""

from diffucode.measure.problems import Known
from diffucode.tasks.problem import Case, Problem, Reference, Tests

HEAD = 'def twice(x):\n    """Return x doubled."""\n'
RIGHT = HEAD + "    return 2 * x\n"
HOLLOW = HEAD + "    return 2 * abs(x)\n"
WRONG = HEAD + "    return x\n"
BROKEN = HEAD + "    return (x\n"


def twice(id: str = "minicode/test/1/0") -> Known:
    """Its ``reward`` misses what ``plus`` sees."""
    references = (Reference("    return 2 * x\n", "closed-form", 1.0, True),)
    problem = Problem(id, HEAD, "twice", references, "twice", "numbers", 1)
    tests = Tests(
        reward=(Case((1,), 2), Case((3,), 6)),
        base=(Case((0,), 0),),
        plus=(Case((-2,), -4), Case((5,), 10)),
    )
    return Known(problem, tests)
