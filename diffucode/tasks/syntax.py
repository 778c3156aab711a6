"""Programs up to the names and remarks in them."""

from __future__ import annotations

import ast
import warnings


def canonical(program: str) -> str | None:
    """The program with docstrings and annotations dropped and its own names numbered by appearance.

    Its own are the names that it binds: functions, classes, arguments, variables, caught exceptions (not
    imported modules). One name is one variable wherever it stands: scopes are not told apart. Two programs
    with equal results differ in layout, remarks and naming alone. None where it does not parse.
    """
    return _rewritten(program, renamed=True)


def plain(program: str) -> str | None:
    """The program as Python would lay it out, without docstrings, remarks and annotations.

    None where it does not parse.
    """
    return _rewritten(program, renamed=False)


def _rewritten(program: str, *, renamed: bool) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are no errors
            tree = ast.parse(program)
        tree = _Plain().visit(tree)
        if renamed:
            _Renaming(_bound(tree)).visit(tree)
        return ast.unparse(ast.fix_missing_locations(tree))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _bound(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


class _Plain(ast.NodeTransformer):
    """Drops docstrings and annotations."""

    def _without_docstring(
        self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        return self.generic_visit(node)

    visit_Module = visit_ClassDef = _without_docstring
    visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else ast.Pass()


class _Renaming(ast.NodeVisitor):
    """Numbers the bound names in the order of the tree, in place."""

    def __init__(self, bound: set[str]) -> None:
        self.bound = bound
        self.numbers: dict[str, str] = {}

    def name(self, name: str) -> str:
        return (
            self.numbers.setdefault(name, f"v{len(self.numbers)}") if name in self.bound else name
        )

    def _definition(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        node.name = self.name(node.name)
        self.generic_visit(node)

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _definition

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        node.name = self.name(node.name) if node.name else None
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        node.arg = self.name(node.arg)

    def visit_Name(self, node: ast.Name) -> None:
        node.id = self.name(node.id)
