"""How much work a program does, and on what, as its inputs grow: counted, never timed.

    program ──> count(...) written into its text ──> sandbox (``counted.py``) ──> a Profile for each input

A profile is the program's own word, as all that comes from the sandbox: a program can lie about it. That
is of no use to an honest one, but no reward should rest on it.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from diffucode.errors import SandboxError
from diffucode.execution import counted
from diffucode.execution.counted import KINDS
from diffucode.execution.outputs import Asked
from diffucode.execution.sandbox import Job, Limits, Returned, Sandbox
from diffucode.execution.values import Undecodable, decode, encode

LIMITS = Limits(seconds=5.0, job_seconds=60.0)

_SOURCE = Path(counted.__file__).read_text(encoding="utf-8")


class Profile(NamedTuple):
    """One call."""

    finished: bool
    """False where the budget was spent first: the counts are then those up to there."""
    counts: tuple[int, ...]
    """Operations of each of ``KINDS``."""
    depth: int
    """The most calls of the program's functions that were open at once."""
    meetings: frozenset[tuple[int, int]]
    """Elements of the arguments, by number, that were compared with or added to one another; 0 stands for
    a value that is none of them."""


def profiles(
    sandbox: Sandbox, asked: Iterable[Asked], limits: Limits = LIMITS
) -> list[list[Profile | None]]:
    """For each program, a profile for each of its inputs; None where the call raised or ran out of time.

    A program that does not parse has None throughout. The same everywhere but for programs that read a
    clock or draw numbers. Raises SandboxError where the sandbox could not do its work.
    """
    known = list(asked)
    found: list[list[Profile | None]] = [[None] * len(one.inputs) for one in known]
    numbered = [
        (number, text) for number, one in enumerate(known) if (text := instrumented(one.program))
    ]

    def jobs() -> Iterable[Job]:
        for number, text in numbered:
            one = known[number]
            program = f"{_SOURCE}\nPROGRAM, ENTRY_POINT = {text!r}, {one.entry_point!r}\n"
            yield Job(program, "profile", [encode(tuple(given)) for given in one.inputs], limits)

    def receive(job: int, returned: Returned) -> bool:
        found[numbered[job][0]][returned.index] = _profile(returned)
        return True

    for done in sandbox.run(jobs(), receive):
        if done.infrastructure is not None:
            raise SandboxError(f"no counts of a program: {done.infrastructure}; run it again")
    return found


def _profile(returned: Returned) -> Profile | None:
    if returned.status != "returned":
        return None
    try:
        finished, counts, depth, meetings = decode(returned.value or b"")
        one = Profile(bool(finished), tuple(map(int, counts)), int(depth), frozenset(meetings))
    except (Undecodable, TypeError, ValueError):  # it wrote over what counts
        return None
    return one if len(one.counts) == len(KINDS) else None


def instrumented(program: str) -> str | None:
    """The program with its operations counted; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are no errors
            tree = _Counting().visit(ast.parse(program))
        return ast.unparse(ast.fix_missing_locations(tree))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "plus",
    ast.Sub: "plus",
    ast.Mult: "times",
    ast.Pow: "times",
    ast.FloorDiv: "over",
    ast.Div: "over",
    ast.Mod: "over",
}


def _counting(kind: str, value: ast.expr) -> ast.Call:
    number = ast.Constant(KINDS.index(kind))
    return ast.Call(ast.Name("_count", ast.Load()), [number, value], [])


class _Counting(ast.NodeTransformer):
    """Wraps operations into calls of ``_count``, which gives back their value."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _counting(_OPERATORS.get(type(node.op), "shift"), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        node.value = _counting(_OPERATORS.get(type(node.op), "shift"), node.value)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        match node.ops[0]:
            case ast.In() | ast.NotIn():
                return _counting("within", node)
            case ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot():
                return _counting("same", node)
            case _:
                return _counting("less", node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            return _counting("slice" if isinstance(node.slice, ast.Slice) else "read", node)
        if not isinstance(node.slice, ast.Slice):
            node.slice = _counting("write", node.slice)
        return node

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(_counting("loop", ast.Constant(None))))
        return node

    visit_For = visit_AsyncFor = visit_While = _loop

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.ifs.insert(0, _counting("loop", ast.Constant(True)))
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None  # an annotation does no work
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.target = self.visit(node.target)
        node.value = self.visit(node.value) if node.value else None
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> Any:
        return node  # a pattern is no expression
