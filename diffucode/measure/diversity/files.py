"""Samples with their verdicts: a samples file and what ``diffucode score`` wrote beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from diffucode.errors import TaskError
from diffucode.files import read_jsonl
from diffucode.measure.scored import Half, results_of
from diffucode.measure.submission import read_samples
from diffucode.metrics.diversity.correct import Judged

Samples = Mapping[str, tuple[Judged, ...]]
"""By task, in the order of the file."""


def judged(samples: Path, half: Half, results: Path | None = None) -> Samples:
    """The samples of each task and whether they pass ``half`` of the tests.

    Raises TaskError where there are no verdicts, or not one for each sample in the same order.
    """
    written = list(read_samples(samples))
    file = results or results_of(samples)
    if not file.is_file():
        raise TaskError(
            f"{file}: no such file, and only programs that passed are counted; "
            f"diffucode score {samples} writes it"
        )
    verdicts = read_jsonl(file)
    if len(verdicts) != len(written):
        raise TaskError(
            f"{file}: verdicts of {len(verdicts)} samples, {samples} has {len(written)}; score it again"
        )
    seen: Counter[str] = Counter()
    found: dict[str, list[Judged]] = {}
    for line, ((task, program), row) in enumerate(zip(written, verdicts, strict=True), start=1):
        if (row.get("task_id"), row.get("sample")) != (task, seen[task]):
            raise TaskError(
                f"{file}, line {line}: expected a verdict of sample {seen[task]} of {task}, got "
                f"sample {row.get('sample')} of {row.get('task_id')}; score {samples} again"
            )
        passed = row.get(half)
        if passed is not None and not isinstance(passed, bool):
            raise TaskError(
                f"{file}, line {line}: {half} is {passed!r}, expected true, false or null"
            )
        seen[task] += 1
        found.setdefault(task, []).append(Judged(program, passed))
    if all(one.passed is None for each in found.values() for one in each):
        raise TaskError(f"{file}: no sample has a verdict on {half}; score {samples} again")
    return {task: tuple(each) for task, each in found.items()}
