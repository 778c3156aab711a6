"""The check that splits are apart: nothing in one computes or spells what stands in another.

Two problems are twins when they share a signature (what they compose, constants aside), a behaviour (what
the reference returns on the common probes) or the canonical syntax of any right reference. Inside a split
twins are welcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple

from diffucode.tasks.minicode import behaviour, inputs
from diffucode.tasks.minicode.language import Source, Whole
from diffucode.tasks.minicode.operations import ALL
from diffucode.tasks.problem import Problem
from diffucode.tasks.syntax import canonical

Kind = Literal["signature", "behaviour", "syntax"]
Mark = tuple[Kind, str]


class Twin(NamedTuple):
    """Two problems of different splits that share a mark."""

    kind: Kind
    one: str
    """Id of the problem that came first."""
    other: str
    what: str
    """The mark: a signature, a digest of outcomes, or a program."""


def twins(problems: Sequence[Problem]) -> list[Twin]:
    """The problems that share a mark with an earlier one of another split; [] where splits are apart.

    Runs the references, which must be minicode's own.
    """
    return meet((problem.id, marks(problem)) for problem in problems)


def meet(marked: Iterable[tuple[str, Sequence[Mark]]]) -> list[Twin]:
    """``twins`` over ids and their marks, for marks made elsewhere (in other processes)."""
    owners: dict[Mark, str] = {}
    found = []
    for id, own in marked:
        for mark in own:
            owner = owners.setdefault(mark, id)
            if _split(owner) != _split(id):
                found.append(Twin(mark[0], owner, id, mark[1]))
    return found


def marks(problem: Problem) -> list[Mark]:
    """What no problem of another split may share."""
    programs = (canonical(problem.prompt + r.body) for r in problem.references if r.correct)
    return [
        ("signature", problem.signature),
        ("behaviour", fingerprint(problem)),
        *(("syntax", text) for text in dict.fromkeys(programs) if text is not None),
    ]


def fingerprint(problem: Problem) -> str:
    """Digest of the kinds of the arguments and of what the reference returns on their common probes."""
    arguments = kinds(problem)
    call = behaviour.function(problem.program, problem.entry_point)
    return behaviour.digest([arguments, *behaviour.outcomes(call, inputs.probes(arguments))])


def kinds(problem: Problem) -> tuple[str, ...]:
    """Kinds of a problem's arguments (see ``language``), read from its signature and prompt."""
    start, _, rest = problem.signature.partition(">")
    arguments = problem.prompt.partition("(")[2].partition(")")[0].split(", ")
    if len(arguments) == 1:
        return (start,)
    if arguments[1] == "k":
        return (start, "k")
    return (start, next(_extras()[name] for name in re.findall(r"\w+", rest) if name in _extras()))


@cache
def _extras() -> dict[str, str]:
    """Operations that ask for a second argument, and its kind."""
    return {o.name: o.extra for o in ALL if isinstance(o, (Source, Whole)) and o.extra}


def _split(id: str) -> str:
    return id.split("/")[1]
