"""What is counted of a program: the same for the same work, however it is spelled."""

import pytest

from diffucode.execution.counted import BUDGET, KINDS
from diffucode.execution.counting import Profile, instrumented, profiles
from diffucode.execution.outputs import Asked
from diffucode.execution.sandbox import Sandbox

XS = [5, 3, 8, 1, 9, 2]
PROGRAMS = {
    "sum": "def f(xs): return sum(xs)",
    "loop": "def f(xs: list[int]) -> int:\n    t: int = 0\n    for x in xs:\n        t += x\n    return t",
    "set": "def f(xs): return len(set(xs))",
    "pairs": "def f(xs): return any(a == b for i, a in enumerate(xs) for b in xs[:i])",
    "recursion": "def f(xs): return xs[0] + f(xs[1:]) if xs else 0",
    "endless": "def f(xs):\n    while True:\n        try:\n            xs[0]\n        except Exception:\n"
    "            pass",
    "raises": "def f(xs): return xs[99]",
    "broken": "def f(xs:",
    "own state": "seen = []\ndef f(xs):\n    seen.append(1)\n    return [x for _ in seen for x in xs]",
    "forges": "import sys\ndef f(xs):\n    m = sys.modules['__main__']\n    raise BaseException",
}


@pytest.fixture(scope="module")
def found() -> dict[str, list[Profile | None]]:
    asked = [Asked(program, "f", [(XS,), (XS * 2,)]) for program in PROGRAMS.values()]
    with Sandbox(workers=1, tier="strongest") as sandbox:
        return dict(zip(PROGRAMS, profiles(sandbox, asked), strict=True))


def counts(profile: Profile | None) -> dict[str, int]:
    assert profile is not None
    return {kind: n for kind, n in zip(KINDS, profile.counts, strict=True) if n}


def test_a_built_in_function_does_the_work_of_a_loop(
    found: dict[str, list[Profile | None]],
) -> None:
    assert counts(found["sum"][0]) == {"add": 6, "call": 1}
    assert counts(found["loop"][0]) == {"add": 6, "loop": 6, "plus": 6, "call": 1}
    assert counts(found["set"][0]) == {"hash": 6, "call": 1}


def test_growth_depth_and_meetings(found: dict[str, list[Profile | None]]) -> None:
    small, large = map(counts, found["pairs"])
    assert small["equal"] == 15 and large["equal"] < 66  # it stops at the first pair
    one = found["pairs"][0]
    assert one is not None and one.meetings == {(a, b) for b in range(1, 7) for a in range(1, b)}
    assert [p.depth if p else None for p in found["recursion"]] == [7, 13]


def test_a_budget_ends_what_does_not_end(found: dict[str, list[Profile | None]]) -> None:
    one = found["endless"][0]
    assert one is not None and not one.finished and sum(one.counts) >= BUDGET


def test_what_does_not_return_has_no_profile(found: dict[str, list[Profile | None]]) -> None:
    assert found["raises"] == found["broken"] == found["forges"] == [None, None]


def test_a_call_knows_nothing_of_the_calls_before(found: dict[str, list[Profile | None]]) -> None:
    one, other = map(counts, found["own state"])
    assert one["loop"] == 7 and other["loop"] == 13


def test_values_stay_what_they_were() -> None:
    source = (
        "def f(n, s, x, d):\n"
        "    assert n == 7 and n // 2 == 3 and divmod(n, 2) == (3, 1) and -n == -7 and n ** 2 == 49\n"
        "    assert {7: 1}[n] == 1 and [0] * n == [0] * 7 and range(n)[-1] == 6 and n in (7,)\n"
        "    assert s == 'ab' and s[::-1] == 'ba' and s.upper() == 'AB' and [*s] == ['a', 'b']\n"
        "    assert 'b' in s and s + 'c' == 'abc' and ''.join(sorted(s)) == s and s < 'b'\n"
        "    assert x / 2 == 0.25 and x + 1 == 1.5 and d['k'] == [1] and isinstance(n, int)\n"
        "    assert not (n < 7 or n > 7 or n != 7) and hash(s) == hash('ab') and f'{n}{s}' == '7ab'\n"
    )
    with Sandbox(workers=1, tier="strongest") as sandbox:
        (one,) = profiles(sandbox, [Asked(source, "f", [(7, "ab", 0.5, {"k": [1]})])])
    assert one[0] is not None and one[0].finished


def test_counting_leaves_a_program_what_it_is() -> None:
    source = (
        "def f(a, k: int = 2):\n    a[0] += 1\n    a[1:2] = [k % 2 for k in a if k < 9 if k in a]\n"
        "    match k:\n        case 2:\n            del a[-1]\n    return a[0] << 1 == 4\n"
    )
    text = instrumented(source)
    assert text is not None
    seen: list[int] = []

    def count(kind: int, value: object = None) -> object:
        seen.append(kind)
        return value

    space: dict[str, object] = {"_count": count}
    exec(text, space)
    a = [1, 5, 3]
    assert space["f"](a) is True  # type: ignore[operator]
    assert a == [2, 0, 1, 1] and {KINDS[kind] for kind in seen} >= {
        "plus",
        "over",
        "loop",
        "within",
    }
