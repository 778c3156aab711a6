"""The problem at (split, seed, index): composition, name, wording and solutions, from one random stream."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from diffucode.errors import TaskError
from diffucode.tasks.minicode import phrasing, splits
from diffucode.tasks.minicode.compose import BANDS, DOMAINS, Composition, draw
from diffucode.tasks.minicode.lower import Solution, solutions, written

TRAPS = 0.27
"""Share of traps asked for above the first band, which has none."""
FORKED = 3
PLAIN = 0.4
"""Share of draws with fewer than ``FORKED`` algorithms that is let through."""


class Drawn(NamedTuple):
    """A composition with everything said about it."""

    id: str
    composition: Composition
    name: str
    prompt: str
    solutions: tuple[Solution, ...]


def at(split: str, seed: int, index: int, domain: str | None = None) -> Drawn:
    """The ``index``-th problem of a split under a seed; with ``domain`` of that domain alone.

    Bands are equally frequent, so are domains. Raises TaskError on an unknown split or domain.
    """
    if split not in splits.SPLITS:
        raise TaskError(
            f"minicode has no split {split!r}; expected one of {', '.join(splits.SPLITS)}"
        )
    if domain is not None and domain not in DOMAINS:
        raise TaskError(f"minicode has no domain {domain!r}; expected one of {', '.join(DOMAINS)}")
    id = "/".join(map(str, ("minicode", split, seed, *([domain] if domain else []), index)))
    rng = Random(id)
    composition = _composition(rng, split, rng.choice(BANDS), domain or rng.choice(DOMAINS))
    name = phrasing.name(composition, rng)
    found = solutions(composition, name)
    if all(s.flawed for s in found):  # its name made the recursion, its only good body, too long
        name, found = "f", solutions(composition, "f")
    docstring = phrasing.docstring(composition, rng, unseen=split == "ood")
    return Drawn(
        id,
        composition,
        name,
        prompt(composition, name, docstring),
        tuple(found),
    )


def of(id: str) -> Drawn:
    """The problem of an id. Raises TaskError where it is not one of minicode's."""
    parts = id.split("/")
    if (
        len(parts) not in (4, 5)
        or parts[0] != "minicode"
        or not (parts[2].isdigit() and parts[-1].isdigit())
    ):
        raise TaskError(f"{id!r} is no id of minicode; expected e.g. 'minicode/test/0/17'")
    return at(parts[1], int(parts[2]), int(parts[-1]), parts[3] if len(parts) == 5 else None)


def prompt(composition: Composition, name: str, docstring: str) -> str:
    return f'{head(composition, name)}    """{docstring}"""\n'


def head(composition: Composition, name: str) -> str:
    return f"def {name}({', '.join(composition.arguments)}):\n"


def _composition(rng: Random, split: str, band: int, domain: str) -> Composition:
    trap = band > 1 and rng.random() < TRAPS
    while True:
        flawed = trap or (None if rng.random() < 0.1 else False)
        composition = draw(rng, domain, band, unseen=split == "ood", trap=flawed)
        character = splits.character(composition)
        if character.split != split or character.trap != trap:
            continue
        flaws = [flawed for _, _, flawed in written(composition, "f")]
        if len(flaws) < FORKED and rng.random() > PLAIN:
            continue
        if splits.sound(composition) and (settled := splits.settle(composition, rng)):
            return settled
