"""minicode: an endless world of small Python problems, generated with everything known about them.

::

    domains      numbers, lists, strings, dictionaries, grids
    bands        difficulty 1 to 5: composed operations and the state they carry
    forks        the same prompt has solutions by several algorithms, at skewed rates
    traps        forks whose most frequent algorithm misses a case
    splits       train, rl, dev, test: disjoint in signature, behaviour and syntax; ood: unseen operations

A problem is a pure function of (split, seed, index). Nothing here needs a sandbox: the only code that runs
is the generator's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from diffucode.tasks.minicode import detect, draws, splits
from diffucode.tasks.minicode.compose import BANDS, DOMAINS
from diffucode.tasks.minicode.corruption import Labelled, Noisy, corrupt
from diffucode.tasks.minicode.disjoint import Twin, twins
from diffucode.tasks.minicode.export import evalplus
from diffucode.tasks.minicode.forms import Example, example, tagged
from diffucode.tasks.minicode.splits import SPLITS
from diffucode.tasks.minicode.suite import tests
from diffucode.tasks.problem import Problem, Reference

__all__ = [
    "BANDS",
    "DOMAINS",
    "SPLITS",
    "Example",
    "Labelled",
    "Noisy",
    "Twin",
    "corrupt",
    "detect",
    "evalplus",
    "examples",
    "mixture",
    "problem",
    "problems",
    "tagged",
    "tests",
    "twins",
]


def problems(
    split: str, seed: int, n: int, start: int = 0, domain: str | None = None
) -> list[Problem]:
    """Problems ``start`` to ``start + n - 1`` of a split under a seed, of all domains or of one.

    Any two calls agree where they overlap. Raises TaskError on an unknown split or domain.
    """
    return [_problem(draws.at(split, seed, index, domain)) for index in range(start, start + n)]


def problem(id: str) -> Problem:
    """The problem of an id. Raises TaskError where it is not one of minicode's."""
    return _problem(draws.of(id))


def examples(split: str, seed: int, n: int, start: int = 0) -> list[Example]:
    """Training texts ``start`` to ``start + n - 1``: several for each problem, in all forms."""
    return [example(split, seed, index) for index in range(start, start + n)]


def mixture(sizes: Mapping[str, int], seed: int, split: str = "train") -> list[Problem]:
    """As many problems of each domain as ``sizes`` says, domain after domain.

    A larger size extends a smaller one: the problems of a domain do not depend on the other sizes.
    """
    return [p for domain, n in sizes.items() for p in problems(split, seed, n, domain=domain)]


def _problem(drawn: draws.Drawn) -> Problem:
    composition = drawn.composition
    right = splits.answers(composition)
    return Problem(
        id=drawn.id,
        prompt=drawn.prompt,
        entry_point=drawn.name,
        references=tuple(
            Reference(
                s.body,
                s.algorithm,
                s.rate,
                not s.flawed or splits.agrees(composition, s.body, right),
            )
            for s in drawn.solutions
        ),
        signature=composition.signature,
        domain=composition.domain,
        band=composition.band,
    )
