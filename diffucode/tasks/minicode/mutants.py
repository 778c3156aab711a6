"""Small edits of a correct program, the wrong programs that tests must notice.

One edit each: a comparison, an arithmetic or a boolean operator, a constant, a condition, a slice or range
bound, a built-in for its opposite, a statement left out. Loops count their rounds, so an edit that never
ends is stopped.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from types import CodeType
from typing import Any

ROUNDS = 20_000
"""Loop rounds and calls that one run of a mutant may take."""
TICK = "_tick"

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.FloorDiv: (ast.Mod,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
}
_CALLS = {
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "set": "list",
    "abs": "int",
    "upper": "lower",
    "lower": "upper",
    "startswith": "endswith",
    "endswith": "startswith",
    "isupper": "islower",
    "islower": "isupper",
    "isdigit": "isalpha",
    "isalpha": "isdigit",
}


def mutants(body: str, head: str) -> list[str]:
    """Programs that differ from ``head`` + ``body`` in one edit of the body, without repeats."""
    program = head + body
    original = ast.unparse(ast.parse(program))
    found = dict.fromkeys(map(ast.unparse, _edited(program)))
    found.pop(original, None)
    return [text for text in found if _compiles(text)]


def guarded(program: str) -> CodeType:
    """The program compiled, with a call of ``_tick`` in every loop round and function call."""
    tree = ast.fix_missing_locations(_Guard().visit(ast.parse(program)))
    return compile(tree, "<mutant>", "exec")


class Ticks:
    """Raises RuntimeError after ``ROUNDS`` calls; ``reset`` before each run."""

    def __init__(self) -> None:
        self.left = ROUNDS

    def reset(self) -> None:
        self.left = ROUNDS

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the program does not end")


class _Guard(ast.NodeTransformer):
    def _ticking(self, node: ast.While | ast.For | ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(ast.Call(ast.Name(TICK, ast.Load()), [], [])))
        return node

    visit_While = visit_For = visit_FunctionDef = _ticking


def _edited(program: str) -> Iterator[ast.Module]:
    """Trees of the program with one edit each."""
    tree = ast.parse(program)
    for at, node in enumerate(ast.walk(tree)):
        for edit in _edits(node):
            fresh = ast.parse(program)  # ten times faster than a deep copy
            edit(next(islice(ast.walk(fresh), at, None)))
            yield ast.fix_missing_locations(fresh)


def _compiles(text: str) -> bool:
    try:
        compile(text, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


_Edit = Callable[[Any], None]


def _edits(node: ast.AST) -> Iterator[_Edit]:
    """What may be changed at a node, as functions that change the same node of another tree."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for comparison in _COMPARISONS.get(type(node.ops[0]), ()):
            yield _setting(ops=[comparison()])
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        for operator in _OPERATORS.get(type(node.op), ()):
            yield _setting(op=operator())
    elif isinstance(node, ast.BoolOp):
        yield _setting(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield _setting(op=ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not())
    elif isinstance(node, ast.Constant):
        yield from (_setting(value=value) for value in _near(node.value))
    elif isinstance(node, ast.IfExp):
        yield lambda n: n.__dict__.update(body=n.orelse, orelse=n.body)
        yield _setting(test=ast.Constant(True))
    elif isinstance(node, ast.If):
        yield _setting(test=ast.Constant(True))
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield _setting(ifs=[])
    elif isinstance(node, ast.Slice):
        bounds = [bound for bound in ("lower", "upper", "step") if getattr(node, bound) is not None]
        yield from (_setting(**{bound: None}) for bound in bounds)
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield _setting(value=ast.Constant(None))
    if isinstance(body := getattr(node, "body", None), list) and len(body) > 1:
        for i, statement in enumerate(body):
            if not isinstance(statement, (ast.Return, ast.FunctionDef)):
                yield partial(_without, "body", i)


def _setting(**fields: Any) -> _Edit:
    return lambda node: node.__dict__.update(fields)


def _without(field: str, at: int, node: Any) -> None:
    del getattr(node, field)[at]


def _near(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, str):
        return [value[:-1] if value else " "]
    return []


def _called(node: ast.Call) -> Iterator[_Edit]:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    if name in _CALLS:
        field = "id" if isinstance(function, ast.Name) else "attr"
        yield lambda n: setattr(n.func, field, _CALLS[name])
    if name in ("sorted", "max", "min"):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg != "default":
                yield partial(_without, "keywords", i)
