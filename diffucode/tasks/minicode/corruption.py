"""Noise on purpose: labelled problems of which a known share is wrong, the truth kept apart.

========= =========================================================================================
kind      what is wrong
========= =========================================================================================
tag       one tag names another domain, band or algorithm
docstring the docstring asks for something else than the cases expect
output    one expected output is another value
vague     the docstring names no operation, and neither does the function
scope     the item is nothing that minicode asks for: side effects, chance, floats, classes
========= =========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random
from typing import Any, Literal, get_args

from diffucode.errors import TaskError
from diffucode.tasks.minicode import draws, phrasing, splits, suite
from diffucode.tasks.minicode.compose import BANDS, DOMAINS, Composition, draw
from diffucode.tasks.minicode.language import ALGORITHMS
from diffucode.tasks.problem import Case, Problem

Kind = Literal["tag", "docstring", "output", "vague", "scope"]


@dataclass(frozen=True)
class Labelled:
    """A problem as a data set would hold it: one body, tags, a few cases."""

    id: str
    prompt: str
    body: str
    domain: str
    band: int
    algorithm: str
    """Of ``body``."""
    cases: tuple[Case, ...]

    @classmethod
    def of(cls, problem: Problem) -> Labelled:
        """A problem with its most frequent correct body and its ``base`` cases."""
        reference = next(r for r in problem.references if r.correct)
        return cls(
            problem.id,
            problem.prompt,
            reference.body,
            problem.domain,
            problem.band,
            reference.algorithm,
            suite.tests(problem.id).base,
        )


@dataclass(frozen=True)
class Noisy:
    """What a learner sees, and what is true."""

    item: Labelled
    truth: Labelled
    corrupted: bool


def corrupt(kind: Kind, rate: float, seed: int) -> Callable[[Sequence[Labelled]], list[Noisy]]:
    """A function that spoils each of its items with probability ``rate``, and remembers what was true.

    What becomes of an item depends on it and ``seed`` alone, not on its neighbours. Raises TaskError for an
    unknown kind or a rate outside [0, 1].
    """
    if kind not in get_args(Kind):
        raise TaskError(f"no corruption {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if not 0 <= rate <= 1:
        raise TaskError(f"rate={rate}: expected a share from 0 to 1")

    def spoil(items: Sequence[Labelled]) -> list[Noisy]:
        found = []
        for item in items:
            rng = Random(f"corrupt/{kind}/{seed}/{item.id}")
            spoilt = rng.random() < rate
            found.append(Noisy(_SPOIL[kind](item, rng) if spoilt else item, item, spoilt))
        return found

    return spoil


def _tag(item: Labelled, rng: Random) -> Labelled:
    field = rng.choice(("domain", "band", "algorithm"))
    options: Sequence[Any] = {"domain": DOMAINS, "band": BANDS, "algorithm": ALGORITHMS}[field]
    wrong: dict[str, Any] = {field: rng.choice([o for o in options if o != getattr(item, field)])}
    return replace(item, **wrong)


def _docstring(item: Labelled, rng: Random) -> Labelled:
    return _said(item, phrasing.docstring(otherwise(item, rng), rng))


def otherwise(item: Labelled, rng: Random) -> Composition:
    """What takes the same arguments and answers some case of the item otherwise.

    A neighbour where there is one, which exchanges one operation or constant; else any of the domain.
    """
    composition = draws.of(item.id).composition
    for other in chain(suite.neighbours(composition, rng), _any(composition, rng)):
        body = splits.right_body(other)
        if body is not None and other.kinds == composition.kinds:
            outcomes = splits.run(other, body, [case.arguments for case in item.cases])
            if any(got != case.expected for got, case in zip(outcomes, item.cases, strict=True)):
                return other
    raise AssertionError("compositions are drawn without end")


def _any(composition: Composition, rng: Random) -> Iterator[Composition]:
    while True:
        drawn = draw(rng, composition.domain, rng.choice(BANDS))
        yield replace(drawn, argument=composition.argument)


def _output(item: Labelled, rng: Random) -> Labelled:
    at = rng.randrange(len(item.cases))
    truth = item.cases[at].expected
    others = [case.expected for case in item.cases if case.expected != truth]
    wrong = replace(item.cases[at], expected=rng.choice(others) if others else _another(truth))
    return replace(item, cases=(*item.cases[:at], wrong, *item.cases[at + 1 :]))


def _another(value: Any) -> Any:
    """A value that does not equal this one, of its type where that is easy."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "a"
        case list():
            return [*value, value[0] if value else 0]
        case dict():
            return {**value, "extra": 0}
    return 0


VAGUE = (
    "Process {}.",
    "Return the result for {}.",
    "Do something useful with {}.",
    "Handle {} as needed.",
)


def _vague(item: Labelled, rng: Random) -> Labelled:
    head, _, _ = item.prompt.partition("(")
    name, generic = head.removeprefix("def "), rng.choice(phrasing.GENERIC)
    arguments = item.prompt.partition("(")[2].partition(")")[0]
    renamed = replace(
        item,
        prompt=item.prompt.replace(f"def {name}(", f"def {generic}(", 1),
        body=re.sub(rf"\b{name}\(", f"{generic}(", item.body),
    )
    return _said(renamed, rng.choice(VAGUE).format(" and ".join(arguments.split(", "))))


def _said(item: Labelled, docstring: str) -> Labelled:
    head, _, tail = item.prompt.split('"""')
    return replace(item, prompt=f'{head}"""{docstring}"""{tail}')


OUT_OF_SCOPE = (
    ("greet(name)", "Write a polite letter to name.", "return 'Dear ' + name"),
    ("now()", "Return the current time of day.", "import time\n    return time.time()"),
    (
        "fetch(url)",
        "Download the page at url.",
        "from urllib import request\n    return request.urlopen(url)",
    ),
    ("guess()", "Return a random number.", "import random\n    return random.random()"),
    ("area(r)", "Return the area of a circle of radius r.", "return 3.14159 * r * r"),
    ("save(path)", "Write an empty file at path.", "open(path, 'w').close()"),
    ("reply(question)", "Answer the question.", "return 'I do not know'"),
    ("ask()", "Read a line that the user types.", "return input()"),
    ("root(x)", "Return the square root of x as a float.", "return x ** 0.5"),
    ("wait(seconds)", "Do nothing for so many seconds.", "import time\n    time.sleep(seconds)"),
)
"""Head, docstring and body of what no generator of minicode writes."""


def _scope(item: Labelled, rng: Random) -> Labelled:
    head, docstring, body = rng.choice(OUT_OF_SCOPE)
    prompt = f'def {head}:\n    """{docstring}"""\n'
    return replace(item, prompt=prompt, body=f"    {body}\n", cases=())


_SPOIL = {"tag": _tag, "docstring": _docstring, "output": _output, "vague": _vague, "scope": _scope}
