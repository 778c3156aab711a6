"""Small edits of a correct program, the wrong programs that tests must notice.

One edit each: a comparison, an arithmetic or a boolean operator, a constant, a condition, a slice or range
bound, a built-in for its opposite, a statement left out. Loops count their rounds, so an edit that never
ends is stopped.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
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
    tree = ast.parse(head + body)
    original = ast.unparse(tree)
    texts = dict.fromkeys(ast.unparse(ast.fix_missing_locations(t)) for t in _edited(tree))
    texts.pop(original, None)
    return [text for text in texts if _compiles(text)]


def guarded(program: str) -> str:
    """The program with a call of ``_tick`` in every loop round and function call."""
    return ast.unparse(ast.fix_missing_locations(_Guard().visit(ast.parse(program))))


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


def _edited(tree: ast.Module) -> Iterator[ast.Module]:
    """Copies of the tree with one edit each."""
    count = sum(1 for _ in ast.walk(tree))
    for at in range(count):
        node = _nth(tree, at)
        for edit in _edits(node):
            copy = deepcopy(tree)
            edit(_nth(copy, at))
            yield copy


def _nth(tree: ast.AST, at: int) -> ast.AST:
    for i, node in enumerate(ast.walk(tree)):
        if i == at:
            return node
    raise IndexError(at)


def _compiles(text: str) -> bool:
    try:
        compile(text, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


_Edit = Callable[[Any], None]


def _edits(node: ast.AST) -> Iterator[_Edit]:
    """What may be changed at a node, as functions that change the same node of a copy."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for new in _COMPARISONS.get(type(node.ops[0]), ()):
            yield lambda n, new=new: n.ops.__setitem__(0, new())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in _OPERATORS.get(type(node.op), ()):
            yield lambda n, other=other: setattr(n, "op", other())
    elif isinstance(node, ast.BoolOp):
        yield lambda n: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield lambda n: setattr(n, "op", ast.UAdd() if isinstance(n.op, ast.USub) else ast.Not())
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.IfExp):
        yield lambda n: n.__dict__.update(body=n.orelse, orelse=n.body)
        yield lambda n: setattr(n, "test", ast.Constant(True))
    elif isinstance(node, ast.If):
        yield lambda n: setattr(n, "test", ast.Constant(True))
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield lambda n: n.ifs.clear()
    elif isinstance(node, ast.Slice):
        for bound in ("lower", "upper", "step"):
            if getattr(node, bound) is not None:
                yield lambda n, bound=bound: setattr(n, bound, None)
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))
    if isinstance(body := getattr(node, "body", None), list) and len(body) > 1:
        for i, statement in enumerate(body):
            if not isinstance(statement, (ast.Return, ast.FunctionDef)):
                yield lambda n, i=i: n.body.pop(i)


def _constants(node: ast.Constant) -> Iterator[_Edit]:
    value = node.value
    if isinstance(value, bool):
        yield lambda n: setattr(n, "value", not n.value)
    elif isinstance(value, int):
        for step in (1, -1):
            yield lambda n, step=step: setattr(n, "value", n.value + step)
    elif isinstance(value, str):
        yield lambda n: setattr(n, "value", n.value[:-1] if n.value else " ")


def _called(node: ast.Call) -> Iterator[_Edit]:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    field = "id" if isinstance(function, ast.Name) else "attr"
    if name in _CALLS:
        yield lambda n: setattr(n.func, field, _CALLS[name])
    if name == "sorted" or name in ("max", "min"):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg != "default":
                yield lambda n, i=i: n.keywords.pop(i)
