"""Techniques that a program shows, each with one that only looks like it; NeoGauge's worked rows."""

import pytest

from diffucode.metrics.diversity.techniques import (
    DETECTORS,
    UNSEEN,
    Attempt,
    neogauge,
    techniques,
)
from diffucode.metrics.diversity.undefined import Undefined

SHOWN = {
    "if statement": ("y = 1 if x else 2", "y = x"),
    "for loop": ("y = [x for x in xs]", "y = list(xs)"),
    "while loop": ("while x: x -= 1", "for x in xs: y = x"),
    "break statement": ("for x in xs:\n break", "for x in xs: y = x"),
    "continue statement": ("for x in xs:\n continue", "for x in xs: y = x"),
    "pass statement": ("def f(): pass", "def f(): return 1"),
    "match statement": ("match x:\n case 1: y = 2", "if x == 1: y = 2"),
    "recursion": ("def f(n): return f(n - 1)", "def f(n): return g(n - 1)"),
    "stack": ("s.append(1)\ns.pop()", "s.append(1)\nd.pop(3)"),
    "queue": ("q.append(1)\nq.pop(0)", "q.append(1)\nq.pop()"),
    "tuple": ("y = (a, b)", "a, b = b, a"),
    "set": ("y = {1, 2}", "y = {}"),
    "dictionary": ("y = {}", "y = {1}"),
    "linked list": ("node = node.next", "node = next(nodes)"),
    "tree": ("y = node.left or node.right", "y = node.left"),
    "graph": ("for n in graph[x]: y = n", "for n in grid[x]: y = n"),
    "two pointers": (
        "i, j = 0, 9\nwhile i < j:\n y = a[i] + a[j]\n i += 1\n j -= 1",
        "i = 0\nwhile i < 9:\n y = a[i]\n i += 1",
    ),
    "sliding window": ("for i in r:\n s += a[i] - a[i - k]", "for i in r:\n s += a[i] - 1"),
    "matrix operation": ("y = m[i][j]", "y = m[i][1:]"),
    "hashmap": ("d = {}\nfor x in xs:\n d[x] = d.get(x, 0) + 1", "d = {}\nfor x in xs:\n d[x] = 1"),
    "depth first search": (
        "def f(x):\n seen.add(x)\n for n in graph[x]: f(n)",
        "def f(x):\n for n in x: f(n)",
    ),
    "width first search": (
        "while q:\n x = q.popleft()\n q.append(x)",
        "while q:\n x = q.pop()\n q.append(x)",
    ),
    "back tracking": (
        "def f(p):\n for x in xs:\n  p.append(x)\n  f(p)\n  p.pop()",
        "def f(p):\n for x in xs:\n  f(p + [x])",
    ),
    "divide & conquer": (
        "def f(a):\n m = len(a) // 2\n return g(f(a[:m]), f(a[m:]))",
        "def f(n):\n return f(n - 1) + f(n - 2)",
    ),
    "Kadanes algorithm": (
        "for x in xs:\n c = max(x, c + x)\n b = max(b, c)",
        "for x in xs:\n b = max(b, x)",
    ),
    "binary search": (
        "while lo < hi:\n m = (lo + hi) // 2\n if a[m] < x: lo = m + 1\n else: hi = m",
        "while n:\n d = n % 2\n n = n // 2",
    ),
    "heap": ("import heapq\nheapq.heappush(h, 1)", "h.append(1)"),
    "dynamic programming": (
        "for i in r:\n t[i] = t[i - 1] + t[i - 2]",
        "for i in r:\n t[i] = s[i - 1] + 1",
    ),
    "minimax": (
        "def f(b, me):\n return max(f(x, 0) for x in b) if me else min(f(x, 1) for x in b)",
        "def f(b):\n return max(f(x) for x in b)",
    ),
    "topological sort": ("indegree[x] -= 1", "degree[x] -= 1"),
    "sorting": ("xs.sort()", "xs.reverse()"),
    "graph traversal": (
        "while q:\n x = q.popleft()\n for n in graph[x]: q.append(n)",
        "while q:\n x = q.popleft()",
    ),
}


def test_the_names_are_neocoders() -> None:
    assert len(DETECTORS) + len(UNSEEN) == 34
    assert set(SHOWN) == set(DETECTORS)


@pytest.mark.parametrize("name", SHOWN)
def test_a_technique_is_seen_where_it_is(name: str) -> None:
    shown, like_it = SHOWN[name]
    assert name in (techniques(shown) or ())
    assert name not in (techniques(like_it) or ())


def test_remembered_recursion_is_dynamic_programming() -> None:
    fibonacci = "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n"
    assert "dynamic programming" not in (techniques(fibonacci) or ())
    assert "dynamic programming" in (techniques("@cache\n" + fibonacci) or ())
    assert techniques("def f(:") is None


def attempt(follows: bool, passed: bool, new: int, of: int) -> Attempt:
    names = [f"t{n}" for n in range(of)]
    banned = {"forbidden"} if follows else {names[0]}
    return Attempt(passed, names, banned, set(names[new:]))


def test_neogauge_of_the_worked_rows() -> None:
    rows = [(1, 1, 1, 4), (1, 0, 2, 4), (0, 1, 3, 3), (1, 1, 0, 0)]
    found = neogauge([attempt(bool(f), bool(p), new, of) for f, p, new, of in rows])
    assert found == (0.5, 0.4375, 0.0625)


def test_neogauge_counts_as_neocoder_does() -> None:
    assert Attempt(True, ()).follows and Attempt(True, ()).new == 0
    assert Attempt(True, ("sorting", "sorting")).new == 0.5  # repetitions shrink it
    assert neogauge([]).creativity == Undefined("no attempt")
