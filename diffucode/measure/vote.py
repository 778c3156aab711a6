"""Majority vote among a model's samples for minicode's problems, on inputs that no test holds.

problem ──> samples ──> labels: what each returns on the probes ──> majority ──> one program
                               (``execution.outputs``)        (``metrics.vote``)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from diffucode.execution.outputs import Asked, Label, labels
from diffucode.execution.sandbox import Sandbox
from diffucode.execution.values import encode
from diffucode.measure.problems import Known
from diffucode.tasks.minicode import draws, inputs

PROBES = 24
TRIES = 20
"""Inputs that are drawn at most for each that is wanted."""


def probes(known: Known, n: int = PROBES) -> list[tuple[Any, ...]]:
    """Inputs of a problem's kinds, a pure function of its id; none of them stands in one of its tests.

    Fewer than ``n`` where there are not so many different ones. Whether the reference can do anything with
    them is not looked at: a program that raises is known by that.
    """
    problem, tests = known
    kinds = draws.of(problem.id).composition.kinds
    rng = Random(f"{problem.id}/probes")
    cases = (*tests.reward, *tests.base, *tests.plus)
    seen = {encode(tuple(case.arguments)) for case in cases}
    found: list[tuple[Any, ...]] = []
    for _ in range(TRIES * n):
        given = inputs.draw(kinds, rng)
        if len(found) < n and (code := encode(given)) not in seen:
            seen.add(code)
            found.append(given)
    return found


def behaviours(
    sandbox: Sandbox, problems: Sequence[Known], programs: Mapping[str, Sequence[str]]
) -> dict[str, list[Label | None]]:
    """The label of each program by its problem's id, in the order of the samples; equal programs run once.

    Raises SandboxError where the sandbox could not do its work.
    """
    asked: dict[tuple[str, str], Asked] = {}
    for known in problems:
        given = probes(known)
        for program in programs[known.problem.id]:
            key = (known.problem.id, program)
            asked.setdefault(key, Asked(program, known.problem.entry_point, given))
    of = dict(zip(asked, labels(sandbox, asked.values()), strict=True))
    return {
        problem.id: [of[problem.id, program] for program in programs[problem.id]]
        for problem, _ in problems
    }
