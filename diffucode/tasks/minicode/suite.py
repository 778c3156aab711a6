"""The three test sets of a problem: what RL sees, what is scored, and the headline.

``plus`` holds the edges and drawn inputs, and what it takes to notice: every mutant of every reference that
any input of a large pool tells apart, every flawed reference, and the solutions of neighbour problems (one
operation or constant exchanged) fail on some input of it. ``reward`` and ``base`` share no input with it: a
program may pass ``reward`` and fail ``plus``.
"""

from __future__ import annotations

import marshal
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

from diffucode.tasks.minicode import behaviour, draws, inputs, mutants, splits
from diffucode.tasks.minicode.compose import Branch, Composition, Step, substitute, transform
from diffucode.tasks.minicode.draws import Drawn
from diffucode.tasks.minicode.language import Each, Fold, Keep
from diffucode.tasks.minicode.operations import EACHES, FOLDS, KEEPS
from diffucode.tasks.problem import Case, Tests

REWARD, BASE, PLUS = 8, 8, 50
"""Sizes of the sets; ``plus`` grows where more inputs are needed to notice every wrong program."""
POOL = 640
NEIGHBOURS = 16


@lru_cache(maxsize=4096)
def tests(id: str) -> Tests:
    """The tests of a minicode problem: a pure function of its id. Raises TaskError on a foreign id."""
    drawn = draws.of(id)
    rng = Random(f"{id}/tests")
    pool = _pool(drawn.composition, rng)
    right = splits.right_body(drawn.composition)
    assert right is not None
    expected = splits.run(drawn.composition, right, pool)
    usable = [i for i, value in enumerate(expected) if value is not behaviour.FAILED]
    seen = _first(usable, expected, rng, REWARD + BASE)
    plus = [i for i in usable if i not in set(seen)][:PLUS]
    rest = [i for i in usable if i not in set(plus)]
    spare = [i for i in rest if i not in set(seen)]
    for wrong in _wrong(drawn, rng):
        attempt = Attempt(wrong)
        if any(attempt.fails(pool[i], expected[i]) for i in plus):
            continue
        found = next((i for i in (*spare, *seen) if attempt.fails(pool[i], expected[i])), None)
        if found is None:
            continue  # it is right, as far as can be seen
        plus.insert(0, found)  # what noticed one tells the next apart as well
        if found in spare:
            spare.remove(found)
        else:
            seen[seen.index(found)] = spare.pop()
    cases = {i: Case(pool[i], expected[i]) for i in (*seen, *plus)}
    return Tests(
        reward=tuple(cases[i] for i in seen[:REWARD]),
        base=tuple(cases[i] for i in seen[REWARD:]),
        plus=tuple(cases[i] for i in sorted(plus)),
    )


class Attempt:
    """A program of the generator, perhaps wrong, perhaps endless, as something that can be tried."""

    def __init__(self, program: str) -> None:
        self._ticks = mutants.Ticks()
        namespace: dict[str, Any] = {mutants.TICK: self._ticks}
        exec(mutants.guarded(program), namespace)
        self._call = namespace["f"]

    def fails(self, given: tuple[Any, ...], expected: Any) -> bool:
        """Whether ``f(*given)`` raises, does not end or returns something unequal, as a check judges it."""
        self._ticks.reset()
        try:
            return bool(self._call(*marshal.loads(marshal.dumps(given))) != expected)
        except Exception:
            return True


def _pool(composition: Composition, rng: Random) -> list[tuple[Any, ...]]:
    """Distinct inputs: the edges, then drawn ones."""
    found = {marshal.dumps(given, 2): given for given in inputs.edges(composition.kinds)}
    for _ in range(2 * POOL):
        if len(found) >= POOL:
            break
        given = inputs.draw(composition.kinds, rng)
        found.setdefault(marshal.dumps(given, 2), given)
    return list(found.values())


def _first(usable: list[int], expected: list[Any], rng: Random, n: int) -> list[int]:
    """``n`` inputs, rather different outcomes first."""
    order = rng.sample(usable, len(usable))
    fresh: dict[str, int] = {}
    for i in order:
        fresh.setdefault(repr(expected[i]), i)
    different = [*fresh.values()][:n]
    taken = set(different)
    chosen = different + [i for i in order if i not in taken][: n - len(different)]
    return rng.sample(chosen, len(chosen))


def _wrong(drawn: Drawn, rng: Random) -> list[str]:
    """Programs of a function f that are wrong as a rule: solutions, edits of them, neighbours' solutions."""
    head = draws.head(drawn.composition, "f")
    programs: list[str] = []
    for solution in drawn.solutions:
        body = solution.body.replace(f"{drawn.name}(", "f(")
        programs += [head + body, *mutants.mutants(body, head)]
    for neighbour in neighbours(drawn.composition, rng)[:NEIGHBOURS]:
        if (right := splits.right_body(neighbour)) is not None:
            programs.append(head + right)
    return [*dict.fromkeys(programs)]


def neighbours(composition: Composition, rng: Random) -> list[Composition]:
    """Compositions with one constant or one element-wise operation or fold exchanged, in random order."""
    found: list[Composition] = []
    for step in composition.steps:
        constants = getattr(step.operation, "constants", ())
        if step.constant != "k":
            found += [substitute(composition, step, c) for c in constants if c != step.constant]
        for other in _exchanges(step, composition):
            found.append(transform(composition, _exchange(step, other)))
    return rng.sample(found, len(found))


def _exchange(step: Step, other: Step) -> Any:
    def change(s: Step | Branch) -> Step | Branch:
        if isinstance(s, Branch):
            return replace(s, test=change(s.test), then=change(s.then), other=change(s.other))  # type: ignore[arg-type]
        return other if s is step else s

    return change


def _exchanges(step: Step, composition: Composition) -> list[Step]:
    """Steps that could stand in a step's place: same kinds, another operation without a constant."""
    operation = step.operation
    pool: tuple[Any, ...] = ()
    if isinstance(operation, Keep):
        pool = tuple(k for k in KEEPS if k.takes == operation.takes)
    elif isinstance(operation, Each):
        pool = tuple(e for e in EACHES if e.takes == operation.takes and e.gives == operation.gives)
    elif isinstance(operation, Fold):
        pool = tuple(
            f for f in FOLDS if composition.element in f.takes and f.gives == operation.gives
        )
    if step.constant == "k":
        return []
    return [Step(o) for o in pool if o.name != operation.name and not o.constants]
