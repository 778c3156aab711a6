"""The three test sets of a problem: what RL sees, what is scored, and the headline.

``plus`` is chosen to notice: every mutant of every correct reference that any input of a large pool tells
apart, every flawed reference, and the solutions of neighbour problems (one operation or constant exchanged)
must fail on some input of it. The rest is filled with edges and drawn inputs. ``reward`` and ``base`` are
drawn first and share no input with it: a program may pass ``reward`` and fail ``plus``.
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
"""Sizes of the sets; ``plus`` grows where more inputs are needed to notice every mutant."""
POOL = 240
NEIGHBOURS = 12


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
    rest = [i for i in usable if i not in set(seen)]
    chosen = _noticing(rest, _wrong(drawn, pool, expected, rng))
    chosen += [i for i in rest if i not in set(chosen)][: max(0, PLUS - len(chosen))]
    cases = {i: Case(pool[i], expected[i]) for i in (*seen, *chosen)}
    return Tests(
        reward=tuple(cases[i] for i in seen[:REWARD]),
        base=tuple(cases[i] for i in seen[REWARD:]),
        plus=tuple(cases[i] for i in sorted(chosen)),
    )


def _pool(composition: Composition, rng: Random) -> list[tuple[Any, ...]]:
    """Distinct inputs: the edges, then drawn ones."""
    found = {marshal.dumps(given, 2): given for given in inputs.edges(composition.kinds)}
    for _ in range(4 * POOL):
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


def _wrong(
    drawn: Drawn, pool: list[tuple[Any, ...]], expected: list[Any], rng: Random
) -> list[set[int]]:
    """For each wrong program, the inputs on which it is noticed."""
    composition, head = drawn.composition, draws.head(drawn.composition, "f")
    programs: list[str] = []
    for solution in drawn.solutions:
        body = solution.body.replace(f"{drawn.name}(", "f(")
        programs += [head + body, *mutants.mutants(body, head)]
    for neighbour in neighbours(composition, rng)[:NEIGHBOURS]:
        body = splits.right_body(neighbour)  # type: ignore[assignment]
        if body:
            programs.append(head + body)
    return [noticed for p in dict.fromkeys(programs) if (noticed := differing(p, pool, expected))]


def differing(program: str, pool: list[tuple[Any, ...]], expected: list[Any]) -> set[int]:
    """Indices of the inputs on which a program of ours returns something else than expected."""
    ticks = mutants.Ticks()
    namespace: dict[str, Any] = {mutants.TICK: ticks}
    exec(compile(mutants.guarded(program), "<mutant>", "exec"), namespace)
    call = namespace["f"]
    found = set()
    for i, given in enumerate(marshal.loads(marshal.dumps(pool))):
        if expected[i] is behaviour.FAILED:
            continue
        ticks.reset()
        try:
            value = call(*given)
        except Exception:
            found.add(i)
            continue
        if type(value) is not type(expected[i]) or value != expected[i]:
            found.add(i)
    return found


def _noticing(allowed: list[int], wrong: list[set[int]]) -> list[int]:
    """A small choice of the allowed inputs that notices every wrong program that any of them notices."""
    open_sets = [s & set(allowed) for s in wrong]
    open_sets = [s for s in open_sets if s]
    chosen: list[int] = []
    while open_sets:
        counts: dict[int, int] = {}
        for s in open_sets:
            for i in s:
                counts[i] = counts.get(i, 0) + 1
        best = max(sorted(counts), key=lambda i: counts[i])
        chosen.append(best)
        open_sets = [s for s in open_sets if best not in s]
    return chosen


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
        pool = tuple(
            e for e in EACHES if e.takes == operation.takes and e.gives == operation.gives
        )
    elif isinstance(operation, Fold):
        pool = tuple(
            f
            for f in FOLDS
            if composition.element in f.takes and f.gives == operation.gives
        )
    if step.constant == "k":
        return []
    return [Step(o) for o in pool if o.name != operation.name and not o.constants]
