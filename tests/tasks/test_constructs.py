"""What programs are built with."""

import pytest

from diffucode.tasks.constructs import constructs


@pytest.mark.parametrize(
    ("body", "has", "lacks"),
    [
        ("return sorted(x)", "sort", "loop"),
        ("y = list(x)\n    y.sort()\n    return y", "sort", "hashing"),
        ("return {a for a in x}", "hashing", "loop"),
        ("return f(x[1:]) + [x[0]] if x else []", "recursion", "loop"),
        ("return f(x[1:]) if x else 0", "", "recursion"),
        (
            "def g(y):\n        return 1 + f(y)\n    return g(x) * 2 if x else 0",
            "recursion",
            "loop",
        ),
        ("return [a for a in x for b in x]", "nested loops", "loop"),
        ("for a in x:\n        y = [b for b in x]", "nested loops", "sort"),
        ("for a in x:\n        pass\n    for a in x:\n        pass", "loop", "nested loops"),
        (
            "def g(y):\n        return max(b for b in y)\n    return [g(a) for a in x]",
            "nested loops",
            "loop",
        ),
        ("x[0], x[1] = x[1], x[0]", "exchange", "loop"),
        ("x, y = y, x", "", "exchange"),
        ("return x[::-1]", "reversal", "bits"),
        ("return len(x) // 2", "halving", "bits"),
        ("return x & 1", "bits", "halving"),
    ],
)
def test_constructs_by_name(body: str, has: str, lacks: str) -> None:
    found = constructs(f"def f(x):\n    {body}\n")
    assert found is not None
    assert not has or has in found
    assert lacks not in found


def test_names_do_not_matter_and_what_is_no_program_has_none() -> None:
    one = constructs("def f(pop):\n    sort = pop\n    return sort")
    assert one == constructs("def f(a):\n    b = a\n    return b") == frozenset()
    assert constructs("def f(:") is None
