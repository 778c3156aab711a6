"""Labels of programs: equal for those that do the same, and of nothing else."""

import pytest

from diffucode.execution.outputs import Asked, labels, same
from diffucode.execution.sandbox import Sandbox

INPUTS = [(0,), (3,), (-2,)]


def test_programs_that_do_the_same_share_a_label() -> None:
    bodies = {
        "times": "return 2 * x",
        "plus": "y = x + x\n    return y",
        "float": "return 2.0 * x",
        "abs": "return 2 * abs(x)",
        "raises": "return 2 * x if x else 1 / x",
        "raises otherwise": "return 2 * x if x else [][x]",
        "text": "return str(2 * x)",
        "nothing": "raise ValueError",
        "broken": "return (2 * x",
        "exits": "import os; os._exit(0)",
    }
    asked = [Asked(f"def f(x):\n    {body}\n", "f", INPUTS) for body in bodies.values()]
    with Sandbox(workers=1, tier="strongest") as sandbox:
        found = dict(zip(bodies, labels(sandbox, asked), strict=True))
    assert found["times"] == found["plus"] == found["float"] is not None
    others = [found[name] for name in ("times", "abs", "raises", "raises otherwise", "text")]
    assert None not in others and len(set(others)) == 5
    assert found["nothing"] is found["broken"] is found["exits"] is None


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, True, True),
        (2, 2.0, True),
        (0.1 + 0.2, 0.3, True),
        (0.1, 0.1001, False),
        (float("nan"), float("nan"), True),
        (float("nan"), "nan", False),
        ([1, 2], (1, 2), False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({1, 2}, {2, 1}, True),
        ({1, 2}, [1, 2], False),
        ([[1], []], [[1], []], True),
        ([], "", False),
    ],
)
def test_keys_of_values(one: object, other: object, equal: bool) -> None:
    assert (same(one) == same(other)) is equal
    assert hash(same(one)) == hash(same(other)) or not equal
