"""What a program is built with: sorting, hashing, recursion, ... as far as its text shows."""

from __future__ import annotations

import ast
import warnings

from diffucode.tasks.syntax import canonical

_BY_CALL = {
    "sort": "sorted sort",
    "heap": "heapify heappush heappop heappushpop heapreplace nsmallest nlargest",
    "bisection": "bisect bisect_left bisect_right insort insort_left insort_right",
    "hashing": "set frozenset dict Counter defaultdict OrderedDict fromkeys",
    "queue": "deque popleft appendleft",
    "stack": "pop",
    "memory": "lru_cache cache",
    "reversal": "reversed reverse",
    "combinations": "combinations permutations product combinations_with_replacement",
    "search in text": "find rfind index rindex count",
    "replacement": "replace sub",
    "factorial": "factorial comb perm",
    "aggregate": "sum max min any all",
    "conversion": "bin str int hex",
}
_CONSTRUCT_OF = {name: construct for construct, names in _BY_CALL.items() for name in names.split()}
_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)


def constructs(program: str) -> frozenset[str] | None:
    """The constructs that a program uses, by name; None where it does not parse.

    What it defines and never calls counts as well. Beside calls: ``recursion`` (functions that call one
    another in a circle and go on with what comes back: a call that is returned as it is, is a loop),
    ``nested loops`` (a loop in a loop, or in a function called from one), ``halving``, ``remainder``,
    ``bits``, ``exchange`` (two places of a list trade values), ``loop`` (a statement), ``comprehension``.
    """
    if (text := canonical(program)) is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    found = {_CONSTRUCT_OF[name] for name in _named(tree) if name in _CONSTRUCT_OF}
    for node in ast.walk(tree):
        found.update(_of(node))
    if any(name in _reached(name, calls) for calls in [_calls(tree)] for name in calls):
        found.add("recursion")
    if _nesting(tree, _loops_of(tree)) > 1:
        found.add("nested loops")
    return frozenset(found)


def _named(tree: ast.AST) -> list[str]:
    """Names that are called or decorate."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            called += node.decorator_list
    return [_name(one) for one in called]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _of(node: ast.AST) -> set[str]:
    match node:
        case ast.Set() | ast.SetComp() | ast.Dict() | ast.DictComp():
            return {"hashing"}
        case ast.BinOp(op=ast.FloorDiv(), right=ast.Constant(value=2)):
            return {"halving"}
        case ast.BinOp(op=ast.RShift(), right=ast.Constant(value=1)):
            return {"halving", "bits"}
        case ast.BinOp(op=ast.Mod()) | ast.AugAssign(op=ast.Mod()):
            return {"remainder"}
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if isinstance(op, _BITS):
            return {"bits"}
        case ast.Slice(lower=None, upper=None, step=ast.UnaryOp()):
            return {"reversal"}
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            places = [ast.unparse(one) for one in targets if isinstance(one, ast.Subscript)]
            return (
                {"exchange"} if places and set(places) <= set(map(ast.unparse, values)) else set()
            )
        case ast.For() | ast.While():
            return {"loop"}
        case ast.comprehension():
            return {"comprehension"}
    return set()


def _functions(tree: ast.AST) -> dict[str, ast.AST]:
    return {
        n.name: n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def _calls(tree: ast.AST) -> dict[str, set[str]]:
    """Which of a program's functions each of them calls."""
    functions = _functions(tree)
    found = {}
    for name, function in functions.items():
        tails = _tails(function)
        called = [n for n in ast.walk(function) if isinstance(n, ast.Call) and id(n) not in tails]
        found[name] = {_name(call.func) for call in called} & set(functions)
    return found


def _tails(function: ast.AST) -> set[int]:
    """The calls whose value is returned as it is."""
    found: set[int] = set()
    for node in ast.walk(function):
        ends = [node.value] if isinstance(node, ast.Return) else []
        while ends:
            end = ends.pop()
            if isinstance(end, ast.IfExp):
                ends += [end.body, end.orelse]
            elif isinstance(end, ast.Call):
                found.add(id(end))
    return found


def _reached(name: str, calls: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    new = calls[name]
    while new:
        reached |= new
        new = set().union(*(calls[one] for one in new)) - reached
    return reached


def _loops_of(tree: ast.AST) -> dict[str, int]:
    """How deep loops are nested in each function by itself."""
    return {name: _nesting(function, {}) for name, function in _functions(tree).items()}


def _nesting(node: ast.AST, inside: dict[str, int]) -> int:
    """How deep loops are nested below a node; a call counts as the loops of what it calls."""
    called = inside.get(_name(node.func), 0) if isinstance(node, ast.Call) else 0
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        below = max(_nesting(one, inside) for one in (*parts, *node.generators))
        return max(called, len(node.generators) + below)
    below = max((_nesting(child, inside) for child in ast.iter_child_nodes(node)), default=0)
    return max(called, below + isinstance(node, (ast.For, ast.While)))
