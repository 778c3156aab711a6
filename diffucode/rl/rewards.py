"""Completions to rewards: what each part says, and their weighted sum.

    sample ──> program ──> graded tests, in the sandbox ──> parts ──> sum of weight x value

The parts see one group, the samples of one problem, and give each sample a number from 0 to 1::

    pass_rate        share of the tests that pass
    all_or_nothing   1 if all of them pass
    format           as DiffuCoder's: 0, 0.5 or 1
    syntax           1 if the program is valid Python
    diversity        for a right program, 1 over how many right ones have its form

The default is the published 2.0 pass_rate + 0.5 format (arXiv 2506.20639; apple/ml-diffucoder). Three
things differ. A test that hangs costs itself, not the completion. A failure of the sandbox is tried again
and then gives no reward at all, where the published code gives 0. And a program is run whatever its
answer's format: there, a fence out of place also costs the tests.

A sample without a reward (``Scored.total`` is None) is to be left out of its group, not counted as zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from diffucode.errors import ConfigError, TaskError
from diffucode.execution.sandbox import Limits, Sandbox
from diffucode.rl import verdicts
from diffucode.rl.graded import GradedProblem
from diffucode.tasks.extract import parses
from diffucode.tasks.prompts import COMPLETE_PREFILL, Reading
from diffucode.tasks.syntax import canonical

if TYPE_CHECKING:
    from diffucode.generate.stream import Finish  # at run time it would load torch

FENCE, OPENING = "```", "```python\n"


class Sample(NamedTuple):
    """One answer of the policy."""

    problem: str
    """The problem's id."""
    text: str
    """What was written, without special tokens."""
    program: str
    """The program in it, as ``tasks.extract`` cuts it out."""
    finish: Finish
    """A ``cancelled`` sample is one that the policy did not end: it has no reward."""
    reading: Reading
    """How the prompt's style has the text read; only an ``answer`` opens its own fence."""


class Judged(NamedTuple):
    """A sample and a verdict on each test; see ``rl.verdicts``."""

    sample: Sample
    verdicts: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.verdicts.count("passed") / len(self.verdicts)

    @property
    def right(self) -> bool:
        return self.share == 1.0


# --- parts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PassRate:
    """The share of the graded tests that pass."""

    weight: float = 1.0
    kind: Literal["pass_rate"] = "pass_rate"

    def __call__(self, group: Sequence[Judged]) -> list[float]:
        return [one.share for one in group]


@dataclass(frozen=True)
class AllOrNothing:
    """1 if all graded tests pass."""

    weight: float = 1.0
    kind: Literal["all_or_nothing"] = "all_or_nothing"

    def __call__(self, group: Sequence[Judged]) -> list[float]:
        return [float(one.right) for one in group]


@dataclass(frozen=True)
class Format:
    """DiffuCoder's ``code_format``: 1 for an answer with one fenced block of valid Python that ends it,
    0.5 if the block is not valid, 0 for any other answer.

    The block opens with ```` ```python ````, closes with ```` ``` ````, one newline follows, and there
    is no other fence. Where the prompt opened the fence, the answer has to close it. Where the answer
    is the rest of a program there are no fences, and validity alone counts: 1 or 0.
    """

    weight: float = 1.0
    kind: Literal["format"] = "format"

    def __call__(self, group: Sequence[Judged]) -> list[float]:
        return [self.of(one.sample) for one in group]

    def of(self, sample: Sample) -> float:
        if sample.reading in ("continuation", "verbatim"):
            return float(parses(sample.program))
        opened = COMPLETE_PREFILL if sample.reading == "fence" else ""
        block = fenced(opened + sample.text)
        if block is None:
            return 0.0
        return 1.0 if parses(block.strip()) else 0.5


@dataclass(frozen=True)
class Syntax:
    """1 if the program is valid Python."""

    weight: float = 1.0
    kind: Literal["syntax"] = "syntax"

    def __call__(self, group: Sequence[Judged]) -> list[float]:
        return [float(parses(one.sample.program)) for one in group]


@dataclass(frozen=True)
class Diversity:
    """For a right program, 1 over the number of right ones with the same form; 0 for a wrong one.

    Over the right programs of a group the mean is the share of different forms among them. The form is
    ``tasks.syntax.canonical``: layout, remarks and names make no difference.
    """

    weight: float = 1.0
    kind: Literal["diversity"] = "diversity"

    def __call__(self, group: Sequence[Judged]) -> list[float]:
        forms = [_form(one.sample.program) if one.right else None for one in group]
        times = Counter(forms)
        return [0.0 if form is None else 1 / times[form] for form in forms]


Part = PassRate | AllOrNothing | Format | Syntax | Diversity


def fenced(text: str) -> str | None:
    """What stands in the one Python block that ends a text; None for a text of another form."""
    start = text.find(FENCE)
    if not text.startswith(OPENING, max(start, 0)):
        return None
    block, _, after = text[start + len(OPENING) :].partition(FENCE)
    return block if after == "\n" else None


def _form(program: str) -> str:
    return canonical(program) or program


# --- their sum ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """The reward of one sample."""

    total: float | None
    """The sum of weight x value; None: no reward, leave the sample out."""
    parts: dict[str, float] = field(default_factory=dict)
    """The value of each part, by its kind, before its weight; none of a sample without a reward."""
    verdicts: tuple[str, ...] = ()
    """Of the graded tests, in their order."""
    dropped: str | None = None
    """Why there is no reward."""


@dataclass(frozen=True)
class Reward:
    """A weighted sum of parts, and how the programs are run for it."""

    parts: tuple[Part, ...] = (PassRate(2.0), Format(0.5))
    retries: int = 2
    """Times that a program is tried again after a failure of the sandbox."""
    limits: Limits = field(default_factory=Limits)
    """Of a program, where its problem has none of its own."""

    def __post_init__(self) -> None:
        kinds = [part.kind for part in self.parts]
        if not kinds or len(set(kinds)) < len(kinds):
            raise ConfigError(f"parts: expected one or more, each kind once, got {kinds}")
        for part in self.parts:
            if not math.isfinite(part.weight):
                raise ConfigError(f"parts.{part.kind}.weight: expected a number, got {part.weight}")
        if self.retries < 0:
            raise ConfigError(f"retries: expected 0 or more, got {self.retries}")

    def score(
        self,
        sandbox: Sandbox,
        problems: Mapping[str, GradedProblem],
        groups: Sequence[Sequence[Sample]],
        between: Callable[[], None] = verdicts.go_on,
    ) -> list[list[Scored]]:
        """The rewards of groups, each the samples of one problem; equal programs are run once.

        ``between`` is called as programs end, and may raise to end all of them. Raises TaskError on a
        group of several problems or of an unknown one.
        """
        for group in groups:
            check_group(group, problems)
        programs = [
            (sample.problem, sample.program)
            for group in groups
            for sample in group
            if sample.finish != "cancelled"
        ]
        ran = verdicts.run(
            sandbox, problems, programs, limits=self.limits, retries=self.retries, between=between
        )
        return [self._group(group, ran) for group in groups]

    def _group(
        self, group: Sequence[Sample], ran: Mapping[verdicts.Key, verdicts.Ran]
    ) -> list[Scored]:
        scored = [Scored(None, dropped=_dropped(sample, ran)) for sample in group]
        kept = [i for i, one in enumerate(scored) if one.dropped is None]
        judged = [Judged(group[i], ran[group[i].problem, group[i].program].verdicts) for i in kept]
        values: dict[str, list[float]] = {part.kind: part(judged) for part in self.parts}
        for place, i in enumerate(kept):
            found = {kind: of_kind[place] for kind, of_kind in values.items()}
            total = math.fsum(part.weight * found[part.kind] for part in self.parts)
            scored[i] = Scored(total, found, judged[place].verdicts)
        return scored


def _dropped(sample: Sample, ran: Mapping[verdicts.Key, verdicts.Ran]) -> str | None:
    if sample.finish == "cancelled":
        return "cancelled"
    return ran[sample.problem, sample.program].lost


def check_group(group: Sequence[Sample], problems: Mapping[str, GradedProblem]) -> None:
    """Raises TaskError unless these are samples of one known problem (or none at all)."""
    ids = {sample.problem for sample in group}
    if len(ids) > 1:
        raise TaskError(
            f"a group of {len(ids)} problems ({', '.join(sorted(ids)[:2])}, ...), expected 1"
        )
    if unknown := ids - problems.keys():
        raise TaskError(
            f"samples of {unknown.pop()!r}, which is not among {len(problems)} problems"
        )


def means(scored: Iterable[Scored]) -> dict[str, float]:
    """Figures for a log: the share of samples ``dropped``; of the others, where there are any, the mean
    ``reward`` and ``reward/PART`` and the shares that pass all tests (``pass_rate``) and that have one
    in ``timeout``."""
    found = list(scored)
    kept = [one for one in found if one.total is not None]
    figures = {"dropped": 1 - len(kept) / len(found)} if found else {}
    if kept:
        figures["reward"] = fmean(one.total for one in kept if one.total is not None)
        figures |= {
            f"reward/{kind}": fmean(one.parts[kind] for one in kept) for kind in kept[0].parts
        }
        figures["pass_rate"] = fmean(set(one.verdicts) == {"passed"} for one in kept)
        figures["timeout"] = fmean("timeout" in one.verdicts for one in kept)
    return figures
