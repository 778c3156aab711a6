"""Votes across temperatures among samples: from files of samples, or drawn round by round from a model.

    NAME.jsonl           {"task_id", "solution"}, a line a sample
    NAME.details.jsonl   its temperatures and passes, line by line; without it the file is one pool
    NAME.results.jsonl   whether each is right; without it the sandbox checks them now

Labels are what programs return on inputs that stand in no test (``measure.vote``), so a vote knows no answer.
Such inputs are known of minicode's problems alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from diffucode.errors import TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import read_jsonl
from diffucode.measure.judged import verdicts_of
from diffucode.measure.problems import Known, Problems
from diffucode.measure.sweep.cells import Samples, draw
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.plan import Cell
from diffucode.measure.vote import behaviours
from diffucode.metrics.voting import Ballot, Election, Rule, elect


@dataclass(frozen=True)
class Poll:
    """The samples of a problem, pool by pool."""

    id: str
    programs: list[list[str]]
    labels: list[list[str | None]]
    right: list[list[bool]]
    cost: list[list[float]]
    """Passes of each sample, positions where they were drawn here, 1 where neither is known."""

    @property
    def ballot(self) -> Ballot:
        return Ballot(self.labels, self.right, self.cost)

    def chosen(self, election: Election) -> str:
        """The program that won; where none could be compared, the first one: every task has an answer."""
        cell, sample = election.winner or (0, 0)
        return self.programs[cell][sample]


class Sample(NamedTuple):
    """A line of a file of samples."""

    id: str
    pool: tuple[Any, ...]
    program: str
    right: bool | None
    """None: not scored."""
    passes: float


# --- from files --------------------------------------------------------------------------------


def from_files(
    files: Sequence[Path], problems: Problems, sandbox: Sandbox
) -> tuple[list[tuple[Any, ...]], list[Poll]]:
    """The pools, colder first, and a poll for each problem; a pool is a pair of temperatures.

    Raises TaskError on lines of another form, a problem that some pool has no sample of, and a task that
    is not minicode's.
    """
    samples = [one for file in files for one in read_samples(file)]
    pools = sorted({one.pool for one in samples}, key=lambda pool: (len(pool), pool))
    by_task: dict[str, list[list[Sample]]] = {}
    for one in samples:
        by_task.setdefault(one.id, [[] for _ in pools])[pools.index(one.pool)].append(one)
    for id, found in by_task.items():
        if missing := [pool for pool, each in zip(pools, found, strict=True) if not each]:
            raise TaskError(f"{id}: no samples at {_said(missing[0])}, which other tasks have")
    known = _known(problems, by_task)
    labels = behaviours(
        sandbox, known, {id: [one.program for one in _flat(found)] for id, found in by_task.items()}
    )
    right = _checked(known, by_task, sandbox)
    return pools, [_poll(id, found, labels[id], right) for id, found in by_task.items()]


def read_samples(file: Path) -> list[Sample]:
    """The samples of a file with what is known of them. Raises TaskError."""
    rows = read_jsonl(file)
    if not rows:
        raise TaskError(f"{file}: no samples in it, or no such file")
    details, results = (_beside(file, kind, len(rows)) for kind in ("details", "results"))
    found = []
    for number, (row, detail, result) in enumerate(zip(rows, details, results, strict=True), 1):
        id, program = row.get("task_id"), row.get("solution")
        if not isinstance(id, str) or not isinstance(program, str):
            raise TaskError(
                f"{file}, line {number}: expected an object with task_id and solution, got {str(row)[:80]}"
            )
        for name, other in (("details", detail), ("results", result)):
            if other and other.get("task_id") != id:
                raise TaskError(
                    f"{file}, line {number}: {id}, but {other.get('task_id')} in its {name}; write both anew"
                )
        pool = (
            (detail["temperature"], detail.get("order_temperature") or 0.0)
            if detail.get("temperature") is not None
            else (file.stem,)
        )
        passes = detail.get("nfe") or 1
        found.append(Sample(id, pool, program, result.get("plus"), float(passes)))
    return found


def _beside(file: Path, kind: str, many: int) -> list[dict[str, Any]]:
    """The lines of a file's companion, empty ones where there is none."""
    place = file.with_name(f"{file.stem}.{kind}.jsonl")
    rows = read_jsonl(place)
    if rows and len(rows) != many:
        raise TaskError(f"{place}: {len(rows)} lines for the {many} samples of {file.name}")
    return rows or [{} for _ in range(many)]


def _known(problems: Problems, tasks: Iterable[str]) -> list[Known]:
    try:
        return problems.get(tasks)
    except TaskError as error:
        raise TaskError(
            f"{error}; a vote needs inputs that stand in no test, and only minicode's problems have some"
        ) from None


def _checked(
    known: Sequence[Known], by_task: dict[str, list[list[Sample]]], sandbox: Sandbox
) -> dict[tuple[str, str], bool]:
    """Whether each program is right, from its line or from the sandbox."""
    unknown: dict[str, list[str]] = {}
    right: dict[tuple[str, str], bool] = {}
    for id, pools in by_task.items():
        for one in _flat(pools):
            if one.right is None:
                unknown.setdefault(id, []).append(one.program)
            else:
                right[id, one.program] = one.right
    asked = [one for one in known if one.problem.id in unknown]
    for key, verdict in verdicts_of(sandbox, asked, unknown).items():
        if verdict is None:
            raise TaskError(f"{key[0]}: the sandbox could not check a program; run it again")
        right[key] = verdict.plus
    return right


def _poll(
    id: str,
    pools: Sequence[Sequence[Sample]],
    labels: Sequence[Any],
    right: dict[tuple[str, str], bool],
) -> Poll:
    # Within a problem equal numbers suffice: its labels are compared with each other alone.
    number = {label: str(n) for n, label in enumerate(dict.fromkeys(labels))}
    rest = iter([None if label is None else number[label] for label in labels])
    return Poll(
        id,
        [[one.program for one in pool] for pool in pools],
        [[next(rest) for _ in pool] for pool in pools],
        [[right[id, one.program] for one in pool] for pool in pools],
        [[one.passes for one in pool] for pool in pools],
    )


def _flat(pools: Sequence[Sequence[Sample]]) -> list[Sample]:
    return [one for pool in pools for one in pool]


def _said(pool: tuple[Any, ...]) -> str:
    if len(pool) == 1:
        return str(pool[0])
    return f"temperature {pool[0]:g}, order temperature {pool[1]:g}"


# --- from a model ------------------------------------------------------------------------------


class Live(NamedTuple):
    """Votes that stopped drawing where the rule was satisfied."""

    cells: list[Cell]
    polls: list[Poll]
    elections: list[Election]
    drawn: int
    """Samples."""
    full: int
    """Samples without early exit."""
    used: float
    """Positions of the drawn ones."""
    whole: float
    """Positions without early exit: what was not drawn counts as the mean of its problem and cell."""


def live(grid: Grid, model: str, rule: Rule, sandbox: Sandbox) -> Live:
    """Draw a model's cells round by round, of problems that are not decided yet. Samples are kept as a
    sweep's are, so a vote that was stopped goes on.

    Raises SandboxError where a problem could not be checked.
    """
    sweep, known = grid.sweep, grid.known()
    loaded, weights = grid.open(model)
    cells = sweep.cells(model, loaded.decoder)
    open_ids = {one.problem.id for one in known}
    found: dict[str, tuple[list[Samples], Election]] = {}
    rounds = 0
    while open_ids:
        rounds += 1
        size = min(rule.drawn(rounds), sweep.samples)
        part = replace(sweep, samples=size, k=1)
        asked = [one for one in known if one.problem.id in open_ids]
        drawn = [
            draw(part, cell, loaded, asked, sandbox, grid.file(cell), weights=weights,
                 progress=grid.progress)
            for cell in cells
        ]  # fmt: skip
        for id in [one.problem.id for one in asked]:
            pools = [one.of([id], part.wanted(one.cell)) for one in drawn]
            if not all(pools):
                raise TaskError(
                    f"{id}: the sandbox could not check its programs; run the vote again"
                )
            samples = [pool[0] for pool in pools]
            election = elect([one.label for one in samples], rule)
            if election.easy or size == sweep.samples:
                found[id] = samples, election
                open_ids.discard(id)
    polls = [_drawn_poll(found[one.problem.id][0]) for one in known]
    elections = [found[one.problem.id][1] for one in known]
    whole = sum(
        sum(samples.positions) / samples.n * sweep.wanted(cell)
        for one in known
        for cell, samples in zip(cells, found[one.problem.id][0], strict=True)
    )
    return Live(
        cells,
        polls,
        elections,
        sum(sum(one.used_T) for one in elections),
        len(known) * sum(map(sweep.wanted, cells)),
        sum(sum(map(sum, one.cost)) for one in polls),
        whole,
    )


def _drawn_poll(samples: Sequence[Samples]) -> Poll:
    return Poll(
        samples[0].id,
        [one.program for one in samples],
        [one.label for one in samples],
        [one.right for one in samples],
        [[float(n) for n in one.positions] for one in samples],
    )
