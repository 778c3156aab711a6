"""Problems as a file of EvalPlus' HumanEval format, for other people's harnesses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from diffucode.tasks.minicode.suite import tests
from diffucode.tasks.problem import Case, Problem


def evalplus(problems: Iterable[Problem]) -> Iterator[dict[str, Any]]:
    """One JSON object a problem, with the fields that EvalPlus 0.3.1 reads.

    The inputs are those of ``base`` and ``plus``; ``reward`` is left out. ``test`` holds the base
    cases as HumanEval's ``check(candidate)``.
    """
    for problem in problems:
        made = tests(problem.id)
        yield {
            "task_id": task_id(problem),
            "prompt": problem.prompt,
            "entry_point": problem.entry_point,
            "canonical_solution": problem.reference,
            "contract": "",
            "base_input": _inputs(made.base),
            "plus_input": _inputs(made.plus),
            "atol": 0,
            "test": _check(made.base),
        }


def task_id(problem: Problem) -> str:
    """The id with "-" for all its slashes but the first (``minicode/test-0-17``): readers split it at one."""
    return problem.id.replace("/", "-").replace("-", "/", 1)


def _inputs(cases: Iterable[Case]) -> list[list[Any]]:
    return [list(case.arguments) for case in cases]


def _check(cases: Iterable[Case]) -> str:
    lines = [
        f"    assert candidate({', '.join(map(repr, case.arguments))}) == {case.expected!r}\n"
        for case in cases
    ]
    return "def check(candidate):\n" + "".join(lines)
