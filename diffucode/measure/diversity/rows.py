"""What is compared: each file at equal size, all files pooled, the reference solutions.

A pool of m files takes N/m samples of each task from each of them, so that it is as large as every other
row: of two files with 16 samples, the first 8 of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffucode.errors import TaskError
from diffucode.measure.diversity.files import Samples
from diffucode.metrics.diversity.correct import CorrectPrograms, Judged
from diffucode.tasks import minicode

POOL, REFERENCES = "all pooled", "references"


@dataclass(frozen=True)
class Row:
    """Programs of the same tasks."""

    name: str
    correct: Mapping[str, CorrectPrograms]
    """By task."""


@dataclass(frozen=True)
class Rows:
    """Rows of the same tasks, in their order."""

    files: tuple[Row, ...]
    pool: Row | None
    """None for one file, and where its samples would not go round."""
    references: Row | None
    n: int
    """Samples of a task in each file's row and in the pool."""
    tasks: tuple[str, ...]
    left_out: int
    """Tasks that only some of the files have."""

    @property
    def sampled(self) -> tuple[Row, ...]:
        """Files and pool."""
        return (*self.files, self.pool) if self.pool else self.files

    @property
    def every(self) -> tuple[Row, ...]:
        return (*self.sampled, self.references) if self.references else self.sampled


def rows(files: Mapping[str, Samples], references: Mapping[str, Sequence[Judged]]) -> Rows:
    """The rows of files by their names. ``references``: of tasks that have several.

    Raises TaskError where the files have no task in common.
    """
    known = [set(samples) for samples in files.values()]
    tasks = [task for task in next(iter(files.values())) if all(task in some for some in known)]
    if not tasks:
        raise TaskError(f"{', '.join(files)}: no task in common; are they of the same benchmark?")
    least = min(len(samples[task]) for samples in files.values() for task in tasks)
    share = least // len(files)
    n = share * len(files) or least
    cut = {
        name: Row(name, {t: CorrectPrograms(t, samples[t][:n]) for t in tasks})
        for name, samples in files.items()
    }
    pool = None
    if len(files) > 1 and share:
        pool = Row(POOL, {t: _pooled(t, [s[t][:share] for s in files.values()]) for t in tasks})
    given = {t: CorrectPrograms(t, references[t]) for t in tasks if t in references}
    return Rows(
        files=tuple(cut.values()),
        pool=pool,
        references=Row(REFERENCES, given) if given else None,
        n=n,
        tasks=tuple(tasks),
        left_out=len(set().union(*known)) - len(tasks),
    )


def _pooled(task: str, parts: Sequence[Sequence[Judged]]) -> CorrectPrograms:
    """Sample by sample from each in turn: the first few of the pool are of all files."""
    return CorrectPrograms(task, [one for turn in zip(*parts, strict=True) for one in turn])


def references_of(tasks: Sequence[str]) -> dict[str, list[Judged]]:
    """The generator's solutions of minicode's tasks, each once, with what it says of them."""
    found = {}
    for task in tasks:
        if task.startswith("minicode/"):
            problem = minicode.problem(task.replace("-", "/"))
            found[task] = [Judged(problem.prompt + r.body, r.correct) for r in problem.references]
    return found
