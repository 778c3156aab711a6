"""``assert f(args) == expected`` taken apart, so that the answer stays outside the sandbox.

    assert f([3, 1]) == [1, 3]              Check(([3, 1],), [1, 3], Equal())
    assert abs(f(2) - 1.4142) < 1e-4        Check((2,), None, Holds("abs(f(2) - 1.4142) < 1e-4", "f"))
    assert f(f(2)) == 2                     Unsplit: the inner value is not known outside

The call's arguments must be literals. The rest of the expression is a small language evaluated here on
the value that came back: literals, comparisons, ``and or not``, arithmetic, indexing, and calls of the
builtins and ``math`` functions named below. Nothing else of Python, and never what a program defines.
An ``Unsplit`` test has to run whole beside the program, which can therefore game it.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import Any

from diffucode.errors import TaskError
from diffucode.execution.compare import Check, Equal
from diffucode.execution.values import Unencodable, distinct, encode


@dataclass(frozen=True)
class Holds:
    """The asserted expression is true, the value that came back in place of its one call."""

    source: str
    entry_point: str

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        test, call = _read(self.source, self.entry_point)
        return bool(_Evaluator(call)(test)(got))


@dataclass(frozen=True)
class Unsplit:
    """A test that only runs whole, inside the sandbox; a verdict from it can be gamed."""

    source: str
    """Statements that raise unless the test passes."""
    reason: str


def split(source: str, entry_point: str) -> Check | Unsplit:
    """One test, taken apart if possible.

    Raises TaskError if ``source`` is not Python.
    """
    try:
        statements = ast.parse(source.strip()).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise TaskError(f"test {source.strip()[:80]!r} is not Python: {error}") from None
    match statements:
        case [ast.Assert(test=test)]:
            pass
        case _:
            return Unsplit(source, "not one assert statement")
    try:
        call = _only_call(test, entry_point)
        evaluate = _Evaluator(call)
        evaluate(test)  # refuses here what Holds could not evaluate
        arguments = tuple(evaluate.constant(argument) for argument in call.args)
        encode(arguments)
        match test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]) if call in (
                left,
                right,
            ):
                expected = evaluate.constant(right if left is call else left)
                encode(expected)
                return Check(arguments, expected, Equal())
    except (_Refused, Unencodable) as refused:
        return Unsplit(source, str(refused))
    except Exception as error:  # a literal that cannot be computed, such as 1 / 0
        return Unsplit(source, f"{type(error).__name__}: {error}")
    return Check(arguments, None, Holds(ast.unparse(test), entry_point))


class _Refused(Exception):
    """What the small language leaves out."""


def _only_call(test: ast.expr, entry_point: str) -> ast.Call:
    calls = []
    mentions = 0
    for node in ast.walk(test):
        if isinstance(node, ast.Name) and node.id == entry_point:
            mentions += 1
        if isinstance(node, ast.Call) and _dotted(node.func) == entry_point:
            calls.append(node)
    if len(calls) != 1 or mentions != 1:
        raise _Refused(f"{entry_point} is called {len(calls)} times")
    if calls[0].keywords or any(isinstance(argument, ast.Starred) for argument in calls[0].args):
        raise _Refused(f"{entry_point} is called with keywords or stars")
    return calls[0]


@lru_cache(maxsize=4096)
def _read(source: str, entry_point: str) -> tuple[ast.expr, ast.Call]:
    test = ast.parse(source, mode="eval").body
    return test, _only_call(test, entry_point)


def _dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return f"{module}.{name}"
    return None


# --- the small language -------------------------------------------------------------------------

_MOST_ITEMS = 1_000_000
_MOST_BITS = 100_000  # dividing longer integers takes more than a moment
_Evaluated = Callable[[Any], Any]


def _multiply(left: Any, right: Any) -> Any:
    for items, times in ((left, right), (right, left)):
        if isinstance(items, (str, bytes, list, tuple)) and len(items) * times > _MOST_ITEMS:
            raise ValueError(f"more than {_MOST_ITEMS} items")
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if type(base) is type(exponent) is int and base.bit_length() * abs(exponent) > _MOST_BITS:
        raise ValueError(f"an integer of more than {_MOST_BITS} bits")
    return base**exponent


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, (str, bytes)):
        raise TypeError("% formats text")
    return left % right


def _set(items: Any = ()) -> set[Any]:
    return set(distinct(list(items)))


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(distinct(list(items)))


def _range(*ends: int) -> range:
    numbers = range(*ends)
    if len(numbers) > _MOST_ITEMS:
        raise ValueError(f"more than {_MOST_ITEMS} items")
    return numbers


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _multiply,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _remainder,
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "complex": complex,
    "float": float,
    "frozenset": _frozenset,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "range": _range,
    "round": round,
    "set": _set,
    "sorted": sorted,
    "str": str,
    "sum": lambda items: sum(items),
    "tuple": tuple,
    "math.isclose": math.isclose,
    "math.isinf": math.isinf,
    "math.isnan": math.isnan,
    "math.sqrt": math.sqrt,
    "isclose": math.isclose,
}
_KEYWORDS = {"rel_tol", "abs_tol", "reverse", "ndigits"}
_CONSTANTS = {"math.pi": math.pi, "math.e": math.e, "math.inf": math.inf, "math.nan": math.nan}


class _Evaluator:
    """An expression node to a function of the value that stands for ``call``."""

    def __init__(self, call: ast.Call) -> None:
        self.call = call

    def constant(self, node: ast.expr) -> Any:
        if any(inner is self.call for inner in ast.walk(node)):
            raise _Refused("a literal was expected where the call stands")
        return self(node)(None)

    def __call__(self, node: ast.expr) -> _Evaluated:
        if node is self.call:
            return lambda got: got
        match node:
            case ast.Constant(value=value) if value is not Ellipsis:
                return lambda got: value
            case ast.List(elts=elements):
                return self.items(elements, list)
            case ast.Tuple(elts=elements):
                return self.items(elements, tuple)
            case ast.Set(elts=elements):
                return self.items(elements, _set)
            case ast.Dict(keys=keys, values=held):
                return self.table(keys, held)
            case ast.UnaryOp(op=op, operand=operand):
                unary, inner = _UNARY[type(op)], self(operand)
                return lambda got: unary(_short(inner(got)))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
                binary, one, two = _BINARY[type(op)], self(left), self(right)
                return lambda got: binary(_short(one(got)), _short(two(got)))
            case ast.BoolOp(op=op, values=operands):
                stop, parts = isinstance(op, ast.Or), [self(operand) for operand in operands]
                return lambda got: _first(stop, parts, got)
            case ast.Compare():
                return self.comparison(node)
            case ast.Subscript(value=whole, slice=place):
                holder, index = self(whole), self.index(place)
                return lambda got: holder(got)[index(got)]
            case ast.Attribute() if _dotted(node) in _CONSTANTS:
                number = _CONSTANTS[_dotted(node) or ""]
                return lambda got: number
            case ast.Call():
                return self.function(node)
        raise _Refused(f"{ast.unparse(node)[:60]} is beyond a literal")

    def items(self, elements: Sequence[ast.expr], build: Callable[[Any], Any]) -> _Evaluated:
        parts = [self(element) for element in elements]
        return lambda got: build([part(got) for part in parts])

    def table(self, keys: Sequence[ast.expr | None], held: Sequence[ast.expr]) -> _Evaluated:
        names = [self(key) for key in keys if key is not None]
        if len(names) != len(keys):
            raise _Refused("** in a dict")
        values = [self(value) for value in held]
        return lambda got: {k(got): v(got) for k, v in zip(names, values, strict=True)}

    def comparison(self, node: ast.Compare) -> _Evaluated:
        for op, right in zip(node.ops, node.comparators, strict=True):
            single = isinstance(right, ast.Constant) and isinstance(right.value, (bool, NoneType))
            if isinstance(op, (ast.Is, ast.IsNot)) and not single:
                raise _Refused("identity with something else than None, True or False")
        tests = [_COMPARE[type(op)] for op in node.ops]
        parts = [self(part) for part in (node.left, *node.comparators)]

        def compare(got: Any) -> bool:
            values = [part(got) for part in parts]
            return all(
                test(one, two) for test, one, two in zip(tests, values, values[1:], strict=False)
            )

        return compare

    def index(self, place: ast.expr) -> _Evaluated:
        if not isinstance(place, ast.Slice):
            return self(place)
        ends = [
            self(end if end is not None else ast.Constant(None))
            for end in (place.lower, place.upper, place.step)
        ]
        return lambda got: slice(*(end(got) for end in ends))

    def function(self, node: ast.Call) -> _Evaluated:
        name = _dotted(node.func)
        if name not in _FUNCTIONS:
            raise _Refused(f"a call of {ast.unparse(node.func)[:60]}")
        if not {keyword.arg for keyword in node.keywords} <= _KEYWORDS:
            raise _Refused(f"keywords of {name}")
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            raise _Refused(f"stars in a call of {name}")
        function = _FUNCTIONS[name]
        arguments = [self(argument) for argument in node.args]
        keywords = {str(keyword.arg): self(keyword.value) for keyword in node.keywords}
        return lambda got: function(
            *(argument(got) for argument in arguments),
            **{key: value(got) for key, value in keywords.items()},
        )


def _short(value: Any) -> Any:
    if type(value) is int and value.bit_length() > _MOST_BITS:
        raise ValueError(f"an integer of more than {_MOST_BITS} bits")
    return value


def _first(stop: bool, parts: Sequence[_Evaluated], got: Any) -> Any:
    """``and`` (stop at the first false) or ``or`` (at the first true)."""
    value: Any = None
    for part in parts:
        value = part(got)
        if bool(value) is stop:
            break
    return value
