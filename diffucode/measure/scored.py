"""Samples of a benchmark to verdicts to pass@k, base and plus.

    samples.jsonl ──> complete? ──> sandbox, EvalPlus' rules (strict) ──> samples.results.jsonl ──> figures
                                └─> EvalPlus' own evaluator (official) ─────────────┘      disagreements

The strict scorer keeps the oracle outside and calls an infrastructure failure by its name. The official
one is what a published figure is compared with, its defects included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffucode.errors import TaskError
from diffucode.execution.checks import Report
from diffucode.execution.evalplus import score
from diffucode.execution.sandbox import Sandbox
from diffucode.files import to_jsonl, write_atomic
from diffucode.measure.benchmarks import Benchmark
from diffucode.measure.official import isolation, official
from diffucode.measure.submission import complete_samples, read_samples
from diffucode.measure.verdict import Verdict
from diffucode.metrics.passk import Estimate, clustered_share, pass_at_k
from diffucode.progress import Progress, silent
from diffucode.tasks.forms import family_of

Half = Literal["base", "plus"]
HALVES: tuple[Half, ...] = ("base", "plus")
"""Passing ``plus`` is passing both, as in EvalPlus."""


def results_of(samples: Path) -> Path:
    """Where the verdicts of a samples file are written."""
    return samples.with_name(samples.name.removesuffix(".jsonl") + ".results.jsonl")


def strict(
    sandbox: Sandbox,
    benchmark: Benchmark,
    programs: Mapping[str, Sequence[str]],
    cache: Path,
    progress: Progress = silent,
) -> list[Verdict]:
    """Our verdicts, in the order of the tasks and their samples; equal programs of a task run once."""
    problems = [one for one in benchmark.problems() if one.id in programs]
    once = {task: list(dict.fromkeys(found)) for task, found in programs.items()}
    total, found = sum(map(len, once.values())), dict[tuple[str, str], Verdict]()
    for done, one in enumerate(score(sandbox, problems, once, cache), start=1):
        base = _passed(one.base)
        both = base if one.plus is None else _both(base, _passed(one.plus))
        why = _why(one.base) or (_why(one.plus) if one.plus else "")
        program = once[one.id][one.sample]
        found[one.id, program] = Verdict(one.id, one.sample, base, both, why)
        progress("scored", done, total)
    return [
        Verdict(task, n, of.base, of.plus, of.why)
        for task, samples in programs.items()
        for n, program in enumerate(samples)
        for of in (found[task, program],)
    ]


def _passed(report: Report) -> bool | None:
    return None if report.infrastructure is not None else report.passed


def _both(base: bool | None, plus: bool | None) -> bool | None:
    """False is certain as soon as one of them failed."""
    if base is False or plus is False:
        return False
    return None if base is None or plus is None else True


def _why(report: Report) -> str:
    if report.infrastructure is not None:
        return f"infrastructure: {report.infrastructure}"
    return next((verdict for verdict in report.verdicts if verdict != "passed"), "")


@dataclass(frozen=True)
class Figures:
    """pass@k of one scorer on one half of the tests."""

    passed: Mapping[int, Estimate | None]
    """By k, with the interval over resampled tasks (minicode: signatures). It rests on the tasks of which k
    samples have a verdict, as many as its ``n`` says; None where there is none."""
    solved: int
    """Tasks with at least one sample that passes."""
    unknown: int
    """Samples without a verdict, which are left out; their tasks count with the others."""

    def to_json(self) -> dict[str, Any]:
        named = {f"pass@{k}": one and one.to_json() for k, one in self.passed.items()}
        return named | {"solved": self.solved, "unknown": self.unknown}


def figures(
    verdicts: Sequence[Verdict], benchmark: Benchmark, half: Half, ks: Sequence[int], seed: int = 0
) -> Figures:
    """pass@k on base or plus; infrastructure failures are no failures of a program."""
    of: dict[str, list[bool]] = {}
    unknown = 0
    for one in verdicts:
        value = getattr(one, half)
        if value is None:
            unknown += 1
        else:
            of.setdefault(one.task, []).append(value)
    passed: dict[int, Estimate | None] = {}
    for k in ks:
        known = {task: values for task, values in of.items() if len(values) >= k}
        shares = [pass_at_k(len(values), sum(values), k) for values in known.values()]
        clusters = [benchmark.cluster[task] for task in known]
        passed[k] = clustered_share(shares, clusters, seed) if known else None
    return Figures(passed, sum(any(values) for values in of.values()), unknown)


@dataclass(frozen=True)
class Scored:
    """All that ``diffucode score`` says."""

    benchmark: dict[str, str | int]
    tasks: int
    """With samples."""
    samples: int
    figures: dict[str, dict[Half, Figures]]
    """By scorer (``strict``, ``evalplus``) and tests."""
    apart: list[tuple[Verdict, Verdict]]
    """Samples that the scorers judge differently: ours, EvalPlus'."""
    isolation: dict[str, str]
    """What each scorer ran generated code under."""
    seconds: dict[str, float]
    """Wall clock of each scorer, references that were not known yet included."""

    def to_json(self) -> dict[str, Any]:
        """``base`` and ``plus`` of the first scorer stand at the top."""
        named: dict[str, dict[str, Any]] = {
            scorer: {str(half): one.to_json() for half, one in halves.items()}
            for scorer, halves in self.figures.items()
        }
        return {
            **self.benchmark,
            "scored_tasks": self.tasks,
            "samples": self.samples,
            **next(iter(named.values())),
            "scorers": named,
            "isolation": self.isolation,
            "seconds": self.seconds,
            "disagreements": [
                {"strict": ours.to_json(), "evalplus": theirs.to_json()}
                for ours, theirs in self.apart
            ],
        }


def scored(
    samples: Path,
    benchmark: Benchmark,
    *,
    scorer: Literal["strict", "evalplus", "both"] = "strict",
    ks: Sequence[int] | None = None,
    partial: bool = False,
    cache: Path,
    seed: int = 0,
    allow_unsafe: bool = False,
    progress: Progress = silent,
) -> Scored:
    """Score samples, and write the verdicts of the first scorer beside them (``results_of``).

    ``ks``: 1, and the samples of a task, where nothing is said. ``allow_unsafe`` lets EvalPlus' evaluator run
    without isolation where there is none. Raises TaskError for samples that are not complete, and for a k
    that they cannot tell.
    """
    prompts = {task.id: task.prompt for task in benchmark.tasks}
    programs = complete_samples(
        list(read_samples(samples, prompts)), benchmark, str(samples), partial=partial
    )
    many = min(map(len, programs.values()))
    asked = sorted({1, many} if ks is None else set(ks))
    if max(asked) > many:
        raise TaskError(
            f"{samples}: pass@{max(asked)} of {many} samples a task; ask for a smaller k"
        )
    verdicts: dict[str, list[Verdict]] = {}
    under: dict[str, str] = {}
    seconds: dict[str, float] = {}
    if scorer != "evalplus":
        with _timed(seconds, "strict"), Sandbox(tier="strongest") as sandbox:
            under["strict"] = sandbox.tier
            answers = cache / "answers"
            verdicts["strict"] = strict(sandbox, benchmark, programs, answers, progress)
    if scorer != "strict":
        under["evalplus"] = isolation()
        progress("EvalPlus' evaluator", 0, 1)
        with _timed(seconds, "evalplus"):
            rows = [row for row in benchmark.rows() if row["task_id"] in programs]
            family = family_of(rows[0]["task_id"])
            verdicts["evalplus"] = official(
                rows,
                programs,
                family="mbpp" if family == "mbpp" else "humaneval",
                cache=cache / "official",
                allow_unsafe=allow_unsafe,
            )
        progress("EvalPlus' evaluator", 1, 1)
    first = next(iter(verdicts.values()))
    write_atomic(results_of(samples), to_jsonl(one.to_json() for one in first))
    return Scored(
        benchmark=benchmark.to_json(),
        tasks=len(programs),
        samples=len(first),
        figures={
            name: {half: figures(found, benchmark, half, asked, seed) for half in HALVES}
            for name, found in verdicts.items()
        },
        apart=disagreements(*verdicts.values()) if len(verdicts) == 2 else [],
        isolation=under,
        seconds=seconds,
    )


@contextmanager
def _timed(seconds: dict[str, float], scorer: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[scorer] = time.perf_counter() - start


def disagreements(
    one: Sequence[Verdict], other: Sequence[Verdict]
) -> list[tuple[Verdict, Verdict]]:
    """The samples of which two scorers say different things, on base or plus."""
    return [
        (a, b)
        for a, b in zip(one, other, strict=True)
        if None not in (a.base, a.plus, b.base, b.plus) and (a.base, a.plus) != (b.base, b.plus)
    ]
