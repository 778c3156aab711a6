"""Detectors on what is true: they recover the generator's records from text alone."""

import collections

import pytest

from diffucode.tasks import minicode
from diffucode.tasks.minicode import detect
from diffucode.tasks.minicode.forms import HINTS
from diffucode.tasks.problem import Problem

Problems = dict[str, list[Problem]]


def test_algorithms_are_recognised(problems: Problems) -> None:
    found = collections.Counter(
        (r.algorithm, detect.algorithm(p.prompt + r.body))
        for drawn in problems.values()
        for p in drawn
        for r in p.references
    )
    total = collections.Counter[str]()
    for (recorded, _), n in found.items():
        total[recorded] += n
    right = sum(found[name, name] for name in total)
    assert right >= 0.98 * sum(total.values()), found
    for name, n in total.items():
        assert found[name, name] >= 0.95 * n - 1, (name, found)


def test_domains_are_recognised(problems: Problems) -> None:
    for p in (p for drawn in problems.values() for p in drawn):
        assert detect.domain(p.program) == p.domain


def test_bands_are_recognised_by_the_docstring_alone(problems: Problems) -> None:
    all = [p for drawn in problems.values() for p in drawn]
    found = [detect.band(p.prompt.split('"""')[1]) - p.band for p in all]
    assert found.count(0) >= 0.97 * len(all), collections.Counter(found)
    assert max(map(abs, found)) <= 1


def test_what_is_ours_is_in_scope(problems: Problems) -> None:
    assert all(detect.in_scope(p.program) for drawn in problems.values() for p in drawn)


def test_named_algorithms_are_read() -> None:
    for e in minicode.examples("train", 3, 400):
        named = detect.named(e.prompt + e.response if e.form == "author" else e.prompt)
        asked = any(hint in e.prompt + e.response for hint in HINTS.values())
        assert named == (e.algorithm if asked else None)
    assert detect.named("Use a loop. Sort first.") is None


@pytest.mark.parametrize(
    ("body", "algorithm"),
    [
        ("return sum(x * x for x in nums)", "builtin"),
        ("total = 0\n    for x in nums:\n        total += x\n    return total", "accumulate"),
        (
            "nums = sorted(nums)\n    total = 0\n    for x in nums:\n        total += x\n    return total",
            "accumulate",
        ),
        ("out = sorted(nums)\n    return out[-1] if out else 0", "sort"),
        ("return sorted(sum(x) for x in nums)", "sort"),
        ("return len(set(nums))", "table"),
        (
            "counts = {}\n    for x in nums:\n        counts[x] = counts.get(x, 0) + 1\n    return counts",
            "table",
        ),
        (
            "i, j = 0, len(nums) - 1\n    while i < j:\n        i, j = i + 1, j - 1\n    return i",
            "two-pointer",
        ),
        ("if not nums:\n        return 0\n    return nums[0] + f(nums[1:])", "recursion"),
        ("return nums * (nums + 1) // 2", "closed-form"),
        ("stack = list(nums)\n    while stack:\n        stack.pop()\n    return 0", "stack"),
    ],
)
def test_each_algorithm_is_told_by_its_heart(body: str, algorithm: str) -> None:
    assert detect.algorithm(f'def f(nums):\n    """Sort nums."""\n    {body}\n') == algorithm


@pytest.mark.parametrize("program", ["def f(:", "x = 1", "", "\0"])
def test_what_is_no_function_has_no_algorithm(program: str) -> None:
    assert detect.algorithm(program) is None


def test_foreign_functions_are_out_of_scope() -> None:
    assert not detect.in_scope('def area(r):\n    """Return the area."""\n')
    assert not detect.in_scope('def f(nums):\n    """Do something useful with nums."""\n')
    assert not detect.in_scope("def f(nums):\n    return nums\n")
    assert detect.domain("class Queue:\n    pass") is None
