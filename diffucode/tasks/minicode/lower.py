"""A composition becomes Python: one body for each algorithm that its fork knows.

The fork is the fold, or without one the last whole-value step. Everything else is written the same way
for every algorithm.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import NamedTuple

from diffucode.tasks.minicode.compose import SECOND, Branch, Composition, Step
from diffucode.tasks.minicode.language import RATES, Each, Fold, Keep, Source, Whole

LONGEST = 200
"""Characters of a body, with indentation: longer ways to write a composition are left out."""
USUAL = 0.8
"""How often the first spelling is used where there are several."""
VARIABLE = {"ints": "nums", "words": "words", "str": "s", "int": "n", "dict": "d", "grid": "grid"}
_SLOT = re.compile(r"\{([a-z])\}")


class Solution(NamedTuple):
    """A body, indented, and how often training uses its algorithm."""

    algorithm: str
    rate: float
    body: str
    flawed: bool
    """Whether the algorithm is known to miss a case; on some compositions it misses none."""


def solutions(composition: Composition, name: str, rng: Random | None = None) -> list[Solution]:
    """The bodies of a function called ``name``, most frequent algorithm first.

    Without ``rng`` every spelling is the usual one. Rates sum to 1.
    """
    found = list(written(composition, name, rng))
    total = sum(RATES[: len(found)])
    return [
        Solution(algorithm, rate / total, body, flawed)
        for (algorithm, body, flawed), rate in zip(found, RATES, strict=False)
    ]


def written(
    composition: Composition, name: str, rng: Random | None = None
) -> Iterator[tuple[str, str, bool]]:
    """Algorithm, body and whether it is flawed, one after another, each written when asked for."""
    lowering = _Lowering(composition, name, rng)
    for algorithm in lowering.algorithms:
        body = lowering.body(algorithm)
        if body is not None and len(body) <= LONGEST:
            yield algorithm, body, algorithm in lowering.fork.flawed


class _Elements(NamedTuple):
    """A view with its steps: ``for`` loops, conditions, and what becomes of an element."""

    loops: tuple[tuple[str, str], ...]
    conditions: tuple[str, ...]
    element: str
    plain: bool
    """Nothing is filtered or mapped: the single loop's iterable holds the elements."""
    listed: bool
    """That iterable is a list already."""

    @property
    def condition(self) -> str:
        if len(self.conditions) < 2:
            return "".join(self.conditions)
        return tidy(" and ".join(f"({c})" for c in self.conditions))

    @property
    def clauses(self) -> str:
        loops = " ".join(f"for {target} in {iterable}" for target, iterable in self.loops)
        return loops + (f" if {self.condition}" if self.conditions else "")


class _Lowering:
    def __init__(self, composition: Composition, name: str, rng: Random | None) -> None:
        self.composition, self.name, self.rng = composition, name, rng
        self.second = SECOND[composition.extra] if composition.extra else "k"
        last = composition.fold or composition.before[-1]
        self.step = last
        self.fork: Fold | Whole = last.operation  # type: ignore[assignment]

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self.fork.ranks or ("builtin",)

    def body(self, algorithm: str) -> str | None:
        """The function's body by an algorithm, or None where it cannot serve here."""
        c = self.composition
        alone = not c.after and (len(c.before) == (0 if c.fold else 1))
        before = c.before if c.fold else c.before[:-1]
        lines: list[str] = []
        value = c.argument
        for i, step in enumerate(before):
            value = self._prepare(lines, step, value, last=i == len(before) - 1)
        if isinstance(self.fork, Fold):
            written = self._fold(algorithm, value, alone)
        else:
            written = self._whole(algorithm, value, alone)
        if written is None:
            return None
        lines += written[:-1]
        result = written[-1]
        if c.after and any("return " in line for line in lines):
            return None
        for step in c.after:
            result = self._apply(lines, step, result)
        return "".join(f"    {line}\n" for line in [*lines, f"return {result}"])

    def _prepare(self, lines: list[str], step: Step, value: str, last: bool) -> str:
        """A whole-value step before the fork, assigned to a variable."""
        operation = step.operation
        assert isinstance(operation, Whole)
        same = operation.gives == self.composition.start
        name = self.composition.argument if same else VARIABLE[operation.gives]
        lines.append(f"{name} = {tidy(self._fill(operation.inline, step, v=value))}")
        return name

    def _apply(self, lines: list[str], step: Step, value: str) -> str:
        """A whole-value step after the fork, as an expression."""
        code = step.operation.inline  # type: ignore[union-attr]
        if code.count("{v}") > 1 and not value.isidentifier():
            lines.append(f"result = {value}")
            value = "result"
        return tidy(_embed(self._fill(code, step), value))

    def _whole(self, algorithm: str, value: str, alone: bool) -> list[str] | None:
        operation = self.fork
        assert isinstance(operation, Whole)
        if algorithm == "recursion" and not alone:
            return None
        text = self._spell((operation.solutions or {"builtin": operation.inline})[algorithm])
        if algorithm == "recursion" and len(self.composition.arguments) > 1:
            text = re.sub(r"(\{f\}\([^()]*)\)", rf"\1, {self.second})", text)
        return self._fill(text, self.step, v=value).split("\n")

    def _fold(self, algorithm: str, value: str, alone: bool) -> list[str] | None:
        fold = self.fork
        assert isinstance(fold, Fold)
        elements = self._elements(value)
        if algorithm == "recursion":
            return self._recursion(fold, value, elements) if alone else None
        stacked = algorithm == "stack" and fold.stacked
        if algorithm not in fold.solutions and not stacked:
            return None
        text = self._spell(fold.solutions.get(algorithm) or fold.solutions["accumulate"])
        return self._block(self._fill(text, self.step), elements, stacked)

    def _elements(self, value: str) -> _Elements:
        source_step = self.composition.source
        assert source_step is not None
        source = source_step.operation
        assert isinstance(source, Source)
        loops = tuple((t, self._fill(i, source_step, v=value)) for t, i in source.loops)
        x = source.element
        conditions = [self._fill(source.guard, source_step, v=value, x=x)] if source.guard else []
        for step in self.composition.elementwise:
            if isinstance(step, Step) and isinstance(step.operation, Keep):
                conditions.append(self._on(step, x))
            else:
                x = self._on(step, x)
        plain = x == source.element and len(loops) == 1 and not conditions
        listed = plain and source.takes in ("ints", "words", "grid") and loops[0][1].isidentifier()
        return _Elements(loops, tuple(conditions), x, plain, listed)

    def _on(self, step: Step | Branch, x: str) -> str:
        """The expression of an element-wise step on the expression of an element."""
        if isinstance(step, Branch):
            test, then, other = (self._on(s, x) for s in (step.test, step.then, step.other))
            return tidy(f"({then}) if ({test}) else ({other})")
        operation = step.operation
        assert isinstance(operation, (Keep, Each))
        codes = operation.codes
        if not x.isidentifier():  # a long expression is not written twice where once will do
            codes = tuple(sorted(codes, key=lambda code: code.count("{x}")))[:1]
        return tidy(self._fill(self._spell(codes), step, x=atom(x)))

    def _block(self, text: str, elements: _Elements, stacked: bool) -> list[str]:
        """Lines of a fold's solution with its ``@`` lines put into the loop."""
        lines: list[str] = []
        body: list[str] = []
        if stacked:
            target, iterable = elements.loops[-1]
            loops = " ".join(f"for {t} in {i}" for t, i in elements.loops)
            nested = len(elements.loops) > 1
            parts = f"({target})" if "," in target else target
            lines.append(f"stack = [{parts} {loops}]" if nested else f"stack = list({iterable})")
        for line in text.split("\n"):
            if line.startswith("@"):
                body.append(line[1:])
                continue
            if body:
                lines += self._loop(body, elements, stacked)
                body = []
            lines.append(_inside(line, elements))
        return lines

    def _loop(self, body: list[str], elements: _Elements, stacked: bool) -> list[str]:
        lines: list[str] = []
        indent = ""
        if stacked:
            lines, indent = ["while stack:", f"    {elements.loops[-1][0]} = stack.pop()"], "    "
        else:
            for target, iterable in elements.loops:
                lines.append(f"{indent}for {target} in {iterable}:")
                indent += "    "
        element, condition = elements.element, elements.condition
        uses = sum(line.count("{e}") + line.count("{y}") for line in body)
        if not element.isidentifier() and (uses > 1 or (uses and element in condition)):
            lines.append(f"{indent}z = {element}")
            condition, element = condition.replace(element, "z"), "z"
        if condition:
            lines.append(f"{indent}if {condition}:")
            indent += "    "
        return lines + [indent + _operand(line, element) for line in body]

    def _recursion(self, fold: Fold, value: str, elements: _Elements) -> list[str] | None:
        source = self.composition.source.operation  # type: ignore[union-attr]
        assert isinstance(source, Source)
        if not (fold.step and source.empty) or not (source.forward or fold.stacked):
            return None
        others = "".join(f", {a}" for a in self.composition.arguments[1:])
        call = f"{self.name}({_put(source.rest, v=value)}{others})"
        head = tidy(_put(source.head, v=value))
        lines = [f"if {_put(source.empty, v=value)}:", f"    return {fold.base}"]
        x, condition = source.element, elements.condition
        step = _put(
            fold.step, e=atom(elements.element) if "[" not in fold.step else elements.element
        )
        if not condition and len(re.findall(rf"\b{x}\b", step)) < 2:
            return [*lines, tidy(re.sub(rf"\b{x}\b", atom(head), step).replace("rest", call))]
        if re.search(rf"\b{x}\b", f"{step} {condition}"):
            lines.append(f"{x} = {head}")
        if not condition:
            return [*lines, tidy(step.replace("rest", call))]
        lines.append(f"rest = {call}")
        return [*lines, f"{tidy(step)} if {condition} else rest"]

    def _fill(self, text: str, step: Step, v: str = "", x: str = "") -> str:
        slots = {"c": step.constant, "b": self.second, "f": self.name}
        return _put(text, **slots, **({"v": v} if v else {}), **({"x": x} if x else {}))

    def _spell(self, codes: str | tuple[str, ...]) -> str:
        if isinstance(codes, str):
            return codes
        if self.rng is None or len(codes) == 1 or self.rng.random() < USUAL:
            return codes[0]
        return self.rng.choice(codes[1:])


def _put(text: str, **slots: str) -> str:
    """Fill the slots that are given; others stay for a later hand."""
    return _SLOT.sub(lambda m: slots.get(m[1], m[0]), text)


def _inside(line: str, elements: _Elements) -> str:
    """A line outside the loop, with its generators and lists."""
    if elements.plain:
        generator = elements.loops[0][1]
        items = generator if elements.listed else f"list({generator})"
    else:
        generator = f"{elements.element} {elements.clauses}"
        items = f"[{generator}]"
    line = re.sub(r"\{g\}(?=,)", "{g}" if elements.plain else "({g})", line)
    return _put(line, g=generator, l=items, t=elements.clauses, e=elements.element)


def _operand(line: str, element: str) -> str:
    """A loop line with the element in it; parentheses only where they are needed."""
    line = re.sub(r"(?<=[(\[])\{[ey]\}(?=[)\]])", lambda _: element, line)
    if element.isidentifier() or not re.search(r"\{[ey]\}", line):
        return _put(line, e=element, y=element)
    line = _put(line, e=atom(element), y=atom(element))
    if found := re.fullmatch(r"( *if )(.+):", line):
        return f"{found[1]}{tidy(found[2])}:"
    if found := re.fullmatch(r"( *[\w\[\]]+ [-+*]?= )([^,]+|.+\))", line):
        return f"{found[1]}{tidy(found[2])}"
    return line


def _embed(code: str, value: str) -> str:
    """The code with a value in its slots, in parentheses only where it is an operand."""
    code = re.sub(r"(?<=[(\[])\{v\}(?=[)\],])", lambda _: value, code)
    return _put(code, v=atom(value))


def atom(expression: str) -> str:
    """The expression in parentheses, unless nothing binds tighter than it."""
    return expression if _atomic(expression) else f"({expression})"


@lru_cache(maxsize=100_000)
def _atomic(expression: str) -> bool:
    tight = (ast.Name, ast.Call, ast.Subscript, ast.Attribute, ast.List, ast.ListComp, ast.Dict)
    node = ast.parse(expression, mode="eval").body
    return isinstance(node, tight) or (isinstance(node, ast.Constant) and expression[0] != "-")


@lru_cache(maxsize=100_000)
def tidy(expression: str) -> str:
    """The expression without needless parentheses (generators excepted: unparse doubles theirs)."""
    if " for " in expression or "(" not in expression:
        return expression
    return ast.unparse(ast.parse(expression, mode="eval"))
