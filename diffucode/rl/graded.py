"""Problems to learn from: a prompt, and tests that grade an answer and never stand in the prompt.

    minicode   the generator's split ``rl``, its ``reward`` tests alone
    table      JSONL, parquet or a folder of ``datasets``, a problem a row
    evalplus   a file of EvalPlus' format, its base inputs alone

A row or a test that cannot be used is left out, counted and named. A test whose call stands in the
prompt grades nothing: the published prompt builder shows the first graded test to the model
(apple/ml-diffucoder, grpo.py). Nor does a test that has to run whole beside the program, which could
game it (``execution.asserts.Unsplit``).

This module is not in ``data``: it knows how a test is taken apart, which is ``execution``'s, a neighbour
of ``data`` on its floor.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from diffucode.data import rows
from diffucode.errors import SandboxError, TaskError
from diffucode.execution import evalplus
from diffucode.execution.asserts import Unsplit, split
from diffucode.execution.compare import Check
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.execution.values import Unencodable, encode
from diffucode.tasks import minicode
from diffucode.tasks.problem import Case, Problem, Tests

Tell = Literal["name", "test"]
"""What a prompt that does not say it is told of the function: its ``name``, or a whole ``test``, which
then grades nothing (the published prompt, without its leak)."""

MOST_ENDS = 64
"""Closing parentheses behind the beginning of a call at which its end is looked for."""


@dataclass(frozen=True)
class GradedProblem:
    """What is asked, and what grades an answer. All that reinforcement learning sees of a problem."""

    id: str
    prompt: str
    entry_point: str
    """Name of the function that tests call."""
    tests: tuple[Check | Case, ...]
    """At least one; those of which an answer is told nothing but how many it passes."""
    limits: Limits | None = None
    """Instead of those of the whole run, where the reference itself needs more."""

    def __post_init__(self) -> None:
        if not self.tests:
            raise TaskError(
                f"{self.id}: a graded problem without tests; every program would pass it"
            )


class LeftOut(NamedTuple):
    """Something that was not used."""

    place: str
    """File and line, or the problem's id."""
    what: Literal["row", "test"]
    reason: str
    """In words that many share, so that they can be counted."""
    detail: str
    """What stands there."""


@dataclass(frozen=True)
class ProblemSet:
    """Problems with different ids, at least one, and what was left out."""

    problems: tuple[GradedProblem, ...]
    left_out: tuple[LeftOut, ...] = ()

    def order(self, seed: int, epoch: int) -> list[GradedProblem]:
        """The order of an epoch: a pure function of seed, epoch and the problems' ids.

        Where a row stands in its file does not matter, and a problem more leaves the order of the
        others as it is.
        """
        return sorted(self.problems, key=lambda problem: _place(seed, epoch, problem.id))

    def asked(self, seed: int, place: int) -> Iterator[GradedProblem]:
        """Different problems from a place in the endless line of epochs on: those of one update after
        another's."""
        many, drawn = len(self.problems), set[str]()
        while len(drawn) < many:
            epoch, at = divmod(place, many)
            if not drawn or at == 0:
                order = self.order(seed, epoch)
            problem = order[at]
            if problem.id not in drawn:
                drawn.add(problem.id)
                yield problem
            place += 1

    def counts(self) -> Counter[tuple[str, str]]:
        """How many rows and tests were left out, by (``row`` or ``test``, reason)."""
        return Counter((one.what, one.reason) for one in self.left_out)

    def summary(self) -> str:
        """One line: how many problems, and what was left out."""
        parts = [f"{n} x {what}: {reason}" for (what, reason), n in self.counts().most_common()]
        return f"{len(self.problems)} problems; left out: {'; '.join(parts) or 'nothing'}"


def _place(seed: int, epoch: int, id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{epoch}/{id}".encode()).digest()


# --- where they come from -----------------------------------------------------------------------


@dataclass(frozen=True)
class Minicode:
    """The first problems of minicode's split ``rl``. Their ``base`` and ``plus`` tests stay behind."""

    seed: int = 0
    problems: int = 1000
    kind: Literal["minicode"] = "minicode"

    def __post_init__(self) -> None:
        if self.problems < 1:
            raise TaskError(f"problems: expected at least 1, got {self.problems}")

    @property
    def ids(self) -> list[str]:
        return [f"minicode/rl/{self.seed}/{index}" for index in range(self.problems)]


@dataclass(frozen=True)
class Columns:
    """Which column holds what; AceCode's names."""

    id: str = "id"
    prompt: str = "question"
    tests: str = "test_cases"
    """A list of ``assert`` statements; or ``{"inputs": [[argument, ...], ...], "outputs": [...]}`` of one
    length, with ``fn_name`` for the function; or either as JSON text. JSON knows no tuple: a program
    that returns one for a list fails."""
    entry_point: str = "entry_point"
    """A row without it is asked what its tests call."""


@dataclass(frozen=True)
class Table:
    """A problem a row of what ``data.rows`` reads."""

    file: str
    """File or folder."""
    split: str | None = None
    """Of a saved folder that has several."""
    columns: Columns = Columns()
    tell: Tell = "name"
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class EvalPlusFile:
    """A file of EvalPlus' format. Its plus inputs stay behind: they are what an evaluation scores."""

    file: str
    cache: str
    """Folder for the answers of the reference solutions."""
    kind: Literal["evalplus"] = "evalplus"


Source = Minicode | Table | EvalPlusFile

Make = Callable[[Sequence[str]], Iterable[tuple[Problem, Tests]]]
"""Problems with their tests by ids, in their order; ``measure.problems.Problems.get`` keeps them on
disk."""


def made(ids: Sequence[str]) -> Iterator[tuple[Problem, Tests]]:
    """By the generator, a quarter of a second each."""
    return ((minicode.problem(id), minicode.tests(id)) for id in ids)


def load(source: Source, *, sandbox: Sandbox | None = None, make: Make = made) -> ProblemSet:
    """All problems of a source.

    ``sandbox`` is for EvalPlus files, whose reference solutions have to run; ``make`` for minicode.
    Raises TaskError when no problem is left, with the reasons.
    """
    reader = _Reader(source.tell if isinstance(source, Table) else "name")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tests with invalid escapes and the like
        match source:
            case Minicode():
                for problem, tests in make(source.ids):
                    reader.add(problem.id, _of_minicode(problem, tests))
            case Table():
                for row in rows.read(Path(source.file), source.split):
                    reader.read(row, source.columns)
            case EvalPlusFile():
                _read_evalplus(reader, source, sandbox)
    found = ProblemSet(tuple(reader.problems.values()), tuple(reader.left_out))
    if not found.problems:
        raise TaskError(f"{source}: no problem can be used; {found.summary()}")
    return found


# --- one after another --------------------------------------------------------------------------


class _Unusable(Exception):
    """``(reason, detail)`` of a row or a test that is left out."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason, str(detail)[:200])

    def left(self, place: str, what: Literal["row", "test"]) -> LeftOut:
        return LeftOut(place, what, *self.args)


class _Raw(NamedTuple):
    """A problem as it was found."""

    id: str
    prompt: str
    entry_point: str
    tests: list[tuple[str, Check | Case | _Unusable]]
    """With the statement that a prompt would show."""
    limits: Limits | None = None


class _Reader:
    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.problems: dict[str, GradedProblem] = {}
        self.left_out: list[LeftOut] = []

    def read(self, row: rows.Row, columns: Columns) -> None:
        try:
            raw = _of_row(row.fields, columns)
        except _Unusable as unusable:
            self.left_out.append(unusable.left(row.place, "row"))
        else:
            self.add(row.place, raw)

    def add(self, place: str, raw: _Raw) -> None:
        usable = [(text, test) for text, test in raw.tests if not isinstance(test, _Unusable)]
        broken = [test for _, test in raw.tests if isinstance(test, _Unusable)]
        prompt = _told(raw, self.tell, next((text for text, _ in usable), None))
        shown = shown_calls(prompt, raw.entry_point)
        kept = []
        for text, test in usable:
            if encode(tuple(test.arguments)) in shown:
                broken.append(_Unusable("its call stands in the prompt", text))
            else:
                kept.append(test)
        self.left_out += [one.left(place, "test") for one in broken]
        if raw.id in self.problems:
            self.left_out.append(_Unusable("its id stands twice", raw.id).left(place, "row"))
        elif not kept:
            self.left_out.append(_Unusable("no test is left", raw.id).left(place, "row"))
        else:
            self.problems[raw.id] = GradedProblem(
                raw.id, prompt, raw.entry_point, tuple(kept), raw.limits
            )


def _told(raw: _Raw, tell: Tell, test: str | None) -> str:
    """The prompt, and what it does not say of the function."""
    if tell == "test" and test is not None and "\n```\n" not in raw.prompt:
        return f"{raw.prompt}\nTest cases: {test}"
    if re.search(rf"\b{re.escape(raw.entry_point)}\b", raw.prompt):
        return raw.prompt
    return f"{raw.prompt}\nName the function `{raw.entry_point}`."


def shown_calls(text: str, entry_point: str) -> set[bytes]:
    """The arguments, encoded, of each call with literal arguments that stands in a text."""
    found = set()
    for match in re.finditer(rf"(?<!\w){re.escape(entry_point)}\s*\(", text):
        if re.search(r"\bdef\s+$", text[max(0, match.start() - 16) : match.start()]):
            continue
        ends = [end.end() for end in re.finditer(r"\)", text[match.start() :])][:MOST_ENDS]
        for end in ends:
            try:
                check = split(f"assert {text[match.start() :][:end]} == 0", entry_point)
            except TaskError:  # the call ends further right
                continue
            if isinstance(check, Check):
                found.add(encode(check.arguments))
            break
    return found


def _of_minicode(problem: Problem, tests: Tests) -> _Raw:
    """Of the problem and its tests only what RL may see."""
    if not problem.id.startswith("minicode/rl/"):
        raise TaskError(f"{problem.id}: problems to learn from by reward are those of the split rl")
    shown = [(_statement(problem.entry_point, case), case) for case in tests.reward]
    return _Raw(problem.id, problem.prompt, problem.entry_point, [*shown])


def _statement(entry_point: str, case: Case) -> str:
    return f"assert {entry_point}({', '.join(map(repr, case.arguments))}) == {case.expected!r}"


# --- rows ---------------------------------------------------------------------------------------


def _of_row(fields: Mapping[str, Any] | None, columns: Columns) -> _Raw:
    if fields is None:
        raise _Unusable("no JSON object")
    id, prompt = fields.get(columns.id), fields.get(columns.prompt)
    if not isinstance(id, str | int):
        raise _Unusable(f"without {columns.id!r}", id)
    if not isinstance(prompt, str) or not prompt.strip():
        raise _Unusable(f"without {columns.prompt!r}", id)
    entry_point, tests = _tests(fields.get(columns.tests), fields.get(columns.entry_point), columns)
    return _Raw(str(id), prompt, entry_point, tests)


def _tests(
    value: Any, name: Any, columns: Columns
) -> tuple[str, list[tuple[str, Check | Case | _Unusable]]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _Unusable(f"{columns.tests!r} is text but not JSON", value) from None
    if not value:
        raise _Unusable(f"without {columns.tests!r}")
    if isinstance(value, Mapping):
        return _pairs(value, name or value.get("fn_name"), columns)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        name = name or called(value)
        if not isinstance(name, str) or not name.isidentifier():
            raise _Unusable("its tests call no one function", value[0])
        return name, [(source.strip(), _taken_apart(source, name)) for source in value]
    raise _Unusable(f"{columns.tests!r} is neither asserts nor inputs and outputs", value)


def _pairs(
    value: Mapping[str, Any], name: Any, columns: Columns
) -> tuple[str, list[tuple[str, Check | Case | _Unusable]]]:
    inputs, outputs = value.get("inputs"), value.get("outputs")
    if not (isinstance(inputs, list) and isinstance(outputs, list) and len(inputs) == len(outputs)):
        raise _Unusable(f"{columns.tests!r} has not as many inputs as outputs", value)
    if not isinstance(name, str) or not name.isidentifier():
        raise _Unusable("inputs and outputs without the name of a function", name)
    found: list[tuple[str, Check | Case | _Unusable]] = []
    for given, output in zip(inputs, outputs, strict=True):
        if not isinstance(given, list):
            found.append(("", _Unusable("an input that is no list of arguments", given)))
            continue
        case = Case(tuple(given), output)
        found.append((_statement(name, case), _plain(case)))
    return name, found


def _plain(case: Case) -> Case | _Unusable:
    try:
        encode((case.arguments, case.expected))
    except Unencodable as error:
        return _Unusable("not plain data", error)
    return case


def _taken_apart(source: str, entry_point: str) -> Check | _Unusable:
    try:
        test = split(source, entry_point)
    except TaskError as error:
        return _Unusable("not Python", error)
    if isinstance(test, Unsplit):
        return _Unusable("cannot be taken apart", f"{test.reason}: {source.strip()}")
    return test


def called(sources: Sequence[str]) -> str | None:
    """The function that most of these tests call, builtins aside; None where two are called as often."""
    names: Counter[str] = Counter()
    for source in sources:
        names.update(_functions(source))
    first, second = (*names.most_common(2), ("", 0), ("", 0))[:2]
    return first[0] if first[1] > second[1] else None


def _functions(source: str) -> set[str]:
    """Names that are called and are not Python's own."""
    try:
        tree = ast.parse(source.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return set()
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)} - {*dir(builtins), "isclose"}


# --- EvalPlus -----------------------------------------------------------------------------------


def _read_evalplus(reader: _Reader, source: EvalPlusFile, sandbox: Sandbox | None) -> None:
    if sandbox is None:
        raise SandboxError(f"{source.file}: its reference solutions have to run; give a sandbox")
    # Without its plus inputs a problem has no answers to them here that could be looked at.
    problems = [replace(problem, plus=()) for problem in evalplus.read(source.file)]
    cache = Path(source.cache)
    with contextlib.suppress(TaskError):  # a reference that fails is named below
        evalplus.compute(sandbox, problems, cache)
    for problem in problems:
        try:
            evalplus.compute(sandbox, [problem], cache)
            graded = evalplus.grade(problem, cache)
        except TaskError as error:
            unusable = _Unusable("its reference gives no answers", error)
            reader.left_out.append(unusable.left(problem.id, "row"))
        else:
            reader.add(problem.id, _of_evalplus(graded))


def _of_evalplus(graded: evalplus.Graded) -> _Raw:
    problem = graded.problem
    slow = graded.limits.seconds > evalplus.LEAST_SECONDS
    return _Raw(
        problem.id,
        problem.prompt,
        problem.entry_point,
        [(f"{problem.entry_point}{check.arguments}", check) for check in graded.base],
        graded.limits if slow else None,
    )
