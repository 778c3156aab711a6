"""Every way minicode knows to write the body of a composition.

Three styles (a loop, a comprehension, filter and map with lambdas) times the alternative codes of each
operation. All are correct, and none has needless parentheses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import product

from diffucode.tasks.minicode.compose import Composition

INDENT = "    "
STYLES = ("comprehension", "loop", "functional")


def bodies(composition: Composition, style: str) -> Iterator[str]:
    """All bodies in a style, most usual codes first; indented, each ending in a newline."""
    source, x = composition.source, composition.source.variable
    guards = [(source.guard,)] if source.guard else []
    choices = [
        *guards,
        *(f.codes for f, _ in composition.filters),
        *(m.codes for m, _ in composition.maps),
    ]
    constants = ["" for _ in guards] + [c for _, c in (*composition.filters, *composition.maps)]
    kept = len(guards) + len(composition.filters)
    iterable = tidy(source.iterables[0].format(a=composition.argument))
    for codes in product(*choices):
        filled = list(zip(codes, constants, strict=True))
        tests = [tidy(code.format(x=x, c=c, a=composition.argument)) for code, c in filled[:kept]]
        element = x
        for code, c in filled[kept:]:
            element = code.format(x=f"({element})", c=c)
        lines = _WRITE[style](composition, iterable, " and ".join(tests), tidy(element))
        yield "".join(f"{INDENT}{line}\n" for line in lines)


@cache
def tidy(expression: str) -> str:
    """The expression without needless parentheses."""
    return ast.unparse(ast.parse(expression, mode="eval"))


def _loop(composition: Composition, iterable: str, condition: str, element: str) -> list[str]:
    reducer, x = composition.reducer, composition.source.variable
    if reducer.update:
        start, update, result = (
            f"total = {reducer.start}",
            reducer.update.format(e=element),
            "total",
        )
    else:
        start, update = "result = []", f"result.append({element})"
        result = reducer.code.format(g="result", l="result")
    indent = INDENT
    lines = [start, f"for {x} in {iterable}:"]
    if condition:
        lines.append(f"{indent}if {condition}:")
        indent += INDENT
    return [*lines, f"{indent}{update}", f"return {result}"]


def _comprehension(
    composition: Composition, iterable: str, condition: str, element: str
) -> list[str]:
    x = composition.source.variable
    inner = f"{element} for {x} in {iterable}" + (f" if {condition}" if condition else "")
    alone = "({g})" in composition.reducer.code  # sum(x for ...) needs no second parentheses
    return _return(composition, generator=inner if alone else f"({inner})", listed=f"[{inner}]")


def _functional(composition: Composition, iterable: str, condition: str, element: str) -> list[str]:
    x = composition.source.variable
    if condition:
        iterable = f"filter(lambda {x}: {condition}, {iterable})"
    if element != x:
        iterable = f"map(lambda {x}: {element}, {iterable})"
    return _return(composition, generator=iterable, listed=f"list({iterable})")


def _return(composition: Composition, generator: str, listed: str) -> list[str]:
    reducer = composition.reducer
    setup = [reducer.setup] if reducer.setup else []
    return [*setup, f"return {reducer.code.format(g=generator, l=listed)}"]


_WRITE = {"loop": _loop, "comprehension": _comprehension, "functional": _functional}
