"""Which split a composition belongs to, and whether it is worth asking.

Twins, problems that compute the same function, must never stand in different splits. So the split is a
hash of *behaviour*: of what the composition, with standard constants, computes on common probes. Whatever
structure two compositions have, if they behave alike there they share a split; their constants then vary
inside it. The behaviour hashed is that of the most frequent algorithm, so that a fork whose usual
algorithm misses a case stands beside the plain operation that this algorithm computes.

A composition is refused when a step changes nothing (it would be a twin of a shorter one), when nearly
all probes agree, or when it computes what one operation alone does. Single operations are taught in
``train`` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any, NamedTuple, TypeVar

from diffucode.tasks.minicode import behaviour, inputs
from diffucode.tasks.minicode.compose import (
    DOMAINS,
    Branch,
    Composition,
    Step,
    draw,
    substitute,
    transform,
)
from diffucode.tasks.minicode.language import Each, Whole
from diffucode.tasks.minicode.lower import solutions, written
from diffucode.tasks.minicode.operations import FOLDS

_T = TypeVar("_T")

SPLITS = ("train", "rl", "dev", "test", "ood")
SHARES = {"train": 0.72, "rl": 0.10, "dev": 0.08, "test": 0.10}
LEAST_OUTCOMES = 8
LEAST_VERDICTS = 8
"""How often, of all probes, a yes-or-no problem must say each."""
MOST_FAILURES = inputs.PROBES // 2


class Character(NamedTuple):
    """What the splits need to know of a signature."""

    split: str
    trap: bool
    """The most frequent algorithm is wrong on some probe."""


def character(composition: Composition) -> Character:
    """Split and trap of a composition, the same for all its constants and names; split "" is refused."""
    return _known(_CHARACTERS, composition, _examine)


def sound(composition: Composition) -> bool:
    """Whether every step matters, in a composition that ``character`` did not refuse."""
    return _known(_SOUND, composition, _matters)


_CHARACTERS: dict[str, Character] = {}
_SOUND: dict[str, bool] = {}


def _known(known: dict[str, _T], composition: Composition, find: Callable[[Composition], _T]) -> _T:
    signature = composition.signature
    if signature not in known:
        if len(known) > 1_000_000:
            known.clear()
        known[signature] = find(standard(composition))
    return known[signature]


def standard(composition: Composition) -> Composition:
    """The composition with the standard constant at every step."""

    def change(step: Step | Branch) -> Step | Branch:
        if isinstance(step, Branch):
            return Branch(change(step.test), change(step.then), change(step.other))  # type: ignore[arg-type]
        constants = getattr(step.operation, "constants", ())
        return replace(step, constant=constants[len(constants) // 2]) if constants else step

    return transform(composition, change)


def program(composition: Composition, body: str, name: str = "f") -> str:
    return f"def {name}({', '.join(composition.arguments)}):\n{body}"


def run(composition: Composition, body: str, given: Any = None) -> list[Any]:
    """Outcomes of a body on the probes of its argument kinds (or on ``given`` inputs)."""
    call = behaviour.function(program(composition, body), "f")
    return behaviour.outcomes(call, inputs.probes(composition.kinds) if given is None else given)


def right_body(composition: Composition) -> str | None:
    """The most frequent body that misses no case, for a function f."""
    return next((body for _, body, flawed in written(composition, "f") if not flawed), None)


def fingerprint(composition: Composition) -> str:
    """Digest of what the composition returns on the common probes of its argument kinds."""
    return _digest(composition, answers(composition))


def answers(composition: Composition) -> list[Any]:
    """What the composition returns on the common probes of its argument kinds."""
    body = right_body(composition)
    assert body is not None, composition.signature
    return run(composition, body)


def _twin_of_single(composition: Composition) -> bool:
    """Whether, with the constants it has, the composition computes what one operation alone does."""
    return any(
        _digest(composition, run(composition, s.body)) in _singles()
        for s in solutions(composition, "f")
        if composition.weight > 1
    )


def _digest(composition: Composition, outcomes: list[Any]) -> str:
    return behaviour.digest([composition.kinds, *outcomes])


def _examine(composition: Composition) -> Character:
    body = right_body(composition)
    if body is None:
        return Character("", False)
    right = run(composition, body)
    first = next(text for _, text, _ in written(composition, "f"))
    usual = right if first == body else run(composition, first)
    if any(s.operation.unseen for s in composition.steps):
        split = "ood"
    elif composition.weight == 1:
        split = "train"
    else:
        split = _split(composition, first, usual)
        if {_digest(composition, usual), _digest(composition, right)} & _singles():
            return Character("", False)
    answered = [o for o in right if o is not behaviour.FAILED]
    if dull(composition, answered) or len(right) - len(answered) > MOST_FAILURES:
        return Character("", False)
    return Character(split, usual != right)


def telling(composition: Composition) -> bool:
    """Whether the composition with the constants it has returns enough different values."""
    right = [value for value in answers(composition) if value is not behaviour.FAILED]
    return not dull(composition, right)


def distinct(composition: Composition) -> bool:
    """Whether, with the constants it has, every step matters and no operation alone does the same."""
    return _matters(composition) and not _twin_of_single(composition)


def settled(composition: Composition, split: str) -> bool:
    """Whether close relatives that, with these constants, compute the same stand in the same split.

    Relatives exchange two neighbouring steps; those of a trap also take another fold (no loss of repeats
    where there are none), since a trap's split is chosen by what its usual algorithm does.
    """
    right = answers(composition)
    relatives = _swapped(composition)
    if composition.fold and composition.fold.operation.flawed:  # type: ignore[union-attr]
        relatives += _refolded(composition)
    for relative in relatives:
        body = right_body(relative)
        if (
            body is not None
            and run(relative, body) == right
            and character(relative).split not in ("", split)
        ):
            return False
    return True


def _refolded(composition: Composition) -> list[Composition]:
    """The composition with each other fold of the same result that needs no constant."""
    fold = composition.fold.operation  # type: ignore[union-attr]
    mapped = any(
        not isinstance(e, Step) or isinstance(e.operation, Each) for e in composition.elementwise
    )
    return [
        replace(composition, fold=Step(other))
        for other in FOLDS
        if other.name != fold.name
        and composition.element in other.takes
        and other.gives == fold.gives  # type: ignore[union-attr]
        and not other.constants
        and (other.maps or not mapped)
    ]


def _swapped(composition: Composition) -> list[Composition]:
    """The composition with two neighbouring steps exchanged, where kinds allow it."""
    found = []
    for place in ("before", "elementwise", "after"):
        steps: tuple[Step | Branch, ...] = getattr(composition, place)
        for i in range(len(steps) - 1):
            if all(_keeps_kind(step) for step in steps[i : i + 2]):
                exchanged = (*steps[:i], steps[i + 1], steps[i], *steps[i + 2 :])
                found.append(_placed(composition, place, exchanged))
    return found


def _placed(composition: Composition, place: str, steps: tuple[Step | Branch, ...]) -> Composition:
    changed: dict[str, Any] = {place: steps}
    return replace(composition, **changed)


def _keeps_kind(step: Step | Branch) -> bool:
    operation = step.test.operation if isinstance(step, Branch) else step.operation
    return not isinstance(operation, (Each, Whole)) or operation.takes == operation.gives


def dull(composition: Composition, found: list[Any]) -> bool:
    """Whether too few different answers occur to tell programs apart."""
    if composition.gives == "bool":
        return min(found.count(True), found.count(False)) < LEAST_VERDICTS
    return len(set(map(repr, found))) < LEAST_OUTCOMES


def _split(composition: Composition, body: str, usual: list[Any]) -> str:
    """The split of the most frequent body's outcomes, or "" where it would be a twin of another's.

    The same text may serve several kinds of argument (``len(values) * 3``). Where a body works on text, its
    outcomes there name a split as well, and both must agree.
    """
    split = _of(_digest(composition, usual))
    kinds = composition.kinds
    if kinds[0] == "int":
        return split
    on_text = tuple("str" if kind == kinds[0] else kind for kind in kinds)
    outcomes = usual if kinds == on_text else run(composition, body, inputs.probes(on_text))
    if outcomes.count(behaviour.FAILED) > MOST_FAILURES:
        return split
    return split if _of(behaviour.digest(["text", *on_text, *outcomes])) == split else ""


def _of(key: str) -> str:
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    for split, size in SHARES.items():
        share -= size
        if share < 0:
            return split
    return "train"


def _matters(composition: Composition) -> bool:
    """Whether the composition computes something else without any of its steps."""
    right = answers(composition)
    for shorter in without_one(composition):
        body = right_body(shorter)
        if body and shorter.kinds == composition.kinds and run(shorter, body) == right:
            return False
    return True


def without_one(composition: Composition) -> list[Composition]:
    """The composition without each step that keeps the kind of what it takes; branches lose a side."""
    found: list[Composition] = []
    for place in ("before", "elementwise", "after"):
        steps: tuple[Step | Branch, ...] = getattr(composition, place)
        for i, step in enumerate(steps):
            rest = steps[:i] + steps[i + 1 :]
            if isinstance(step, Branch):
                for side in (step.then, step.other):
                    found.append(_placed(composition, place, (*steps[:i], side, *steps[i + 1 :])))
                found.append(_placed(composition, place, rest))
                continue
            if _keeps_kind(step) and (rest or composition.source):
                found.append(_placed(composition, place, rest))
    return found


@cache
def _singles() -> frozenset[str]:
    """Digests of all single operations, each with each of its constants."""
    digests: set[str] = set()
    for domain in DOMAINS:
        seen: set[str] = set()
        for i in range(1500):
            composition = draw(Random(f"single/{domain}/{i}"), domain, 1)
            if composition.weight > 1 or composition.signature in seen:
                continue
            seen.add(composition.signature)
            for variant in _constants(standard(composition)):
                for solution in solutions(variant, "f"):
                    digests.add(_digest(variant, run(variant, solution.body)))
    return frozenset(digests)


def _constants(composition: Composition) -> list[Composition]:
    variants = [composition]
    for step in composition.steps:
        constants = getattr(step.operation, "constants", ())
        variants += [substitute(composition, step, c) for c in constants if c != step.constant]
    return variants
