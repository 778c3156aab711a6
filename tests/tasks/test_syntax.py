"""Programs up to names and remarks."""

import pytest

from diffucode.tasks.syntax import canonical

FIRST = '''
def total(nums: list[int]) -> int:
    """Add them up."""
    out: int = 0  # a remark
    for x in nums:
        out += x
    return out
'''
RENAMED = "def f(a):\n  t = 0\n  for y in a: t += y\n  return (t)\n"


def test_names_layout_docstrings_and_annotations_do_not_matter() -> None:
    assert canonical(FIRST) == canonical(RENAMED) is not None


@pytest.mark.parametrize(
    "other",
    [
        RENAMED.replace("t = 0", "t = 1"),
        RENAMED.replace("t += y", "t -= y"),
        RENAMED.replace("t += y", "t += a"),
        RENAMED.replace("return (t)", "return sum(a)"),
        RENAMED.replace("return (t)", "return 'Add them up.'"),
    ],
)
def test_everything_else_does(other: str) -> None:
    assert canonical(other) != canonical(FIRST)


def test_names_that_the_program_does_not_bind_stay() -> None:
    assert canonical("def f(x): return len(x)") != canonical("def f(x): return sum(x)")
    assert canonical("def f(x): return x.upper()") != canonical("def f(x): return x.lower()")


def test_names_are_numbered_in_the_order_of_the_text() -> None:
    tail = "    except E as {2}:\n        g({2})"
    one = "def f(a, b):\n    try:\n        return [x - y for x, y in zip(a, b)]\n" + tail.replace(
        "{2}", "e"
    )
    two = "def h(p, q):\n    try:\n        return [s - t for s, t in zip(p, q)]\n" + tail.replace(
        "{2}", "u"
    )
    assert canonical(one) == canonical(two)
    assert canonical(one) != canonical(two.replace("s - t", "t - s"))


def test_a_body_of_a_docstring_alone_stays_a_program() -> None:
    text = canonical('def f():\n    """Nothing."""\nclass C:\n    "Nothing."\n    x: int\n')
    assert (
        text is not None and canonical(text) == text == "def v0():\n    pass\n\nclass v1:\n    pass"
    )


@pytest.mark.parametrize("program", ["def f(:", "x = '", "\0", "(" * 500])
def test_what_does_not_parse_has_none(program: str) -> None:
    assert canonical(program) is None


def test_odd_literals_raise_no_warning() -> None:
    assert canonical("x = '\\d' is 1") is not None
