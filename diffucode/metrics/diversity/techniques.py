"""Which techniques a program uses, and whether they are new: NeoGauge (Lu et al. 2025, arXiv:2407.09007).

The 34 names are NeoCoder's; there a language model finds them, here their marks in the syntax tree do. Each
detector has to see a construct that says so: a technique that is spelled otherwise goes unseen, and two
names (``UNSEEN``) have no such mark. Figures of the two ways of detection cannot be compared.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Sequence, Set
from statistics import fmean
from typing import NamedTuple

from diffucode.metrics.diversity.undefined import Figure, Undefined

UNSEEN = ("greedy algorithm", "misc")
"""Techniques of NeoCoder's list that no syntax tells."""


def techniques(program: str) -> tuple[str, ...] | None:
    """The techniques of a program in the order of ``DETECTORS``; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            facts = _Facts(ast.parse(program))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tuple(name for name, found in DETECTORS.items() if found(facts))


class Attempt(NamedTuple):
    """An answer to a problem, some techniques of which may be forbidden."""

    passed: bool
    techniques: Sequence[str]
    banned: Set[str] = frozenset()
    known: Set[str] = frozenset()
    """Techniques of people's solutions to the same problem."""

    @property
    def follows(self) -> bool:
        """Whether it avoids all that is forbidden; one without techniques does."""
        return self.banned.isdisjoint(self.techniques)

    @property
    def new(self) -> float:
        """The share of its techniques that no person used, 0 for one without techniques."""
        found = self.techniques
        return len(set(found) - self.known) / len(found) if found else 0.0


class NeoGauge(NamedTuple):
    """The figures of one round of forbidding, each a mean over attempts."""

    convergent: Figure
    """Right, and nothing forbidden."""
    divergent: Figure
    """New techniques, right or wrong."""
    creativity: Figure
    """New techniques of answers that are right and use nothing forbidden."""


def neogauge(attempts: Sequence[Attempt]) -> NeoGauge:
    """NeoGauge@t of the attempts at round t, by NeoCoder's formulas."""
    if not attempts:
        return NeoGauge(*3 * [Undefined("no attempt")])
    return NeoGauge(
        convergent=fmean(one.passed and one.follows for one in attempts),
        divergent=fmean(one.new for one in attempts),
        creativity=fmean(one.new * (one.passed and one.follows) for one in attempts),
    )


# --- what the detectors look at ------------------------------------------------------------------

Loop = ast.For | ast.AsyncFor | ast.While
Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Facts:
    """A tree, taken apart once."""

    def __init__(self, tree: ast.AST) -> None:
        self.nodes = list(ast.walk(tree))
        self.loops = [node for node in self.nodes if isinstance(node, Loop)]
        self.functions = [node for node in self.nodes if isinstance(node, Function)]
        self.recursive = [f for f in self.functions if f.name in _calls(ast.walk(f))]
        self.calls = _calls(self.nodes)
        self.names = {n.id for n in self.nodes if isinstance(n, ast.Name)}
        self.attributes = {n.attr for n in self.nodes if isinstance(n, ast.Attribute)}
        modules = (n for n in self.nodes if isinstance(n, (ast.Import, ast.ImportFrom)))
        self.modules = {m for node in modules for m in _modules(node)}

    def has(self, *kinds: type[ast.AST]) -> bool:
        return any(isinstance(node, kinds) for node in self.nodes)


def _calls(nodes: Iterable[ast.AST]) -> set[str]:
    """The names of the functions and methods that are called."""
    return {_called(node) for node in nodes if isinstance(node, ast.Call)}


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]


def _owner(call: ast.Call) -> str:
    """The variable whose method is called."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    return value.id if isinstance(value, ast.Name) else ""


def _methods(facts: _Facts, name: str, arguments: Callable[[list[ast.expr]], bool]) -> set[str]:
    """The variables with a call of this method with such arguments."""
    return {
        _owner(node)
        for node in facts.nodes
        if isinstance(node, ast.Call) and _called(node) == name and arguments(node.args)
    } - {""}


def _is(value: int) -> Callable[[list[ast.expr]], bool]:
    def same(arguments: list[ast.expr]) -> bool:
        found = [ast.unparse(argument) for argument in arguments]
        return found == [str(value)]

    return same


def _empty(arguments: list[ast.expr]) -> bool:
    return not arguments


def _any(arguments: list[ast.expr]) -> bool:
    return True


def _stepped(loop: ast.AST) -> set[str]:
    """The variables that a loop moves by adding to or subtracting from them."""
    return {
        node.target.id
        for node in ast.walk(loop)
        if isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.op, (ast.Add, ast.Sub))
    }


def _indices(loop: ast.AST) -> set[str]:
    """The variables that stand inside of square brackets."""
    return {
        name.id
        for node in ast.walk(loop)
        if isinstance(node, ast.Subscript)
        for name in ast.walk(node.slice)
        if isinstance(name, ast.Name)
    }


# --- one function a technique --------------------------------------------------------------------


def _stack(facts: _Facts) -> bool:
    last = _methods(facts, "pop", _empty) | _methods(facts, "pop", _is(-1))
    return bool(last & _methods(facts, "append", _any))


def _queue(facts: _Facts) -> bool:
    first = _methods(facts, "popleft", _empty) | _methods(facts, "pop", _is(0))
    return bool(first) or "queue" in facts.modules


def _dictionary(facts: _Facts) -> bool:
    makers = {"dict", "defaultdict", "Counter", "OrderedDict", "fromkeys"}
    return facts.has(ast.Dict, ast.DictComp) or bool(facts.calls & makers)


def _tuple(facts: _Facts) -> bool:
    """A tuple that is a value: not the two sides of a swap, nor loop variables."""
    swapped = {
        id(node.value)
        for node in facts.nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    }
    made = (n for n in facts.nodes if isinstance(n, ast.Tuple) and isinstance(n.ctx, ast.Load))
    sliced = {id(n.slice) for n in facts.nodes if isinstance(n, ast.Subscript)}
    return "tuple" in facts.calls or any(id(n) not in swapped | sliced for n in made)


def _set(facts: _Facts) -> bool:
    return facts.has(ast.Set, ast.SetComp) or bool(facts.calls & {"set", "frozenset"})


def _graph(facts: _Facts) -> bool:
    words = {"graph", "adj", "adjacency", "adjacency_list", "neighbors", "neighbours", "edges"}
    return bool((facts.names | facts.attributes) & words) or "networkx" in facts.modules


def _two_pointers(facts: _Facts) -> bool:
    """A while loop that moves two variables and reads places by both."""
    return any(
        len(_stepped(loop) & _indices(loop)) >= 2
        for loop in facts.loops
        if isinstance(loop, ast.While)
    )


def _sliding_window(facts: _Facts) -> bool:
    """A loop that goes right with one end and has an inner while that brings the other end after it; or a
    sum that gains one element and loses another."""
    for loop in facts.loops:
        inner = [n for n in ast.walk(loop) if isinstance(n, ast.While) and n is not loop]
        ends = {name for one in inner for name in _stepped(one) & _indices(one)}
        if isinstance(loop, ast.For) and ends:
            return True
        for node in ast.walk(loop):
            if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.BinOp):
                value = node.value
                both = isinstance(value.left, ast.Subscript), isinstance(value.right, ast.Subscript)
                if isinstance(value.op, ast.Sub) and all(both):
                    return True
    return False


def _matrix(facts: _Facts) -> bool:
    """Two indices in a row, a transposition, or a matrix product."""
    nested = any(
        isinstance(n, ast.Subscript)
        and isinstance(n.value, ast.Subscript)
        and not isinstance(n.slice, ast.Slice)
        for n in facts.nodes
    )
    transposed = any(
        isinstance(n, ast.Call)
        and _called(n) == "zip"
        and any(isinstance(argument, ast.Starred) for argument in n.args)
        for n in facts.nodes
    )
    return nested or transposed or facts.has(ast.MatMult)


def _hashmap(facts: _Facts) -> bool:
    """A dictionary in which things are looked up or counted."""
    asked = {"get", "setdefault", "defaultdict", "Counter"} & facts.calls
    membership = any(isinstance(n, (ast.In, ast.NotIn)) for n in facts.nodes)
    return _dictionary(facts) and (bool(asked) or membership)


def _visits(facts: _Facts) -> bool:
    words = {"visited", "seen", "explored", "discovered"}
    return bool(facts.names & words) or _graph(facts)


def _depth_first(facts: _Facts) -> bool:
    """Recursion from a loop or into two branches of a tree; a stack of what is to be visited."""
    loops = (n for f in facts.recursive for n in ast.walk(f) if isinstance(n, Loop))
    names = {f.name for f in facts.recursive}
    branching = any(names & _calls(ast.walk(loop)) for loop in loops) and _visits(facts)
    tree = bool(facts.recursive) and {"left", "right"} <= facts.attributes
    stacked = (
        _stack(facts) and _visits(facts) and any(isinstance(n, ast.While) for n in facts.loops)
    )
    return branching or tree or stacked


def _width_first(facts: _Facts) -> bool:
    return _queue(facts) and any(isinstance(n, ast.While) for n in facts.loops)


def _back_tracking(facts: _Facts) -> bool:
    """A recursive function that takes a step, calls itself in a loop, and takes the step back."""
    for function in facts.recursive:
        for loop in (n for n in ast.walk(function) if isinstance(n, Loop)):
            calls = _calls(ast.walk(loop))
            undone = {"append", "add"} & calls and {"pop", "remove", "discard"} & calls
            if function.name in calls and undone:
                return True
    return False


def _divides(facts: _Facts) -> bool:
    """A function that calls itself on parts that a halving separates."""
    return any(
        any(_halves(node) for node in ast.walk(function))
        and sum(isinstance(n, ast.Call) and _called(n) == function.name for n in ast.walk(function))
        >= 2
        for function in facts.recursive
    )


def _halves(node: ast.AST) -> bool:
    if not isinstance(node, ast.BinOp) or not isinstance(node.right, ast.Constant):
        return False
    by = type(node.op), node.right.value
    return by in ((ast.FloorDiv, 2), (ast.RShift, 1))


def _kadane(facts: _Facts) -> bool:
    """``current = max(x, current + x)`` in a loop."""
    for loop in facts.loops:
        for node in ast.walk(loop):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and isinstance(node.value, ast.Call)
                and _called(node.value) == "max"
            ):
                name = node.targets[0].id
                sums = (a for a in node.value.args if isinstance(a, ast.BinOp))
                if any(isinstance(a.op, ast.Add) and name in _marks(a) for a in sums):
                    return True
    return False


def _binary_search(facts: _Facts) -> bool:
    """A loop, or recursion, that halves and sets a bound to the middle; the module bisect."""
    if any(name.startswith(("bisect", "insort")) for name in facts.calls):
        return True
    for loop in (n for n in facts.loops if isinstance(n, ast.While)):
        inside = list(ast.walk(loop))
        middles = {
            node.targets[0].id
            for node in inside
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and any(map(_halves, ast.walk(node.value)))
            and node.targets[0].id not in _marks(node.value)  # n = n // 2 is no middle
        }
        moved = (n for n in inside if isinstance(n, ast.Assign))
        if any(
            isinstance(one.targets[0], ast.Name)
            and one.targets[0].id not in middles
            and middles & _marks(one.value)
            for one in moved
        ):
            return True
    return False


def _heap(facts: _Facts) -> bool:
    return "heapq" in facts.modules or any(
        name.startswith("heap") for name in facts.calls | facts.attributes
    )


def _dynamic(facts: _Facts) -> bool:
    """A remembered recursion, or a table whose entries are made of earlier entries."""
    if any(
        _marks(decorator) & {"cache", "lru_cache", "memoize"}
        for function in facts.recursive
        for decorator in function.decorator_list
    ):
        return True
    for function in facts.recursive:
        stored = {
            n.value.id
            for n in ast.walk(function)
            if isinstance(n, ast.Subscript)
            and isinstance(n.ctx, ast.Store)
            and isinstance(n.value, ast.Name)
        }
        if stored & {"memo", "cache", "dp", "known"}:
            return True
    for loop in facts.loops:
        for node in ast.walk(loop):
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Subscript) and _from_earlier(target, node.value):
                    return True
    return False


def _from_earlier(target: ast.Subscript, value: ast.expr) -> bool:
    """Whether an entry is made of an entry of the same table at a place before or after it."""
    return any(
        isinstance(n, ast.Subscript)
        and ast.unparse(_table(n)) == ast.unparse(_table(target))
        and any(isinstance(inner, ast.BinOp) for inner in ast.walk(n))
        for n in ast.walk(value)
    )


def _table(node: ast.Subscript) -> ast.expr:
    value: ast.expr = node
    while isinstance(value, ast.Subscript):
        value = value.value
    return value


def _marks(node: ast.AST) -> set[str]:
    """The variables and attributes in an expression."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


def _minimax(facts: _Facts) -> bool:
    """Recursion that takes the best of one side and the worst of the other."""
    return any({"max", "min"} <= _calls(ast.walk(f)) for f in facts.recursive)


def _topological(facts: _Facts) -> bool:
    words = {"indegree", "in_degree", "indegrees", "in_degrees"}
    return bool(facts.names & words) or "graphlib" in facts.modules


DETECTORS: dict[str, Callable[[_Facts], bool]] = {
    "if statement": lambda facts: facts.has(ast.If, ast.IfExp),
    "for loop": lambda facts: facts.has(ast.For, ast.AsyncFor, ast.comprehension),
    "while loop": lambda facts: facts.has(ast.While),
    "break statement": lambda facts: facts.has(ast.Break),
    "continue statement": lambda facts: facts.has(ast.Continue),
    "pass statement": lambda facts: facts.has(ast.Pass),
    "match statement": lambda facts: facts.has(ast.Match),
    "recursion": lambda facts: bool(facts.recursive),
    "stack": _stack,
    "queue": _queue,
    "tuple": _tuple,
    "set": _set,
    "dictionary": _dictionary,
    "linked list": lambda facts: "next" in facts.attributes,
    "tree": lambda facts: {"left", "right"} <= facts.attributes,
    "graph": _graph,
    "two pointers": _two_pointers,
    "sliding window": _sliding_window,
    "matrix operation": _matrix,
    "hashmap": _hashmap,
    "depth first search": _depth_first,
    "width first search": _width_first,
    "back tracking": _back_tracking,
    "divide & conquer": _divides,
    "Kadanes algorithm": _kadane,
    "binary search": _binary_search,
    "heap": _heap,
    "dynamic programming": _dynamic,
    "minimax": _minimax,
    "topological sort": _topological,
    "sorting": lambda facts: bool(facts.calls & {"sorted", "sort"}),
    "graph traversal": lambda facts: _graph(facts) and (_depth_first(facts) or _width_first(facts)),
}
"""A detector for each of NeoCoder's 34 names but ``UNSEEN``, by its spelling of them."""
