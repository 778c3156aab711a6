"""Which split a composition belongs to, and whether it is worth asking.

Twins, problems that compute the same function, must never stand in different splits. So the split is a
hash of *behaviour*: of what the composition, with standard constants, computes on common probes. Whatever
structure two compositions have, if they behave alike there they share a split. A problem with other
constants is let through only where its own behaviour hashes to the same split, so that constants with
which a step does nothing, or two steps commute, make no twins either.

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
    NAMES,
    Branch,
    Composition,
    Step,
    choices,
    singles,
    standard,
    substitute,
    transform,
    varied,
)
from diffucode.tasks.minicode.language import Each, Whole
from diffucode.tasks.minicode.lower import written

_T = TypeVar("_T")

SPLITS = ("train", "rl", "dev", "test", "ood")
SHARES = {"train": 0.46, "rl": 0.15, "dev": 0.14, "test": 0.15, "ood": 0.10}
TRIES = 24
"""Draws of constants for a composition before it is given up."""
LEAST_OUTCOMES = 8
LEAST_VERDICTS = 8
"""How often, of all probes, a yes-or-no problem must say each."""
MOST_FAILURES = inputs.PROBES // 2


class Character(NamedTuple):
    """What the splits need to know of a signature."""

    split: str
    trap: bool
    """The most frequent algorithm is wrong on some probe."""


REFUSED = Character("", False)


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
        known[signature] = find(plain(composition))
    return known[signature]


def plain(composition: Composition) -> Composition:
    """The composition with standard constants and, lest a program be too long with it, the longest name."""
    longest = max(NAMES[composition.start], key=len)
    return replace(transform(composition, standard), argument=longest)


def program(composition: Composition, body: str, name: str = "f") -> str:
    return f"def {name}({', '.join(composition.arguments)}):\n{body}"


def run(composition: Composition, body: str, given: Any = None) -> list[Any]:
    """Outcomes of a body on the probes of its argument kinds (or on ``given`` inputs)."""
    call = behaviour.function(program(composition, body), "f")
    return behaviour.outcomes(call, inputs.probes(composition.kinds) if given is None else given)


def agrees(composition: Composition, body: str, wanted: list[Any]) -> bool:
    """Whether ``run`` on the common probes gives that."""
    call = behaviour.function(program(composition, body), "f")
    return behaviour.agree(call, inputs.probes(composition.kinds), wanted)


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


def _digest(composition: Composition, outcomes: list[Any]) -> str:
    return behaviour.digest([composition.kinds, *outcomes])


def _examine(composition: Composition) -> Character:
    body = right_body(composition)
    if body is None:
        return REFUSED
    right = run(composition, body)
    answered = [o for o in right if o is not behaviour.FAILED]
    if dull(composition, answered) or len(right) - len(answered) > MOST_FAILURES:
        return REFUSED
    first = next(text for _, text, _ in written(composition, "f"))
    trap = first != body and not agrees(composition, first, right)
    unseen = any(s.operation.unseen for s in composition.steps)
    if composition.weight == 1 and not unseen:
        return Character("train", trap)
    split = _named(composition, right)
    if (split == "ood") != unseen or _digest(composition, right) in _singles():
        return REFUSED
    return Character(split, trap)


def settle(composition: Composition, rng: Random) -> Composition | None:
    """The composition with constants of its own that it ``fits`` with; None where no draw of them does."""
    for _ in range(TRIES if any(map(choices, composition.steps)) else 1):
        candidate = varied(composition, rng)
        if fits(candidate):
            return candidate
    return None


def fits(composition: Composition) -> bool:
    """Whether, with the constants it has, the composition has the character that its signature promises,
    returns enough different values, and (but for train) every step matters and no operation alone does the
    same."""
    split, trap = character(composition)
    body = right_body(composition)
    if body is None:  # long constants made it too long
        return False
    right = run(composition, body)
    if dull(composition, [value for value in right if value is not behaviour.FAILED]):
        return False
    unnamed = composition.weight == 1 and split == "train"
    if not unnamed and _named(composition, right) != split:
        return False
    first = next(text for _, text, _ in written(composition, "f"))
    if (first != body and not agrees(composition, first, right)) != trap:
        return False
    if split == "train":
        return True
    return _digest(composition, right) not in _singles() and _matters(composition)


def _placed(composition: Composition, place: str, steps: tuple[Step | Branch, ...]) -> Composition:
    changed: dict[str, Any] = {place: steps}
    return replace(composition, **changed)


def _keeps_kind(step: Step | Branch) -> bool:
    operation = step.test.operation if isinstance(step, Branch) else step.operation
    return not isinstance(operation, (Each, Whole)) or operation.takes == operation.gives


def dull(composition: Composition, found: list[Any]) -> bool:
    """Whether too few different answers occur to tell programs apart, or some cannot be written down."""
    if composition.gives == "bool":
        return min(found.count(True), found.count(False)) < LEAST_VERDICTS
    try:
        return len(set(map(repr, found))) < LEAST_OUTCOMES
    except ValueError:  # an integer of more digits than Python prints
        return True


def _named(composition: Composition, right: list[Any]) -> str:
    """The split that the composition's answers name, or "" where its programs on text name another.

    The same program may serve several kinds of argument (``len(values) * 3``), and must not stand in two
    splits: where one works on text, its outcomes there name a split as well, and all must agree.
    """
    kinds = composition.kinds
    names = {_of(_digest(composition, right))}
    on_text = tuple("str" if kind == kinds[0] else kind for kind in kinds)
    if kinds != on_text and kinds[0] != "int":
        for _, body, flawed in written(composition, "f"):
            outcomes = [] if flawed else run(composition, body, inputs.probes(on_text))
            if outcomes and outcomes.count(behaviour.FAILED) <= MOST_FAILURES:
                names.add(_of(behaviour.digest([on_text, *outcomes])))
    return names.pop() if len(names) == 1 else ""


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
        if body and shorter.kinds == composition.kinds and agrees(shorter, body, right):
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
    """Digests of all single seen operations, each with each of its constants."""
    return frozenset(
        _digest(variant, run(variant, body))
        for composition in singles()
        if not any(step.operation.unseen for step in composition.steps)
        for variant in _constants(composition)
        for _, body, _ in written(variant, "f")
    )


def _constants(composition: Composition) -> list[Composition]:
    """The composition with each constant that one of its steps may have, ``k`` among them."""
    variants = [composition]
    for step in composition.steps:
        constants = choices(step) + ("k",) * any(map(str.isdigit, choices(step)))
        variants += [substitute(composition, step, c) for c in constants if c != step.constant]
    return variants
