"""Noise on purpose: labelled problems of which a known share is wrong, the truth kept apart.

======== ==========================================================================================
kind     what is wrong
======== ==========================================================================================
tag      the tag names another domain, band or algorithm
docstring the docstring belongs to another problem with the same arguments
output   one expected output of the tests is another value
vague    the docstring leaves out what to do with the elements
scope    the item is no minicode problem at all
======== ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, get_args

from diffucode.errors import TaskError
from diffucode.tasks.minicode.compose import BANDS, DOMAINS
from diffucode.tasks.minicode.language import ALGORITHMS
from diffucode.tasks.problem import Case

Kind = Literal["tag", "docstring", "output", "vague", "scope"]


@dataclass(frozen=True)
class Labelled:
    """A problem as a data set would hold it."""

    id: str
    prompt: str
    body: str
    domain: str
    band: int
    algorithm: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Noisy:
    """What a learner sees, and what is true."""

    item: Labelled
    truth: Labelled
    corrupted: bool


OUT_OF_SCOPE = (
    ("def greet(name):\n    \"\"\"Write a polite letter to name.\"\"\"\n", "    return 'Dear ' + name\n"),
    ("def now():\n    \"\"\"Return the current time of day.\"\"\"\n", "    import time\n    return time.time()\n"),
    ("def fetch(url):\n    \"\"\"Download the page at url.\"\"\"\n", "    return url\n"),
    ("def guess():\n    \"\"\"Return a random number.\"\"\"\n", "    import random\n    return random.random()\n"),
    ("def area(r):\n    \"\"\"Return the area of a circle of radius r.\"\"\"\n", "    return 3.14159 * r * r\n"),
    ("def save(path):\n    \"\"\"Write an empty file at path.\"\"\"\n", "    open(path, 'w').close()\n"),
    ("class Queue:\n    \"\"\"A queue of jobs with priorities.\"\"\"\n", "    pass\n"),
    ("def reply(text):\n    \"\"\"Answer the question in text.\"\"\"\n", "    return 'I do not know'\n"),
)
"""Items that no generator of minicode writes: side effects, chance, floats, open questions, classes."""


class Corruption:
    """``corrupt(kind, rate, seed)``: applied to labelled problems, it spoils each with probability ``rate``."""

    def __init__(self, kind: Kind, rate: float, seed: int) -> None:
        if kind not in get_args(Kind):
            raise TaskError(f"no corruption {kind!r}; expected one of {', '.join(get_args(Kind))}")
        if not 0 <= rate <= 1:
            raise TaskError(f"rate={rate}: expected a share from 0 to 1")
        self.kind, self.rate, self.seed = kind, rate, seed

    def __call__(self, items: Sequence[Labelled]) -> list[Noisy]:
        found = []
        for item in items:
            rng = Random(f"corrupt/{self.kind}/{self.seed}/{item.id}")
            spoilt = _SPOIL[self.kind](item, items, rng) if rng.random() < self.rate else None
            found.append(Noisy(spoilt or item, item, spoilt is not None))
        return found


def _tag(item: Labelled, items: Sequence[Labelled], rng: Random) -> Labelled:
    field = rng.choice(("domain", "band", "algorithm"))
    options: Sequence[Any] = {"domain": DOMAINS, "band": BANDS, "algorithm": ALGORITHMS}[field]
    return replace(item, **{field: rng.choice([o for o in options if o != getattr(item, field)])})


def _docstring(item: Labelled, items: Sequence[Labelled], rng: Random) -> Labelled | None:
    head, said, tail = item.prompt.split('"""')
    others = [
        other.prompt.split('"""')[1]
        for other in items
        if other.domain == item.domain and _arguments(other.prompt) == _arguments(item.prompt)
    ]
    others = [text for text in others if text != said]
    return replace(item, prompt=f'{head}"""{rng.choice(others)}"""{tail}') if others else None


def _output(item: Labelled, items: Sequence[Labelled], rng: Random) -> Labelled | None:
    values = [case.expected for case in item.cases]
    at = rng.randrange(len(values))
    others = [v for v in values if v != values[at]]
    if not others:
        return None
    wrong = replace(item.cases[at], expected=rng.choice(others))
    return replace(item, cases=(*item.cases[:at], wrong, *item.cases[at + 1 :]))


def _vague(item: Labelled, items: Sequence[Labelled], rng: Random) -> Labelled:
    head, _, tail = item.prompt.split('"""')
    what = _arguments(item.prompt).split(",")[0]
    said = rng.choice(("Process {}.", "Return the result for {}.", "Do something useful with {}."))
    return replace(item, prompt=f'{head}"""{said.format(what)}"""{tail}')


def _scope(item: Labelled, items: Sequence[Labelled], rng: Random) -> Labelled:
    prompt, body = rng.choice(OUT_OF_SCOPE)
    return replace(item, prompt=prompt, body=body, cases=())


_SPOIL = {"tag": _tag, "docstring": _docstring, "output": _output, "vague": _vague, "scope": _scope}


def _arguments(prompt: str) -> str:
    return prompt.partition("(")[2].partition(")")[0]
