"""What a program does with its arguments, counted from the inside.

Numbers and strings in the arguments become ``Number``, ``Real`` and ``Text``: equal to what they stand
for, but each operation on them counts, also one that a built-in function makes (``sum`` adds, ``sorted``
compares, ``set`` hashes). Elements bear numbers, and which two were compared or added is remembered.
What a program does with values of its own is counted by calls of ``count`` that ``counting.py`` has
written into its text.

The text of this file is a program for the sandbox, followed by ``PROGRAM`` and ``ENTRY_POINT``. Nothing
here depends on a clock or on the version of Python's bytecode.

Standard library only, and nothing of this package.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

DATA = ("add", "multiply", "divide", "bit", "order", "equal", "hash", "truth", "text")
"""Operations on the arguments and on what was computed from them."""
CODE = (
    *("loop", "call", "plus", "times", "over", "shift", "less", "same", "within"),
    *("read", "write", "slice"),
)
"""Operations in the text of the program."""
KINDS = (*DATA, *CODE)
BUDGET = 10_000
"""Operations of one call; then it is stopped."""
MEETINGS = 4_000
"""Pairs of elements that are remembered."""
PROGRAM = ""
ENTRY_POINT = ""

_number_of = {kind: number for number, kind in enumerate(KINDS)}


class Enough(BaseException):
    """The budget is spent."""


class _Ledger:
    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.counts = [0] * len(KINDS)
        self.left = BUDGET
        self.meetings: set[tuple[int, int]] = set()
        self.elements = 0
        self.depth = self.deepest = 0

    def take(self, kind: int) -> None:
        self.counts[kind] += 1
        self.left -= 1
        if self.left < 0:
            raise Enough

    def meet(self, one: tuple[int, ...], other: tuple[int, ...]) -> None:
        if len(one) == 1 == len(other) and len(self.meetings) < MEETINGS:
            self.meetings.add((min(one[0], other[0]), max(one[0], other[0])))


_ledger = _Ledger()


def count(kind: int, value: Any = None) -> Any:
    """``value``, one operation later."""
    _ledger.take(kind)
    return value


def profile(*arguments: Any) -> tuple[bool, list[int], int, list[tuple[int, int]]]:
    """One call of the program: whether it ended within the budget, counts by kind, depth of calls, and the
    pairs of elements that met. Raises what the program raises."""
    module = types.ModuleType("program")
    sys.modules["program"] = module
    module.__dict__["_count"] = count
    exec(compile(PROGRAM, "<counted>", "exec", dont_inherit=True), module.__dict__)
    function = module.__dict__[ENTRY_POINT]
    _ledger.clear()
    counted = [_counted(argument) for argument in arguments]
    finished = True
    sys.setprofile(_watch)
    try:
        function(*counted)
    except Enough:
        finished = False
    finally:
        sys.setprofile(None)
    return finished, _ledger.counts, _ledger.deepest, sorted(_ledger.meetings)


def _watch(frame: Any, event: str, _argument: Any) -> None:
    """Calls of the program's own functions, not of comprehensions, which newer Pythons do not call."""
    code = frame.f_code
    if (
        code.co_filename != "<counted>" or code.co_flags & 0x20
    ):  # a generator is resumed, not called
        return
    if code.co_name.startswith("<") and code.co_name != "<lambda>":
        return
    if event == "call":
        _ledger.depth += 1
        _ledger.deepest = max(_ledger.deepest, _ledger.depth)
        _ledger.take(_number_of["call"])
    elif event == "return":
        _ledger.depth -= 1


def _counted(value: Any) -> Any:
    """The argument with its numbers and strings counted and numbered, in the order in which they stand."""
    kind = type(value)
    if kind is int:
        return Number(value, (_next(),))
    if kind is float:
        return Real(value, (_next(),))
    if kind is str:
        return Text(value, tuple(_next() for _ in value))
    if kind in (list, tuple, set, frozenset):
        return kind(map(_counted, value))
    if kind is dict:
        return {_counted(key): _counted(item) for key, item in value.items()}
    return value


def _next() -> int:
    _ledger.elements += 1
    return _ledger.elements


class Number(int):
    """A whole number whose operations count."""

    where: tuple[int, ...]
    """Its number as an element; () for what was computed."""

    def __new__(cls, value: int, where: tuple[int, ...] = ()) -> Number:
        self = super().__new__(cls, value)
        self.where = where
        return self


class Real(float):
    """A float whose operations count."""

    where: tuple[int, ...]

    def __new__(cls, value: float, where: tuple[int, ...] = ()) -> Real:
        self = super().__new__(cls, value)
        self.where = where
        return self


class Text(str):
    """A string whose operations count; its characters are elements."""

    where: tuple[int, ...]
    """The number of each character; () for what was computed."""

    def __new__(cls, value: str, where: tuple[int, ...] = ()) -> Text:
        self = super().__new__(cls, value)
        self.where = where
        return self

    def __iter__(self) -> Iterator[str]:
        if not self.where:
            return map(Text, str.__iter__(self))
        return (Text(c, (n,)) for c, n in zip(str.__iter__(self), self.where, strict=True))

    def __getitem__(self, key: Any) -> str:
        value = str.__getitem__(self, key)
        if not self.where:
            return Text(value)
        where = self.where[key]
        return Text(value, where if isinstance(where, tuple) else (where,))

    def __add__(self, other: str) -> str:
        _ledger.take(_number_of["text"])
        return Text(str.__add__(self, other), self.where + getattr(other, "where", ()))


def _method(base: Any, name: str, kind: str) -> Callable[..., Any]:
    plain = getattr(base, name)
    number = _number_of[kind]
    compares = kind in ("order", "equal", "add")

    def method(self: Any, *others: Any) -> Any:
        value = plain(self, *others)
        if value is NotImplemented:
            return value
        _ledger.take(number)
        if compares and others:
            _ledger.meet(self.where, getattr(others[0], "where", (0,)))
        return _wrapped(value)

    return method


def _wrapped(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return Number(value)
    if kind is float:
        return Real(value)
    if kind is str:
        return Text(value)
    if kind in (tuple, list):
        return kind(map(_wrapped, value))
    return value


_OPERATORS = {
    "add": "add radd sub rsub neg abs",
    "multiply": "mul rmul pow rpow",
    "divide": "floordiv rfloordiv truediv rtruediv mod rmod divmod rdivmod",
    "bit": "and rand or ror xor rxor lshift rlshift rshift rrshift invert",
    "order": "lt le gt ge",
    "equal": "eq ne",
    "truth": "bool",
}
_METHODS = (
    "lower upper swapcase replace strip lstrip rstrip split find rfind index rindex"
    " count startswith endswith"
)


def _equip() -> None:
    """The counted methods of the three classes."""
    for cls, base in ((Number, int), (Real, float)):
        for kind, names in _OPERATORS.items():
            for name in (f"__{name}__" for name in names.split()):
                if hasattr(base, name):
                    setattr(cls, name, _method(base, name, kind))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "contains", "mul", "rmul"):
        kind = {"eq": "equal", "ne": "equal"}.get(name, "order" if len(name) == 2 else "text")
        setattr(Text, f"__{name}__", _method(str, f"__{name}__", kind))
    for name in _METHODS.split():
        setattr(Text, name, _method(str, name, "text"))
    for counted, plain in ((Number, int), (Real, float), (Text, str)):
        setattr(counted, "__hash__", _hash(plain))  # noqa: B010 - a type may not assign to it


def _hash(base: Any) -> Callable[[Any], int]:
    plain = base.__hash__
    number = _number_of["hash"]

    def method(self: Any) -> int:
        _ledger.take(number)
        value: int = plain(self)
        return value

    return method


_equip()
