"""Detectors of the tags: what a program or a docstring shows by itself, without the generator's records.

They judge authored problems and label noise, and tell which algorithm a model chose.
"""

from __future__ import annotations

import ast
import re
from functools import cache

from diffucode.tasks.minicode.compose import NAMES
from diffucode.tasks.minicode.forms import HINTS
from diffucode.tasks.minicode.language import Each, Fold, Keep, Whole
from diffucode.tasks.minicode.operations import ALL

_DOMAIN_OF = {
    "int": "numbers",
    "ints": "lists",
    "str": "strings",
    "words": "strings",
    "dict": "dictionaries",
    "grid": "grids",
}
_TABLES = {"set", "Counter", "fromkeys", "dict", "defaultdict", "get", "setdefault"}


def algorithm(program: str) -> str | None:
    """The algorithm that a program's first function uses, or None where it does not parse.

    Judged in this order: it calls itself; it works through a list called with ``pop`` while it lasts; two
    indices move in a ``while`` loop; it sorts; it builds a dict or set; it loops; it comprehends or calls
    built-in functions on its argument; else it is a formula.
    """
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        return None
    function = functions[0]
    nodes = [*ast.walk(function)]
    calls = {_called(node) for node in nodes if isinstance(node, ast.Call)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    loops = [node for node in nodes if isinstance(node, (ast.For, ast.While))]
    if function.name in calls:
        return "recursion"
    if "pop" in calls or "stack" in names:
        return "stack"
    if _two_indices(loops):
        return "two-pointer"
    tables = calls & _TABLES or any(
        isinstance(node, (ast.Dict, ast.Set, ast.DictComp, ast.SetComp)) for node in nodes
    )
    if calls & {"sorted", "sort"} and not (tables and loops):
        return "table" if tables and "set" in calls else "sort"
    if tables:
        return "table"
    if loops:
        return "accumulate"
    iterates = any(isinstance(n, (ast.GeneratorExp, ast.ListComp, ast.Subscript)) for n in nodes)
    return "builtin" if iterates or calls - {"abs", "int", "max", "min"} else "closed-form"


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _two_indices(loops: list[ast.For | ast.While]) -> bool:
    for loop in loops:
        names = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name)}
        if isinstance(loop, ast.While) and {"i", "j"} <= names:
            return True
        if isinstance(loop, ast.For) and {"i", "j"} <= names and "range" in names:
            return True
    return False


def named(text: str) -> str | None:
    """The algorithm that a docstring asks for, or None."""
    found = [name for name, hint in HINTS.items() if hint in text]
    return found[0] if len(found) == 1 else None


def domain(program: str) -> str | None:
    """The domain of a function by the name of its first argument, or None."""
    found = re.search(r"def \w+\((\w+)", program)
    kinds = [kind for kind, names in NAMES.items() if found and found[1] in names]
    return _DOMAIN_OF[kinds[0]] if kinds else None


def band(docstring: str) -> int:
    """The difficulty that a docstring's operations add up to."""
    text, weight = docstring.lower(), 0
    for pattern, state in _phrases():
        text, n = pattern.subn(" | ", text)
        weight += n * (1 + state)
    return min(5, max(1, weight - 1))


@cache
def _phrases() -> tuple[tuple[re.Pattern[str], int], ...]:
    """Every wording of every operation as a pattern, longest first, with the state it adds."""
    found: dict[str, int] = {}
    for operation in ALL:
        if not isinstance(operation, (Keep, Each, Fold, Whole)):
            continue
        state = getattr(operation, "state", 0)
        if isinstance(operation, Keep):
            texts = [*operation.phrases, operation.adjective]
        elif isinstance(operation, Each):
            texts = [*operation.nouns, *operation.verbs, operation.its]
        else:
            texts = [*operation.nouns, *operation.verbs]
        for text in filter(None, texts):
            found[_pattern(text)] = state
    ordered = sorted(found, key=lambda text: -len(text))
    return tuple((re.compile(text), found[text]) for text in ordered)


def _pattern(text: str) -> str:
    """A wording with its slots open; the value's own words stay for other patterns."""
    pieces = re.split(r"(\{\w\})", text.lower())
    slots = {"{c}": r"(?:-?\d+|k|'.*?')", "{b}": r"\w+", "{v}": r"(?=.*?)"}
    return r"\b" + "".join(slots.get(p, re.escape(p.strip()) if p else "") for p in pieces)
