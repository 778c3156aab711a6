"""Draws what a problem computes, before it is worded or solved.

A composition is a pipeline over the argument: whole-value steps, then (usually) a view of the value as
elements with element-wise steps and a fold, then whole-value steps again. Its band, the difficulty from
1 to 5, counts the operations and the state they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TypeVar

from diffucode.tasks.minicode.language import Each, Fold, Keep, Operation, Source, Whole
from diffucode.tasks.minicode.operations import ALL

_Operation = TypeVar("_Operation", bound=Operation)

DOMAINS = ("numbers", "lists", "strings", "dictionaries", "grids")
BANDS = (1, 2, 3, 4, 5)
FOLDED = 0.65
"""Share of compositions with a view of elements and a fold."""
STATEFUL = 0.25
"""Share of folds over at least two pieces that carry state."""
GUESTS: dict[str, tuple[str, ...]] = {
    "numbers": ("lists",),
    "lists": (),
    "strings": ("lists",),
    "dictionaries": ("strings", "lists"),
    "grids": ("lists",),
}
"""Whose operations a domain uses beside its own and the shared ones, on kinds that it arrives at."""
OWN = 0.5
"""How often an operation must be the domain's own, where there is one."""
ARGUED = 0.25
"""Share of compositions with a number among their constants that take it as a second argument."""
STARTS: dict[str, tuple[str, ...]] = {
    "numbers": ("int",),
    "lists": ("ints",),
    "strings": ("str", "str", "words"),
    "dictionaries": ("dict",),
    "grids": ("grid",),
}
NAMES: dict[str, tuple[str, ...]] = {
    "int": ("n", "num"),
    "ints": ("nums", "values", "xs"),
    "str": ("s", "text"),
    "words": ("words", "names"),
    "dict": ("d", "table"),
    "grid": ("grid", "image"),
}
SECOND: dict[str, str] = {
    "ints": "other",
    "dict": "other",
    "grid": "other",
    "str": "t",
    "words": "other",
    "int": "m",
}


@dataclass(frozen=True)
class Step:
    """An operation with its constant: source text, or ``k`` for the function's second argument."""

    operation: Source | Keep | Each | Fold | Whole
    constant: str = ""


@dataclass(frozen=True)
class Branch:
    """An element-wise choice: ``then`` where ``test`` holds, else ``other`` (which may branch again)."""

    test: Step
    then: Step
    other: Step | Branch

    @property
    def steps(self) -> tuple[Step, ...]:
        other = self.other.steps if isinstance(self.other, Branch) else (self.other,)
        return (self.test, self.then, *other)


@dataclass(frozen=True)
class Composition:
    domain: str
    start: str
    """Kind of the first argument."""
    argument: str
    before: tuple[Step, ...]
    source: Step | None
    elementwise: tuple[Step | Branch, ...]
    fold: Step | None
    after: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All operations in order, branches flattened."""
        middle = [s for e in self.elementwise for s in (e.steps if isinstance(e, Branch) else (e,))]
        block = (self.source, *middle, self.fold) if self.source else ()
        return tuple(s for s in (*self.before, *block, *self.after) if s is not None)

    @property
    def extra(self) -> str:
        """Kind of the second argument that an operation asks for, or ""."""
        kinds = [s.operation.extra for s in self.steps if isinstance(s.operation, (Source, Whole))]
        return next((k for k in kinds if k), "")

    @property
    def arguments(self) -> tuple[str, ...]:
        if any(s.constant == "k" for s in self.steps):
            return (self.argument, "k")
        return (self.argument, SECOND[self.extra]) if self.extra else (self.argument,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the arguments; "k" is a small positive integer."""
        if any(s.constant == "k" for s in self.steps):
            return (self.start, "k")
        return (self.start, self.extra) if self.extra else (self.start,)

    @property
    def gives(self) -> str:
        """Kind of the result."""
        if self.after:
            return self.after[-1].operation.gives  # type: ignore[union-attr]
        if self.fold:
            return folded(self.fold.operation, self.element)  # type: ignore[arg-type]
        return self.before[-1].operation.gives  # type: ignore[union-attr]

    @property
    def element(self) -> str:
        """Kind of the elements that the fold receives."""
        kind = self.source.operation.gives if self.source else ""  # type: ignore[union-attr]
        for step in self.elementwise:
            kind = gives(step, kind)
        return kind

    @property
    def signature(self) -> str:
        """The operations without constants and wording; neighbouring keeps commute, so they are sorted."""
        parts: list[str] = []
        run: list[str] = []
        for step in (*self.elementwise, None):
            if isinstance(step, Step) and isinstance(step.operation, Keep):
                run.append(step.operation.name)
                continue
            if run:
                parts.append("&".join(sorted(run)))
                run = []
            if step is not None:
                parts.append(label(step))
        names = [
            ".".join(s.operation.name for s in self.before),
            self.source.operation.name if self.source else "",
            ".".join(parts),
            self.fold.operation.name if self.fold else "",
            ".".join(s.operation.name for s in self.after),
        ]
        return f"{self.start}>" + "|".join(names)

    @property
    def weight(self) -> int:
        """Composed operations and state; an untouched view counts nothing."""
        return sum(weight(s) for s in (*self.before, *self.elementwise, *self.after)) + (
            weight(self.fold) if self.fold else 0
        )

    @property
    def band(self) -> int:
        return min(5, max(1, self.weight - 1))


def label(step: Step | Branch) -> str:
    if isinstance(step, Step):
        return step.operation.name
    return f"({step.test.operation.name}?{step.then.operation.name}:{label(step.other)})"


def weight(step: Step | Branch) -> int:
    if isinstance(step, Branch):
        return 1 + weight(step.other)
    return 1 + (step.operation.state if isinstance(step.operation, (Fold, Whole)) else 0)


def gives(step: Step | Branch, kind: str) -> str:
    """Kind of an element of ``kind`` after a step."""
    if isinstance(step, Branch):
        return gives(step.then, kind)
    return step.operation.gives if isinstance(step.operation, Each) else kind


def folded(fold: Fold, element: str) -> str:
    """Kind of a fold's result over elements of a kind."""
    if fold.gives == "list":
        return "ints" if element == "int" else "words"
    return (
        {"int": "int", "word": "str", "char": "str"}[element]
        if fold.gives == "element"
        else fold.gives
    )


class Refused(Exception):
    """This draw leads nowhere (no operation fits): draw again."""


def draw(
    rng: Random, domain: str, band: int, unseen: bool = False, trap: bool | None = None
) -> Composition:
    """A random composition of a domain and band, with standard constants; with ``unseen`` it holds an
    operation kept for that.

    ``trap`` says whether its fork may have a flawed algorithm; whether that misses a case here is another
    question (no loss of negatives where there are none).
    """
    while True:
        try:
            composition = _Draw(rng, domain, band, unseen, trap).composition()
        except Refused:
            continue
        if (
            composition.band == band
            and any(s.operation.unseen for s in composition.steps) == unseen
        ):
            return composition


class _Draw:
    def __init__(
        self, rng: Random, domain: str, band: int, unseen: bool, trap: bool | None
    ) -> None:
        self.rng, self.domain, self.band, self.unseen, self.trap = rng, domain, band, unseen, trap
        self.used: set[str] = set()
        self.extra = ""

    def composition(self) -> Composition:
        rng = self.rng
        start = rng.choice(STARTS[self.domain])
        pieces = self.band + 1
        if self.band == 1 and rng.random() < 0.1:
            pieces = 1
        kind, source, fold = start, None, None
        elementwise: list[Step | Branch] = []
        if rng.random() < FOLDED:
            state = rng.choice((1, 1, 2)) if pieces > 2 and rng.random() < STATEFUL else 0
            left = pieces - 1 - state
            inner = rng.randint(min(1, left - (pieces < 3)), min(4, left)) if left else 0
            outer = left - inner
            n_before = rng.randint(0, min(2, outer))
            before, kind = self.wholes(kind, n_before)
            source = Step(self.pick(_taking(Source, kind)))
            elementwise, element = self.middle(source.operation.gives, inner)  # type: ignore[union-attr]
            mapped = any(not _is_keep(s) for s in elementwise)
            fold = self.step(
                [
                    f
                    for f in _taking(Fold, element)
                    if f.state == state and (f.maps or not mapped) and self.may(f)
                ]
            )
            after, _ = self.wholes(folded(fold.operation, element), outer - n_before)  # type: ignore[arg-type]
        else:
            before, kind = self.wholes(kind, min(pieces, 4), fork=True)
            after = []
        composition = Composition(
            self.domain,
            start,
            rng.choice(NAMES[start]),
            tuple(before),
            source,
            tuple(elementwise),
            fold,
            tuple(after),
        )
        return composition

    def may(self, fork: Fold | Whole) -> bool:
        return self.trap is None or bool(fork.flawed) == self.trap

    def wholes(self, kind: str, n: int, fork: bool = False) -> tuple[list[Step], str]:
        """``n`` whole-value steps from a kind on; with ``fork`` the last is the composition's fork."""
        steps = []
        for i in range(n):
            free = not fork or i < n - 1
            steps.append(self.step([w for w in _taking(Whole, kind) if free or self.may(w)]))
            kind = steps[-1].operation.gives  # type: ignore[union-attr]
        return steps, kind

    def middle(self, kind: str, weight_left: int) -> tuple[list[Step | Branch], str]:
        """Element-wise steps that weigh ``weight_left`` in all: keeps mostly first, maps, branches."""
        steps: list[Step | Branch] = []
        while weight_left:
            roll = self.rng.random()
            if kind == "int" and weight_left >= 2 and roll < 0.3:
                deep = weight_left >= 3 and self.rng.random() < 0.3
                steps.append(self.branch(deep))
                weight_left -= 3 if deep else 2
                continue
            mapped = any(not _is_keep(s) for s in steps)
            keeps, eaches = _taking(Keep, kind), _taking(Each, kind)
            options = eaches if (mapped and roll > 0.15) or roll > 0.5 else keeps
            steps.append(self.step(options or keeps or eaches))
            kind = gives(steps[-1], kind)
            weight_left -= 1
        return steps, kind

    def branch(self, deep: bool) -> Branch:
        test = self.step(_taking(Keep, "int"))
        pool = [e for e in _taking(Each, "int") if e.gives == "int"]
        then = self.step(pool)
        other = self.branch(False) if deep else self.step(pool)
        return Branch(test, then, other)

    def step(self, options: Sequence[Keep | Each | Fold | Whole]) -> Step:
        return standard(Step(self.pick(options)))

    def pick(self, options: Sequence[_Operation]) -> _Operation:
        """One of the options that still fits; its family is spent."""
        fitting = [
            o
            for o in options
            if (self.unseen or not o.unseen)
            and (getattr(o, "family", "") or o.name) not in self.used
            and o.name not in self.used
            and not (getattr(o, "extra", "") and self.extra)
            and o.domain in (self.domain, "shared", *GUESTS[self.domain])
        ]
        if not fitting:
            raise Refused
        own = [o for o in fitting if o.domain == self.domain]
        if own and self.rng.random() < OWN:
            fitting = own
        unseen = [o for o in fitting if o.unseen]
        chosen = self.rng.choice(unseen if unseen and self.rng.random() < 0.5 else fitting)
        self.used.add(getattr(chosen, "family", "") or chosen.name)
        self.used.add(chosen.name)
        self.extra = self.extra or getattr(chosen, "extra", "")
        return chosen


@cache
def _taking(sort: type[_Operation], kind: str) -> tuple[_Operation, ...]:
    """The operations of a sort on values or elements of a kind."""
    return tuple(
        o
        for o in ALL
        if isinstance(o, sort) and (kind in o.takes if isinstance(o, Fold) else kind == o.takes)
    )


def singles() -> list[Composition]:
    """Every operation alone that may stand alone: whole-value steps, and folds of an untouched view."""
    found = []
    for start in dict.fromkeys(kind for kinds in STARTS.values() for kind in kinds):
        folds = [
            (Step(source), standard(Step(fold)))
            for source in _taking(Source, start)
            for fold in _taking(Fold, source.gives)
        ]
        alone = [((standard(Step(whole)),), None, None) for whole in _taking(Whole, start)]
        for before, source, fold in (*alone, *(((), *pair) for pair in folds)):
            one = Composition("", start, NAMES[start][0], before, source, (), fold, ())
            if one.weight == 1:
                found.append(one)
    return found


def standard(step: Step) -> Step:
    """The step with the standard one of its constants."""
    constants = choices(step)
    return replace(step, constant=constants[len(constants) // 2]) if constants else step


def choices(step: Step) -> tuple[str, ...]:
    """The constants that a step may have."""
    return () if isinstance(step.operation, Source) else step.operation.constants


def varied(composition: Composition, rng: Random) -> Composition:
    """The composition with constants drawn anew; in one of four a numeric one becomes the argument ``k``."""

    def change(step: Step) -> Step:
        constants = choices(step)
        return replace(step, constant=rng.choice(constants)) if constants else step

    drawn = transform(composition, change)
    numeric = [s for s in drawn.steps if s.constant.isdigit()]
    if drawn.extra or not numeric or rng.random() > ARGUED:
        return drawn
    return substitute(drawn, rng.choice(numeric), "k")


def substitute(composition: Composition, step: Step, constant: str) -> Composition:
    """The composition with another constant at one step."""
    return transform(composition, lambda s: replace(s, constant=constant) if s is step else s)


def transform(composition: Composition, change: Callable[[Step], Step]) -> Composition:
    """The composition with every step but the view passed through ``change``."""

    def inside(step: Step | Branch) -> Step | Branch:
        if isinstance(step, Step):
            return change(step)
        return Branch(change(step.test), change(step.then), inside(step.other))

    return replace(
        composition,
        before=tuple(map(change, composition.before)),
        elementwise=tuple(map(inside, composition.elementwise)),
        fold=change(composition.fold) if composition.fold else None,
        after=tuple(map(change, composition.after)),
    )


def _is_keep(step: Step | Branch) -> bool:
    return isinstance(step, Step) and isinstance(step.operation, Keep)
