"""minicode's test sets: sizes, disjoint inputs, and how much of what is wrong they notice."""

import marshal
from concurrent.futures import Executor
from random import Random
from typing import NamedTuple

import pytest

from diffucode.tasks import minicode
from diffucode.tasks.minicode import behaviour, disjoint, draws, inputs, mutants, splits, suite
from diffucode.tasks.problem import Problem

FRESH = 1200
"""Inputs of a fresh pool: what none of them tells apart counts as equivalent."""


class Noticed(NamedTuple):
    """Wrong programs, and those of them that fail ``plus``."""

    mutants: int
    killed: int
    neighbours: int
    rejected: int
    missed: tuple[str, ...]


def measured(id: str) -> Noticed:
    drawn, known = draws.of(id), minicode.tests(id)
    composition, rng = drawn.composition, Random(f"{id}/fresh")
    found = {marshal.dumps(given, 2): given for given in inputs.edges(composition.kinds)}
    for _ in range(8 * FRESH):
        if len(found) >= FRESH:
            break
        given = inputs.draw(composition.kinds, rng)
        found.setdefault(marshal.dumps(given, 2), given)
    right = splits.right_body(composition)
    assert right is not None
    expected = splits.run(composition, right, list(found.values()))
    fresh = [
        (given, value)
        for given, value in zip(found.values(), expected, strict=True)
        if value is not behaviour.FAILED
    ]
    head = draws.head(composition, "f")
    missed: list[str] = []

    def judged(programs: list[str]) -> tuple[int, int]:
        wrong = 0
        before = len(missed)
        for program in programs:
            attempt = suite.Attempt(program)
            if any(attempt.fails(case.arguments, case.expected) for case in known.plus):
                wrong += 1
            elif any(attempt.fails(*one) for one in fresh):
                wrong += 1
                missed.append(program)
        return wrong, wrong - (len(missed) - before)

    bodies = [s.body.replace(f"{drawn.name}(", "f(") for s in drawn.solutions if not s.flawed]
    edited = judged([m for body in bodies for m in mutants.mutants(body, head)])
    others = [o for o in suite.neighbours(composition, rng)[:20] if o.kinds == composition.kinds]
    near = [head + body for o in others if (body := splits.right_body(o)) is not None]
    return Noticed(*edited, *judged(near), tuple(missed))


@pytest.mark.slow
def test_plus_notices_nearly_every_mutant_and_neighbour(
    problems: dict[str, list[Problem]], pool: Executor
) -> None:
    found = list(pool.map(measured, [p.id for p in problems["dev"][:60]], chunksize=5))
    made, killed = sum(n.mutants for n in found), sum(n.killed for n in found)
    near, rejected = sum(n.neighbours for n in found), sum(n.rejected for n in found)
    missed = [text for n in found for text in n.missed]
    assert made > 1500 and killed >= 0.98 * made, (killed, made, missed[:3])
    assert near > 500 and rejected >= 0.98 * near, (rejected, near, missed[:3])


def test_sizes_and_disjoint_inputs(problems: dict[str, list[Problem]]) -> None:
    for split in ("train", "ood"):
        for p in problems[split][:20]:
            known = minicode.tests(p.id)
            assert 5 <= len(known.reward) <= 10 and len(known.plus) >= 50 and len(known.base) >= 5
            given = [
                marshal.dumps(c.arguments, 2) for c in (*known.reward, *known.base, *known.plus)
            ]
            assert len(set(given)) == len(given)


def test_no_case_expects_a_failure(problems: dict[str, list[Problem]]) -> None:
    for p in problems["train"][:20]:
        known = minicode.tests(p.id)
        for case in (*known.reward, *known.base, *known.plus):
            assert case.expected is not behaviour.FAILED and case.expected != behaviour.FAILED


def test_plus_holds_the_empty_and_the_single(problems: dict[str, list[Problem]]) -> None:
    """The edges stand in ``plus`` as a rule: traps are about them."""
    held = total = 0
    for p in problems["train"][:40]:
        known = minicode.tests(p.id)
        cases = {marshal.dumps(c.arguments, 2) for c in known.plus}
        wanted = {marshal.dumps(e, 2) for e in inputs.edges(disjoint.kinds(p))}
        held, total = held + len(cases & wanted), total + len(wanted)
    assert held >= 0.8 * total


def test_a_program_that_never_ends_is_stopped() -> None:
    assert suite.Attempt("def f(n):\n    while True:\n        n += 1").fails((1,), 1)
    assert suite.Attempt("def f(n):\n    for x in (out := [1]):\n        out.append(x)").fails(
        (1,), 1
    )
    assert suite.Attempt("def f(n):\n    return f(n)").fails((1,), 1)
    assert not suite.Attempt("def f(n):\n    return n").fails((1,), 1)


def test_an_attempt_cannot_spoil_the_input() -> None:
    attempt = suite.Attempt("def f(xs):\n    xs.append(1)\n    return xs")
    given = ([0],)
    assert not attempt.fails(given, [0, 1]) and not attempt.fails(given, [0, 1])


BODY = """    out = []
    for x in sorted(nums, key=abs)[1:]:
        if x > 3 and not x % 2:
            out.append(-x)
    return out if out else max(nums, default=0)
"""


def test_mutants_are_single_edits() -> None:
    head = "def f(nums):\n"
    found = mutants.mutants(BODY, head)
    joined = "\n".join(found)
    for edit in (
        "x >= 3",
        "x < 3",
        "x > 4",
        "x > 2",
        "x // 2",
        "x > 3 or",
        "append(+x)",
        "min(nums",
        "default=1",
        "sorted(nums)[1:]",
        "key=abs)[:]",
        "key=abs)[2:]",
        "if True:",
        "if not (x > 3",
        "return None",
        "max(nums, default=0) if out else out",
    ):
        assert edit in joined, edit
    assert len(set(found)) == len(found) and head + BODY not in found
    for text in found:
        compile(text, "mutant", "exec")
