"""The same program in other words: rewrites of syntax that change neither what it computes nor how.

names       variables and arguments are called otherwise
branches    ``if c: a else: b`` becomes ``if not c: b else: a``; a conditional expression likewise
compares    ``a < b`` becomes ``b > a`` (of names and constants, which nothing happens in)
assigns     ``x += y`` becomes ``x = x + y``, for numbers and strings that stand there as such
whiles      ``while c:`` becomes ``while True:`` with a break
returns     a returned expression is first given a name
counted     ``for x in xs`` becomes ``for place, x in enumerate(xs)``
helper      the body moves into a function that the first one calls

A loop stays a loop and a comprehension one: whether these are the same algorithm is a convention.
"""

from __future__ import annotations

import ast
from copy import copy
from random import Random

_NAMES = "alpha beta gamma delta first second third item part piece rest acc tally cell mark step".split()  # noqa: SIM905


def rewrite(program: str, seed: int) -> str:
    """The program with every possible change made or not, by a coin; a pure function of both arguments.

    Its function keeps its name; a function that calls itself gets no helper. Raises SyntaxError on what is
    not Python.
    """
    rng = Random(f"rewrites/{seed}/{program}")
    tree = ast.parse(program)
    tree = ast.fix_missing_locations(_Rewrites(rng).visit(tree))
    tree = _renamed(tree, rng)
    if rng.random() < 0.5:
        _with_helper(tree)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


class _Rewrites(ast.NodeTransformer):
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.made = 0

    def coin(self) -> bool:
        return self.rng.random() < 0.5

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if node.orelse and self.coin():
            node.test, node.body, node.orelse = _negated(node.test), node.orelse, node.body
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if self.coin():
            node.test, node.body, node.orelse = _negated(node.test), node.orelse, node.body
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        turned = _TURNED.get(type(node.ops[0]))
        if turned is None or len(node.ops) > 1:
            return node
        sides = (node.left, node.comparators[0])
        if all(isinstance(side, (ast.Name, ast.Constant)) for side in sides) and self.coin():
            return ast.Compare(sides[1], [turned()], [sides[0]])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        plain = isinstance(node.value, ast.Constant) and isinstance(node.target, ast.Name)
        if plain and isinstance(node.target, ast.Name) and self.coin():
            read = ast.Name(node.target.id, ast.Load())
            return ast.Assign([node.target], ast.BinOp(read, node.op, node.value))
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        if not node.orelse and self.coin():
            leave = ast.If(_negated(node.test), [ast.Break()], [])
            return ast.While(ast.Constant(True), [leave, *node.body], [])
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        if self.coin():
            target = ast.Tuple(
                [ast.Name(self.fresh("place"), ast.Store()), node.target], ast.Store()
            )
            node.target = target
            node.iter = ast.Call(ast.Name("enumerate", ast.Load()), [node.iter], [])
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if (
            node.value is None
            or isinstance(node.value, (ast.Name, ast.Constant))
            or not self.coin()
        ):
            return node
        name = self.fresh("answer")
        kept = ast.Assign([ast.Name(name, ast.Store())], node.value)
        return [kept, ast.Return(ast.Name(name, ast.Load()))]

    def fresh(self, name: str) -> str:
        self.made += 1
        return f"{name}_{self.made}"


_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _renamed(tree: ast.Module, rng: Random) -> ast.Module:
    """Own variables and arguments under new names; functions keep theirs."""
    own = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    own |= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    chosen = rng.sample(_NAMES, len(_NAMES))
    new = {
        name: chosen[i % len(chosen)] + (str(i // len(chosen)) if i >= len(chosen) else "")
        for i, name in enumerate(sorted(own))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.arg = new[node.arg]
        elif isinstance(node, ast.Name):
            node.id = new.get(node.id, node.id)
    return tree


def _with_helper(tree: ast.Module) -> None:
    """The first function's body in a function of its own, in place."""
    function = next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)
    if function is None or any(
        isinstance(n, ast.Name) and n.id == function.name for n in ast.walk(function)
    ):
        return
    arguments: list[ast.expr] = [ast.Name(a.arg, ast.Load()) for a in function.args.args]
    helper = copy(function)
    helper.name, helper.decorator_list = "solved", []
    call = ast.Call(ast.Name("solved", ast.Load()), arguments, [])
    function.body = [ast.Return(call)]
    tree.body.insert(tree.body.index(function), helper)
