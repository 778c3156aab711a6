"""Words for a composition: a function name and a docstring."""

from __future__ import annotations

from random import Random

from diffucode.tasks.minicode.compose import Composition

GENERIC = ("solve", "compute", "answer", "f")


def prompt(composition: Composition, rng: Random) -> tuple[str, str]:
    """Entry point, and signature with docstring (ending in a newline)."""
    name = _name(composition, rng)
    say = rng.choice((_nested, _nested, _stepwise, _imperative))
    arguments = ", ".join(composition.arguments)
    return name, f'def {name}({arguments}):\n    """{say(composition, rng)}"""\n'


def _name(composition: Composition, rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(GENERIC)
    names = [f.name for f, _ in composition.filters] + [m.name for m, _ in composition.maps]
    return f"{composition.reducer.name}_{rng.choice(names)}"


def _nested(composition: Composition, rng: Random) -> str:
    """Return the sum of the squares of the even numbers in nums."""
    maps = [f"the {rng.choice(m.nouns).format(c=c)}" for m, c in reversed(composition.maps)]
    return (
        " ".join(
            ["Return", rng.choice(composition.reducer.nouns), *maps, _elements(composition, rng)]
        )
        + "."
    )


def _stepwise(composition: Composition, rng: Random) -> str:
    """Take the even numbers in nums. Square each. Add them up."""
    verb = rng.choice(("Take", "Look at"))
    steps = [f"{verb} {_elements(composition, rng)}", *_verbs(composition, rng)]
    return " ".join(f"{step[0].upper()}{step[1:]}." for step in steps)


def _imperative(composition: Composition, rng: Random) -> str:
    """For the even numbers in nums, square each, then add them up."""
    return f"For {_elements(composition, rng)}, " + ", then ".join(_verbs(composition, rng)) + "."


def _verbs(composition: Composition, rng: Random) -> list[str]:
    maps = [rng.choice(m.verbs).format(c=c) for m, c in composition.maps]
    return [*maps, rng.choice(composition.reducer.verbs)]


def _elements(composition: Composition, rng: Random) -> str:
    """the even numbers in nums that are greater than 3"""
    before: list[str] = []
    after: list[str] = []
    for f, c in composition.filters:
        if f.adjective and not before and rng.random() < 0.7:
            before.append(f.adjective)
        else:
            after.append(rng.choice(f.phrases).format(c=c))
    source = composition.source
    words = ["the", *before, rng.choice(source.nouns), source.where.format(a=composition.argument)]
    if after:
        words += ["that", " and ".join(after)]
    return " ".join(words)
