"""Rewrites: other words for the same values, by the same algorithm."""

import re

from diffucode.tasks import minicode
from diffucode.tasks.minicode import behaviour, disjoint, inputs
from diffucode.tasks.rewrites import rewrite
from diffucode.tasks.syntax import canonical


def test_rewrites_compute_the_same_and_look_different() -> None:
    different = total = 0
    for problem in minicode.problems("dev", 3, 12):
        probes = inputs.probes(disjoint.kinds(problem))[-16:]
        for reference in problem.references:
            program = problem.prompt + reference.body
            wanted = behaviour.outcomes(behaviour.function(program, problem.entry_point), probes)
            for seed in range(3):
                text = rewrite(program, seed)
                assert text == rewrite(program, seed)
                call = behaviour.function(text, problem.entry_point)
                assert behaviour.agree(call, probes, wanted), text
                different += canonical(text) != canonical(program)
                total += 1
    assert total > 70 and different > 0.7 * total


def test_every_kind_of_rewrite_happens() -> None:
    program = (
        "def f(xs, k):\n    t = 0\n    while k > 0:\n        k -= 1\n    for x in xs:\n"
        "        if x < k:\n            t += 1\n        else:\n            t = 2 if x else 3\n"
        "    return t + 1\n"
    )
    texts = [rewrite(program, seed) for seed in range(40)]
    kept = re.compile(r"(\w+) = \w+ \+ 1\n    return \1")
    assert any(map(kept.search, texts)) and not all(map(kept.search, texts))
    for sign in ("while True", "enumerate(", "if not", "0 < ", "def solved"):
        assert any(sign in text for text in texts) and not all(sign in text for text in texts), sign
    assert all(" k" not in text and "def f(" in text for text in texts)
    for text in texts:
        assert behaviour.function(text, "f")([1, 0, 4], 2) == behaviour.function(program, "f")(
            [1, 0, 4], 2
        )


def test_a_recursion_gets_no_helper() -> None:
    program = "def f(x):\n    return x and f(x - 1)\n"
    assert not any("solved" in rewrite(program, seed) for seed in range(20))
