"""Words for a composition: a function name, a docstring, a plan.

Every docstring says the same thing: what the composition computes. Three kinds of wording nest nouns
("the sum of the squares of ..."), list steps as sentences, or list them as clauses; a fourth and fifth are
kept for the ``ood`` split.
"""

from __future__ import annotations

import re
from random import Random

from diffucode.tasks.minicode.compose import SECOND, Branch, Composition, Step
from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole

GENERIC = ("solve", "compute", "answer", "f")
MEANS = {
    "builtin": "directly",
    "accumulate": "with a loop",
    "sort": "by sorting",
    "table": "with a table",
    "two-pointer": "with two pointers",
    "recursion": "recursively",
    "closed-form": "by a formula",
    "stack": "with a stack",
}
"""How a plan names the algorithm it leads to."""
_ASIDE = re.compile(r" \([^'()]*\)")
"""What a docstring must settle and a plan need not: ties, empty data."""
_SLOT = re.compile(r"\{([a-z])\}")


def name(composition: Composition, rng: Random) -> str:
    """A name for the function: a generic one, or two of its operations."""
    if rng.random() < 0.4:
        return rng.choice(GENERIC)
    steps = [s.operation.name for s in composition.steps if not isinstance(s.operation, Source)]
    main = (composition.fold or composition.before[-1]).operation.name
    others = [s for s in steps if s != main]
    return f"{main}_{rng.choice(others)}" if others else f"get_{main}"


def docstring(composition: Composition, rng: Random, unseen: bool = False) -> str:
    """One to several sentences, without quotes around them."""
    say = _Words(composition, rng)
    if unseen:
        return rng.choice((say.result_first, say.numbered))()
    if not say.nests:
        return rng.choice((say.sentences, say.clauses))()
    return rng.choice((say.nouns, say.nouns, say.sentences, say.clauses, say.then_return))()


def plan(composition: Composition, algorithm: str) -> list[str]:
    """The composition in few words, in the order of execution, naming the algorithm at its fork.

    A line for the steps before the view, one for the view and its element-wise steps, one for the rest.
    """
    say = _Words(composition, Random(0), plain=True)
    before = say.prepared()
    elements = [say.view(), *map(say.instruction, say.later())] if composition.source else []
    after = say.finished()
    if composition.fold:
        fold = say.fill(say.some(composition.fold.operation.verbs), composition.fold)  # type: ignore[union-attr]
        after.insert(0, f"{fold} {MEANS[algorithm]}")
    else:
        before[-1] += f" {MEANS[algorithm]}"
    parts = [_ASIDE.sub("", "; ".join(part)) for part in (before, elements, after) if part]
    return parts


class _Words:
    def __init__(self, composition: Composition, rng: Random, plain: bool = False) -> None:
        self.c, self.rng, self.plain = composition, rng, plain
        self.second = SECOND[composition.extra] if composition.extra else "k"

    @property
    def nests(self) -> bool:
        """Nouns can say it: every keep comes before every map."""
        mapped = False
        for step in self.c.elementwise:
            if isinstance(step, Branch):
                return False
            mapped = mapped or isinstance(step.operation, Each)
            if mapped and isinstance(step.operation, Keep):
                return False
        return True

    # --- whole docstrings

    def nouns(self) -> str:
        """Return the double of the sum of the squares of the even numbers in nums."""
        verb = self.rng.choice(("Return", "Return", "Compute", "Give"))
        return f"{verb} {self.noun()}."

    def sentences(self) -> str:
        """Reverse nums. Take the even numbers. Square each. Add them up. Double the result."""
        return " ".join(f"{_upper(s)}." for s in self.steps())

    def clauses(self) -> str:
        """Reverse nums, take the even numbers, square each, then add them up and double the result."""
        steps = self.steps()
        if len(steps) == 1:
            return f"{_upper(steps[0])}."
        joint = self.rng.choice((" and ", ", then ", " and then "))
        return f"{_upper(', '.join(steps[:-1]))}{joint}{steps[-1]}."

    def then_return(self) -> str:
        """Reverse nums, then return the sum of the squares of the even numbers in it."""
        if not self.c.before or not self.c.source:
            return self.nouns()
        steps = self.prepared()
        rest = self.noun(self._after_preparing())
        return f"{_upper(' and '.join(steps))}, then return {rest}."

    def result_first(self) -> str:
        """The result comes from these steps: reverse nums; square each; add them up."""
        return "The result comes from these steps: " + "; ".join(self.steps()) + "."

    def numbered(self) -> str:
        """(1) reverse nums (2) square each (3) add them up"""
        return " ".join(f"({i}) {s}" for i, s in enumerate(self.steps(), 1))

    # --- parts

    def noun(self, value: str = "") -> str:
        """A noun phrase for the result; ``value`` stands for what the steps before the view gave."""
        c = self.c
        text = value or c.argument
        for step in () if value else c.before:
            text = self.fill(self.some(step.operation.nouns), step, v=text)  # type: ignore[union-attr]
        if c.source:
            text = self.elements(text)
            for each in (s for s in c.elementwise if isinstance(s, Step)):
                if isinstance(each.operation, Each):
                    text = f"the {self.fill(self.some(each.operation.nouns), each)} {text}"
            assert c.fold is not None and isinstance(c.fold.operation, Fold)
            text = f"{self.fill(self.some(c.fold.operation.nouns), c.fold)} {text}"
        for step in c.after:
            text = self.fill(self.some(step.operation.nouns), step, v=text)  # type: ignore[union-attr]
        return text

    def elements(self, value: str) -> str:
        """the even numbers in nums that exceed 3: leading keeps as adjectives and relative clauses."""
        source = self.c.source.operation  # type: ignore[union-attr]
        assert isinstance(source, Source)
        where = self.fill(source.where, self.c.source, v=value)  # type: ignore[arg-type]
        return self._chosen(f" {where}")

    def view(self) -> str:
        """take the even numbers that exceed 3"""
        return f"take {self._chosen('')}"

    def _chosen(self, where: str) -> str:
        adjectives: list[str] = []
        clauses: list[str] = []
        for step in self.leading():
            keep = step.operation
            assert isinstance(keep, Keep)
            if keep.adjective and len(adjectives) < 2:
                adjectives.append(keep.adjective)
            else:
                clauses.append(self.fill(self.some(keep.phrases), step))
        source = self.c.source.operation  # type: ignore[union-attr]
        assert isinstance(source, Source)
        noun = " ".join(["the", *adjectives, self.some(source.nouns)])
        return f"{noun}{where}" + (f" that {' and '.join(clauses)}" if clauses else "")

    def leading(self) -> list[Step]:
        """The keeps before any map."""
        steps: list[Step] = []
        for step in self.c.elementwise:
            if not (isinstance(step, Step) and isinstance(step.operation, Keep)):
                break
            steps.append(step)
        return steps

    def later(self) -> tuple[Step | Branch, ...]:
        """The element-wise steps from the first map on."""
        return self.c.elementwise[len(self.leading()) :]

    def steps(self) -> list[str]:
        """Instructions in the order of execution."""
        c = self.c
        lines = self.prepared()
        if c.source:
            assert c.fold is not None and isinstance(c.fold.operation, Fold)
            lines.append(f"take {self.elements(self._after_preparing())}")
            lines += map(self.instruction, self.later())
            lines.append(self.fill(self.some(c.fold.operation.verbs), c.fold))
        return lines + self.finished()

    def finished(self) -> list[str]:
        """Instructions after the fork."""
        value = "it" if self.plain else "the result"
        return [self._verb(step, value) for step in self.c.after]

    def _verb(self, step: Step, value: str) -> str:
        assert isinstance(step.operation, Whole)
        return self.fill(self.some(step.operation.verbs), step, v=value)

    def prepared(self) -> list[str]:
        """Instructions before the view: the first names the argument."""
        lines = []
        for i, step in enumerate(self.c.before):
            value = self.c.argument if i == 0 else self._result_of(self.c.before[i - 1])
            lines.append(self._verb(step, value))
        return lines

    def _after_preparing(self) -> str:
        return self._result_of(self.c.before[-1]) if self.c.before else self.c.argument

    def _result_of(self, step: Step) -> str:
        operation = step.operation
        assert isinstance(operation, Whole)
        return "it" if operation.gives == operation.takes else "the result"

    def instruction(self, step: Step | Branch) -> str:
        if isinstance(step, Branch):
            return f"replace each by {self.choice(step)}"
        if isinstance(step.operation, Keep):
            keep = step.operation
            which = (
                f"are {keep.adjective}"
                if keep.adjective
                else self.fill(self.some(keep.phrases), step)
            )
            return f"keep those that {which}"
        assert isinstance(step.operation, Each)
        return self.fill(self.some(step.operation.verbs), step)

    def choice(self, branch: Branch) -> str:
        """its square if it is even, else its double"""
        keep, then = branch.test.operation, branch.then.operation
        assert isinstance(keep, Keep) and isinstance(then, Each)
        test = _singular(self.fill(self.some(keep.phrases), branch.test))
        if isinstance(branch.other, Branch):
            other = self.choice(branch.other)
        else:
            assert isinstance(branch.other.operation, Each)
            other = self.fill(branch.other.operation.its, branch.other)
        return f"{self.fill(then.its, branch.then)} if it {test}, else {other}"

    def some(self, options: tuple[str, ...]) -> str:
        return options[0] if self.plain else self.rng.choice(options)

    def fill(self, text: str, step: Step, v: str = "") -> str:
        slots = {"c": step.constant, "b": self.second, "v": v}
        return _SLOT.sub(lambda m: slots.get(m[1], m[0]), text)


def _singular(phrase: str) -> str:
    """are even -> is even; exceed 3 -> exceeds 3"""
    first, _, rest = phrase.partition(" ")
    verb = {"are": "is", "have": "has", "do": "does"}.get(first, first + "s")
    return f"{verb} {rest}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
