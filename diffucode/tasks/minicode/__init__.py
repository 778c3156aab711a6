"""minicode: an endless world of small Python problems on integers, strings and lists.

A composition of operations is drawn, worded, solved in every style the generator knows, and run on
drawn inputs for the expected outputs (the code that runs here is the generator's own). A problem is a
pure function of (split, seed, index), and no two splits share an operation signature.
"""

from __future__ import annotations

from random import Random
from typing import Any

from diffucode.errors import TaskError
from diffucode.tasks.minicode import inputs, phrasing, solutions
from diffucode.tasks.minicode.compose import SPLITS, draw, split_of
from diffucode.tasks.problem import Case, Problem

__all__ = ["SPLITS", "problems", "split_of"]

STYLE_WEIGHTS = (0.5, 0.35, 0.15)
USUAL_CODES = 0.8
LEAST_OUTPUTS = 3


def problems(split: str, seed: int, n: int, start: int = 0) -> list[Problem]:
    """Problems ``start`` to ``start + n - 1`` of a split under a seed.

    Any two calls agree where they overlap. Raises TaskError on an unknown split.
    """
    if split not in SPLITS:
        raise TaskError(f"minicode has no split {split!r}; expected one of {', '.join(SPLITS)}")
    return [_problem(split, seed, index) for index in range(start, start + n)]


def _problem(split: str, seed: int, index: int) -> Problem:
    rng = Random(f"minicode/{split}/{seed}/{index}")
    while True:
        composition = draw(rng)
        if split_of(composition.signature) != split:
            continue
        name, prompt = phrasing.prompt(composition, rng)
        chosen = rng.choices(solutions.STYLES, STYLE_WEIGHTS)[0]
        ordered = sorted(solutions.STYLES, key=lambda style: style != chosen)
        known = {style: list(solutions.bodies(composition, style)) for style in ordered}
        if rng.random() > USUAL_CODES:
            rng.shuffle(known[chosen])
        references = tuple(dict.fromkeys(body for style in ordered for body in known[style]))
        tried = inputs.arguments(composition.source.name, composition.arguments, rng)
        outputs = _run(prompt + references[0], name, tried)
        if len(set(map(repr, outputs))) < LEAST_OUTPUTS:
            continue
        return Problem(
            id=f"minicode/{split}/{seed}/{index}",
            prompt=prompt,
            entry_point=name,
            references=references,
            cases=tuple(map(Case, tried, outputs)),
            signature=composition.signature,
        )


def _run(program: str, name: str, tried: list[tuple[Any, ...]]) -> list[Any]:
    """Outputs of the generator's own reference; never used on anything a model wrote."""
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    return [namespace[name](*given) for given in tried]
