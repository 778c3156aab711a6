"""EvalPlus' problems (HumanEval+, MBPP+), judged in our sandbox by EvalPlus' rules.

    read(file) ──> problems ── references run in the sandbox ──> answers, kept on disk ──> checks

The answers are what the reference solution returns here, with the time that each call took; a call of a
sample may take ``TIME_FACTOR`` times the slowest of them, and never less than ``LEAST_SECONDS``, so a
busy machine changes no verdict (with five processes a core, EvalPlus' factor of 4 failed two references
and 60 s for a whole job four). An input whose reference answer is over the sandbox's limits (five of
Mbpp/255, up to 130 million words) is left out and counted in ``Graded.dropped``.

Where EvalPlus judges a problem by something else than its expected value, so do the rules below. What it
gets wrong there is kept (Mbpp/164 passes with any answer), HumanEval/32 excepted, which no program can
pass in version 0.3.1. Two things pass there and fail here: a value of another type that says it is equal
(a named tuple, a Fraction), and a program that imports numpy or another package, of which the sandbox
has none.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from diffucode.errors import TaskError
from diffucode.execution.checks import Report, Submission, stream
from diffucode.execution.compare import (
    Anything,
    Check,
    Encoded,
    NotNone,
    Rule,
    Same,
    SameElements,
    same,
)
from diffucode.execution.sandbox import Job, Limits, Returned, Sandbox
from diffucode.execution.values import Limit, Undecodable, decode, encode
from diffucode.files import write_atomic

TIME_FACTOR = 8.0
LEAST_SECONDS, LEAST_JOB_SECONDS = 10.0, 600.0
MEMORY_BYTES = 4 << 30  # as EvalPlus allows
REFERENCE_LIMITS = Limits(
    seconds=120.0, job_seconds=1200.0, memory_bytes=MEMORY_BYTES, job_bytes=1 << 30
)
_FILE = Limit(size=1 << 30)
_VERSION = 1


@dataclass(frozen=True)
class PlusProblem:
    """One problem of an EvalPlus file."""

    id: str
    """``HumanEval/0``, ``Mbpp/2``."""
    prompt: str
    entry_point: str
    reference: str
    """Continues the prompt (HumanEval) or stands after it (MBPP)."""
    base: tuple[tuple[Any, ...], ...]
    """Arguments of the original tests."""
    plus: tuple[tuple[Any, ...], ...]
    """Arguments that EvalPlus added."""
    rule: Rule

    @property
    def program(self) -> str:
        """Prompt and reference: a module that defines the entry point."""
        return self.prompt + self.reference

    @cached_property
    def key(self) -> str:
        """Of the reference and every input: the name under which its answers are kept."""
        content = encode((_VERSION, self.program, self.entry_point, self.base, self.plus), _FILE)
        return f"{self.id.replace('/', '_')}-{hashlib.sha256(content).hexdigest()[:16]}"


@dataclass(frozen=True)
class Graded:
    """A problem with the checks that its reference solution gave."""

    problem: PlusProblem
    base: tuple[Check, ...]
    plus: tuple[Check, ...]
    limits: Limits
    dropped: int
    """Inputs left out because their answer is over the limits."""


class Score(NamedTuple):
    """What came of one sample. EvalPlus' base score counts ``base``, its plus score both."""

    id: str
    sample: int
    base: Report
    plus: Report | None
    """None if the problem has no inputs beyond its base."""

    @property
    def passed(self) -> bool:
        return self.base.passed and (self.plus is None or self.plus.passed)


def read(file: str | Path) -> tuple[PlusProblem, ...]:
    """The problems of an EvalPlus ``.jsonl`` or ``.jsonl.gz``.

    Raises TaskError when the file is missing or a line is no problem.
    """
    path = Path(file)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: expected a .jsonl or .jsonl.gz of EvalPlus: {error}") from None
    problems = []
    # not splitlines: JSON strings may hold U+2028 and the like
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            problems.append(_problem(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
            raise TaskError(
                f"{path}, line {number}: expected a problem of EvalPlus "
                f"(task_id, prompt, entry_point, ...): {type(error).__name__} {error}"
            ) from None
    return tuple(problems)


def compute(sandbox: Sandbox, problems: Iterable[PlusProblem], cache: Path) -> None:
    """Run the references whose answers are not in ``cache`` yet, and keep them there.

    Raises TaskError when a reference raises or runs out of time.
    """
    pending = [_Reference(problem) for problem in problems if not _file(cache, problem).exists()]

    def receive(job: int, returned: Returned) -> bool:
        return pending[job].receive(returned)

    for done in sandbox.run((one.job() for one in pending), receive):
        one = pending[done.job]
        if done.infrastructure is not None:
            raise TaskError(f"{one.problem.id}: the reference did not run: {done.infrastructure}")
        write_atomic(_file(cache, one.problem), zlib.compress(one.content(), level=1))
        one.outputs.clear()


def grade(problem: PlusProblem, cache: Path) -> Graded:
    """The problem's checks, from the answers that ``compute`` left in ``cache``."""
    path = _file(cache, problem)
    try:
        outputs, seconds = decode(zlib.decompress(path.read_bytes()), _FILE)
    except (OSError, zlib.error, Undecodable, ValueError) as error:
        raise TaskError(f"{path}: expected the answers of {problem.id}: {error}") from None
    made = [
        None if output is None else Check(arguments, Encoded(output), problem.rule)
        for arguments, output in zip((*problem.base, *problem.plus), outputs, strict=True)
    ]
    split = len(problem.base)
    if made[:split].count(None) == split:
        raise TaskError(f"{problem.id}: no base input has an answer within the sandbox's limits")
    each = max(LEAST_SECONDS, TIME_FACTOR * max(seconds, default=0.0))
    job = max(LEAST_JOB_SECONDS, TIME_FACTOR * sum(seconds))
    return Graded(
        problem,
        base=tuple(check for check in made[:split] if check is not None),
        plus=tuple(check for check in made[split:] if check is not None),
        limits=Limits(seconds=each, job_seconds=job, memory_bytes=MEMORY_BYTES),
        dropped=made.count(None),
    )


def score(
    sandbox: Sandbox,
    problems: Sequence[PlusProblem],
    samples: Mapping[str, Sequence[str]],
    cache: Path,
    *,
    fail_fast: bool = True,
) -> Iterator[Score]:
    """Judge samples (whole programs, by problem id) on base and plus, in any order as they end."""
    known = {problem.id: problem for problem in problems}
    if unknown := sorted(samples.keys() - known.keys()):
        raise TaskError(f"samples of {unknown[0]!r}, which is not among the {len(known)} problems")
    asked = [known[name] for name in samples]
    compute(sandbox, asked, cache)
    waiting: dict[int, tuple[str, int, bool]] = {}
    halves: dict[tuple[str, int], dict[bool, Report]] = {}
    expected: dict[str, int] = {}

    def submissions() -> Iterator[Submission]:
        for problem in asked:
            graded = grade(problem, cache)
            expected[problem.id] = bool(graded.base) + bool(graded.plus)
            for number, program in enumerate(samples[problem.id]):
                for plus, tests in ((False, graded.base), (True, graded.plus)):
                    if tests:
                        waiting[len(waiting)] = (problem.id, number, plus)
                        yield Submission(program, problem.entry_point, tests, graded.limits)

    for job, report in stream(sandbox, submissions(), fail_fast=fail_fast):
        name, number, plus = waiting[job]
        half = halves.setdefault((name, number), {})
        half[plus] = report
        if len(half) == expected[name]:
            del halves[name, number]
            yield Score(name, number, half[False], half.get(True))


# --- the references -----------------------------------------------------------------------------


@dataclass
class _Reference:
    problem: PlusProblem
    outputs: list[bytes | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def job(self) -> Job:
        calls = tuple(map(encode, (*self.problem.base, *self.problem.plus)))
        return Job(self.problem.program, self.problem.entry_point, calls, REFERENCE_LIMITS)

    def receive(self, returned: Returned) -> bool:
        not_none = isinstance(self.problem.rule, NotNone)
        output = returned.value
        match returned.status:
            case "returned" if output is not None:
                output = encode(decode(output) is not None) if not_none else output
            case "unencodable" if not_none:
                output = encode(True)
            case "unencodable" | "output_limit":
                output = None
            case _:
                raise TaskError(
                    f"{self.problem.id}, input {returned.index}: the reference ended with "
                    f"{returned.status} {returned.error or ''}; is the machine overloaded?"
                )
        self.outputs.append(output)
        self.seconds.append(returned.seconds)
        return True

    def content(self) -> bytes:
        return encode((self.outputs, self.seconds), _FILE)


def _file(cache: Path, problem: PlusProblem) -> Path:
    return cache / f"{problem.key}.answers"


# --- the file -----------------------------------------------------------------------------------


def _problem(row: Mapping[str, Any]) -> PlusProblem:
    family, number = row["task_id"].split("/")
    mbpp = family == "Mbpp"
    rebuild = _REBUILD.get(int(number), _as_is) if mbpp else _as_is
    atol = float(row["atol"])
    rule: Rule = Same(atol)
    if mbpp:
        rule = _mbpp_rule(row["entry_point"], atol)
    elif row["entry_point"] == "find_zero":
        rule = Root(atol)
    return PlusProblem(
        id=row["task_id"],
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        reference=row["canonical_solution"],
        base=tuple(tuple(rebuild(arguments)) for arguments in row["base_input"]),
        plus=tuple(tuple(rebuild(arguments)) for arguments in row["plus_input"]),
        rule=rule,
    )


def _mbpp_rule(entry_point: str, atol: float) -> Rule:
    match entry_point:
        case "are_equivalent":
            return Anything()
        case "sum_div":
            return OrZero(atol)
        case "surface_Area":
            return PyramidSurface(atol)
        case "digit_distance_nums":
            return DigitDistance(atol)
        case "check_str" | "text_match_three" | "text_starta_endb":
            return NotNone()
        case (
            "similar_elements"
            | "find_char_long"
            | "common_in_nested_lists"
            | "extract_singly"
            | "larg_nnum"
            | "intersection_array"
            | "find_dissimilar"
            | "Diff"
        ):
            return SameElements(atol)
    return Same(atol)


@dataclass(frozen=True)
class Root:
    """HumanEval/32: the polynomial with coefficients ``arguments[0]``, lowest first, vanishes there."""

    atol: float

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        value = sum(c * math.pow(got, i) for i, c in enumerate(arguments[0]))
        return bool(abs(value) <= self.atol)


@dataclass(frozen=True)
class OrZero:
    """Mbpp/295: the sum of proper divisors may also be called zero."""

    atol: float

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        return bool(got == 0) or same(got, expected, atol=self.atol)


@dataclass(frozen=True)
class PyramidSurface:
    """Mbpp/581: the height may also be read as that of the apex over the base."""

    atol: float

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        if same(got, expected, atol=self.atol):
            return True
        edge, height = arguments
        slant = math.sqrt((edge / 2) ** 2 + height**2)
        return bool(abs(got - round(edge**2 + 2 * edge * slant)) <= self.atol)


@dataclass(frozen=True)
class DigitDistance:
    """Mbpp/558: the digits of the shorter number may also be padded with zeros."""

    atol: float

    def __call__(self, got: Any, expected: Any, arguments: tuple[Any, ...]) -> bool:
        if same(got, expected, atol=self.atol):
            return True
        one, two = map(str, arguments)
        width = max(len(one), len(two))
        pairs = zip(one.zfill(width), two.zfill(width), strict=True)
        return bool(got == sum(abs(int(a) - int(b)) for a, b in pairs))


# JSON has neither tuples nor sets nor complex numbers: EvalPlus rebuilds them by the task's number.


def _as_is(arguments: list[Any]) -> list[Any]:
    return arguments


def _tuples(arguments: list[Any]) -> list[Any]:
    return [tuple(argument) for argument in arguments]


def _rows(arguments: list[Any]) -> list[Any]:
    return [_tuples(argument) for argument in arguments]


def _tuples_of_tuples(arguments: list[Any]) -> list[Any]:
    return [tuple(_tuples(argument)) for argument in arguments]


def _first_rows(arguments: list[Any]) -> list[Any]:
    return [_tuples(arguments[0]), arguments[1]]


def _first_tuple(arguments: list[Any]) -> list[Any]:
    return [tuple(arguments[0]), *arguments[1:]]


def _second_tuple(arguments: list[Any]) -> list[Any]:
    return [arguments[0], tuple(arguments[1])]


def _mixed_tuple(arguments: list[Any]) -> list[Any]:
    return [tuple(tuple(x) if isinstance(x, list) else x for x in arguments[0])]


def _sets(arguments: list[Any]) -> list[Any]:
    return [[set(x) if isinstance(x, list) and x else {} for x in arguments[0]]]


def _held_tuples(arguments: list[Any]) -> list[Any]:
    return [{key: tuple(held) for key, held in arguments[0].items()}, *arguments[1:]]


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if isinstance(value, list) else value


def _complex(arguments: list[Any]) -> list[Any]:
    return [complex(arguments[0])]


def _float_complex(arguments: list[Any]) -> list[Any]:
    return [float(arguments[0]), complex(arguments[1])]


_REBUILD_GROUPS: tuple[tuple[Callable[[list[Any]], Any], str], ...] = (
    (
        _tuples,
        "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    ),
    (_rows, "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780"),
    (_tuples_of_tuples, "259 401 445"),
    (_first_rows, "75 413 444 753"),
    (_first_tuple, "250 307 405 446 617 720 763 808"),
    (_second_tuple, "106 750"),
    (_mixed_tuple, "278"),
    (_sets, "115"),
    (_held_tuples, "722"),
    (_all_tuples, "580 615 791"),
    (_complex, "252"),
    (_float_complex, "124"),
)
_REBUILD = {int(n): rebuild for rebuild, numbers in _REBUILD_GROUPS for n in numbers.split()}
