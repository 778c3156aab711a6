"""Detectors of the tags: what a program or a docstring shows by itself, without the generator's records.

They judge authored problems and label noise, and tell which algorithm a model chose.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import cache

from diffucode.tasks.minicode.compose import NAMES
from diffucode.tasks.minicode.forms import HINTS
from diffucode.tasks.minicode.language import Each, Fold, Keep, Source, Whole
from diffucode.tasks.minicode.operations import ALL

_DOMAIN_OF = {
    "int": "numbers",
    "ints": "lists",
    "str": "strings",
    "words": "strings",
    "dict": "dictionaries",
    "grid": "grids",
}
_ARGUMENTS = {name for names in NAMES.values() for name in names}
_SLOT = re.compile(r"(\{\w\})")


def algorithm(program: str) -> str | None:
    """The algorithm that a program's first function uses, or None where it does not parse.

    Judged is the heart of the function: not the assignments that prepare an argument at its head, nor what is
    done to ``result`` after it. In this order: it calls itself; it pops from a list; two indices move in a
    loop; a loop keeps a table, or goes over sorted entries; another loop; without a loop it sorts, builds a
    set or dict, comprehends or calls built-in functions, or is a formula.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(program)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    function = next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)
    return _judged(_Heart(function)) if function else None


class _Heart:
    """The statements of a function that its algorithm consists of, taken apart."""

    def __init__(self, function: ast.FunctionDef) -> None:
        body = [s for s in function.body if not (isinstance(s, ast.Expr) and _is_text(s.value))]
        while len(body) > 1 and _prepares(body[0]):
            del body[0]
        ends = [i for i, s in enumerate(body) if _assigned(s) == "result"]
        body = body[: ends[0] + 1] if ends else body
        self.recursive = function.name in {_called(n) for n in ast.walk(function)}
        self.nodes = [node for statement in body for node in ast.walk(statement)]
        self.loops = [n for n in self.nodes if isinstance(n, (ast.For, ast.While))]
        self.looped = [n for loop in self.loops for n in ast.walk(loop)]
        self.calls = [n for n in self.nodes if isinstance(n, ast.Call)]
        self.names = {n.id for n in self.nodes if isinstance(n, ast.Name)}
        targets = [n.target for n in self.nodes if isinstance(n, (ast.For, ast.comprehension))]
        self.elements = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}

    def named(self, *names: str) -> list[ast.Call]:
        """The calls of these functions and methods, on whole values, not on elements."""
        return [
            call
            for call in self.calls
            if _called(call) in names
            and not (
                call.args and isinstance(a := call.args[0], ast.Name) and a.id in self.elements
            )
        ]


def _judged(heart: _Heart) -> str:
    if heart.recursive:
        return "recursion"
    if heart.named("pop") or "stack" in heart.names:
        return "stack"
    if any(map(_two_places, heart.loops)):
        return "two-pointer"
    if heart.loops:
        if not {_called(n) for n in heart.looped} & {"get", "setdefault"}:
            return "accumulate"
        return "sort" if any(map(_over_sorted_entries, heart.loops)) else "table"
    sorts = [c for c in heart.named("sorted") if not _wraps(c)] + heart.named("sort")
    tables = [*heart.named("set", "fromkeys", "Counter"), *filter(_plain_set, heart.nodes)]
    tables = [t for t in tables if not (isinstance(t, ast.Call) and _wraps(t))]
    if sorts:
        return "table" if any(_picks_from_set(n) for n in heart.nodes) else "sort"
    if tables:
        return "table"
    counts = any(isinstance(n, (ast.comprehension, ast.Subscript, ast.Slice)) for n in heart.nodes)
    arithmetic = any(
        isinstance(n, ast.BinOp) and not isinstance(n.op, (ast.Add, ast.BitOr)) for n in heart.nodes
    )
    reduces = {_called(c) for c in heart.calls} & {
        "sum",
        "any",
        "all",
        "join",
        "range",
        "bin",
        "next",
    }
    return "closed-form" if arithmetic and not counts and not reduces else "builtin"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _assigned(statement: ast.stmt) -> str | None:
    """The variable of an assignment to one."""
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None


def _prepares(statement: ast.stmt) -> bool:
    return _assigned(statement) in _ARGUMENTS


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _two_places(loop: ast.For | ast.While) -> bool:
    """Whether a loop moves two indices, or one that it reads beside its neighbour."""
    names = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name)}
    if isinstance(loop, ast.For):
        return {"i", "j", "range"} <= names
    places = {ast.dump(n.slice) for n in ast.walk(loop) if isinstance(n, ast.Subscript)}
    return {"i", "j"} <= names or ("i" in names and len(places) > 1)


def _over_sorted_entries(loop: ast.For | ast.While) -> bool:
    return (
        isinstance(loop, ast.For)
        and isinstance(loop.target, ast.Tuple)
        and _called(loop.iter) == "sorted"
    )


def _wraps(call: ast.Call) -> bool:
    """Whether a call works on a result, something already collected, rather than on a view of elements."""
    if not call.args or isinstance(inner := call.args[0], (ast.GeneratorExp, ast.Name)):
        return False
    if isinstance(inner, ast.SetComp):
        return not _plain_set(inner)
    if _called(inner) in ("set", "fromkeys"):
        return _wraps(inner)  # type: ignore[arg-type]
    collected = (ast.ListComp, ast.DictComp, ast.GeneratorExp)
    return any(
        isinstance(n, collected) or _called(n) in ("join", "sum", "max", "min", "len")
        for n in ast.walk(inner)
    )


def _plain_set(node: ast.AST) -> bool:
    """A set of elements that are not chosen by how often they occur."""
    return isinstance(node, (ast.SetComp, ast.Set)) and "count" not in map(_called, ast.walk(node))


def _picks_from_set(node: ast.AST) -> bool:
    """``out = sorted(set(...))`` of which one is picked: the set is the point."""
    return (
        isinstance(node, ast.Assign)
        and _assigned(node) != "result"
        and _called(node.value) == "sorted"
        and _called(node.value.args[0]) == "set"  # type: ignore[attr-defined]
    )


def named(text: str) -> str | None:
    """The algorithm that a docstring asks for, or None."""
    found = [name for name, hint in HINTS.items() if hint in text]
    return found[0] if len(found) == 1 else None


def domain(program: str) -> str | None:
    """The domain of a function by the name of its first argument, or None."""
    found = re.search(r"def \w+\((\w+)", program)
    kinds = [kind for kind, names in NAMES.items() if found and found[1] in names]
    return _DOMAIN_OF[kinds[0]] if kinds else None


def in_scope(program: str) -> bool:
    """Whether a program looks like one of minicode's: arguments it knows, a docstring of its operations."""
    _, *said = program.split('"""', 2)
    return domain(program) is not None and bool(said) and any(operations(said[0]))


def band(docstring: str) -> int:
    """The difficulty that a docstring's operations add up to."""
    return min(5, max(1, sum(operations(docstring)) - 1))


def operations(docstring: str) -> list[int]:
    """The weights of the operations that a docstring names, in no order; [] where it names none."""
    text, weights = docstring.lower(), []
    for pattern, weight in _wordings():
        text, n = pattern.subn(r"|\g<value>|", text)
        weights += n * [weight]
    return weights


@cache
def _wordings() -> tuple[tuple[re.Pattern[str], int], ...]:
    """Every wording of every operation as a pattern, longest first, with what it weighs.

    The test of a choice ("if it is even") weighs nothing: the choice counts what it chooses from.
    """
    found: dict[str, int] = {}
    for operation in ALL:
        weight = 1 + getattr(operation, "state", 0)
        match operation:
            case Keep():
                found |= {f"it {_singular(text)}": 0 for text in operation.phrases}
                texts = [*operation.phrases, operation.adjective]
            case Each():
                chosen = operation.takes == operation.gives == "int"
                texts = [*operation.nouns, *operation.verbs, operation.its if chosen else ""]
            case Fold() | Whole():
                texts = [*operation.nouns, *operation.verbs]
            case Source():  # "row sums of" is no "sums of"
                weight, texts = 0, [noun for noun in operation.nouns if " " in noun]
        found |= {text: weight for text in texts if text}
    ordered = sorted(found, key=lambda text: -len(re.sub(r"\{\w\}", "", text)))
    return tuple((_pattern(text.lower()), found[text]) for text in ordered)


def _singular(phrase: str) -> str:
    first, _, rest = phrase.partition(" ")
    verb = {"are": "is", "have": "has", "do": "does"}.get(first, first + "s")
    return f"{verb} {rest}"


def _pattern(text: str) -> re.Pattern[str]:
    """A wording with its slots open; group ``value`` is what it is about, for other patterns to read."""
    slots = {"{c}": r"(?:-?\d+|k|'.*?'|\".*?\")", "{b}": r"\w+"}
    before, _, after = text.partition("{v}")
    first, last = (
        "".join(slots.get(piece) or re.escape(piece) for piece in _SLOT.split(part))
        for part in (before, after)
    )
    edges = r"(?<!\w)" if before else "", r"(?!\w)" if after or "{v}" not in text else ""
    return re.compile(
        f"{edges[0]}{first}(?P<value>{'.*?' if before and after else ''}){last}{edges[1]}"
    )
