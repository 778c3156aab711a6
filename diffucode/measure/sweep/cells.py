"""The samples of one cell on disk: a line for the cell, then a line for each block of samples of a problem.

    {"cell": {how it is decoded, and a digest of the weights}}
    {"id", "signature", "band", "first", columns...}      samples first, first + 1, ... of this problem

Sample n of a problem depends on (seed, problem, n) alone, so 16 samples are extended to 64 by the other 48,
and what a kill leaves is gone on from. Where the sandbox fails on a program its problem has no line: it is
tried again by the next run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffucode import config as configs
from diffucode.errors import ResumeError
from diffucode.execution.outputs import fingerprint
from diffucode.execution.sandbox import Sandbox
from diffucode.files import append_jsonl, read_jsonl
from diffucode.generate.stream import Completion
from diffucode.measure.judged import Verdict, verdicts_of
from diffucode.measure.problems import Known
from diffucode.measure.samples import complete, programs
from diffucode.measure.sweep.plan import Cell, Sweep
from diffucode.measure.vote import behaviours
from diffucode.metrics.arness import global_arness, local_arness, order_of
from diffucode.models.load import Loaded
from diffucode.progress import Progress, silent
from diffucode.tasks.syntax import canonical

CHUNK = 256
"""Samples between two writes."""
COLUMNS = (
    "program", "tree", "right", "label", "nfe", "positions", "tokens", "ended", "local", "leftmost",
)  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Samples of one problem, in order; a value each in every column."""

    id: str
    signature: str
    band: int
    program: list[str]
    tree: list[str | None]
    """Digest of the canonical syntax tree; None: not Python."""
    right: list[bool]
    """By the ``plus`` tests."""
    label: list[str | None]
    """What it does on inputs of no test (``measure.vote``); equal in all cells for programs that do the
    same. None: nothing that could be compared."""
    nfe: list[int]
    positions: list[int]
    """That went through the model: passes x row of a diffusion model, each once of an AR model with its
    cache."""
    tokens: list[int]
    """Effective ones: before the first terminator."""
    ended: list[bool]
    """Before the canvas was full."""
    local: list[float | None]
    """Local AR-ness@1 up to the terminator; None: nothing was written."""
    leftmost: list[float | None]
    """Global AR-ness@1."""
    core_seconds: float
    """Of this process, for all of them; the sandbox is not counted."""
    seconds: float

    @property
    def n(self) -> int:
        return len(self.right)

    @property
    def passed(self) -> int:
        return sum(self.right)

    def part(self, begin: int, end: int) -> Samples:
        """The samples from ``begin`` to before ``end``, with their share of the time."""
        columns = {name: getattr(self, name)[begin:end] for name in COLUMNS}
        share = len(columns["right"]) / max(1, self.n)
        times = {name: share * getattr(self, name) for name in ("core_seconds", "seconds")}
        return Samples(self.id, self.signature, self.band, **columns, **times)


@dataclass(frozen=True)
class Drawn:
    """A cell and the samples it has, by problem."""

    cell: Cell
    problems: Mapping[str, Samples]

    def of(self, ids: Iterable[str], n: int) -> list[Samples]:
        """The first ``n`` samples of those of the problems that have so many, in order."""
        found = (self.problems[id] for id in ids if id in self.problems)
        return [one.part(0, n) for one in found if one.n >= n]


def read(file: Path, cell: Cell) -> Drawn:
    """What the file of a cell holds; nothing where there is none. Raises ResumeError for another file."""
    _, rows = _rows(file)
    try:
        return Drawn(cell, {id: _joined(blocks) for id, blocks in _by_problem(rows).items()})
    except (KeyError, TypeError) as error:
        raise ResumeError(
            f"{file}: not the samples of a cell ({error}); delete it to draw anew"
        ) from None


def draw(
    sweep: Sweep,
    cell: Cell,
    loaded: Loaded,
    problems: Sequence[Known],
    sandbox: Sandbox,
    file: Path,
    *,
    weights: str,
    progress: Progress = silent,
) -> Drawn:
    """The samples of a cell that the plan wants, from the file and from the model.

    Raises ResumeError where the file was drawn from other weights, or decoded otherwise.
    """
    wanted = sweep.wanted(cell)
    _open(file, sweep, cell, weights)
    have = {id: one.n for id, one in read(file, cell).problems.items()}
    left = [known for known in problems if have.get(known.problem.id, 0) < wanted]
    done, total = len(problems) - len(left), len(problems)
    for first in sorted({have.get(known.problem.id, 0) for known in left}):
        part = [known for known in left if have.get(known.problem.id, 0) == first]
        size = max(1, CHUNK // (wanted - first))
        for at in range(0, len(part), size):
            progress(cell.name, done, total)
            chunk = part[at : at + size]
            append_jsonl(file, _chunk(sweep, cell, loaded, chunk, sandbox, first))
            done += len(chunk)
    progress(cell.name, total, total)
    return read(file, cell)


def weights_of(model: Path) -> str:
    """Digest of a model's weights."""
    digest = hashlib.sha256()
    for part in [model] if model.is_file() else sorted(model.glob("*.safetensors")):
        with part.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:12]


# --- one chunk ---------------------------------------------------------------------------------


def _chunk(
    sweep: Sweep,
    cell: Cell,
    loaded: Loaded,
    chunk: Sequence[Known],
    sandbox: Sandbox,
    first: int,
) -> list[dict[str, Any]]:
    config = sweep.config(cell, sweep.wanted(cell))
    asked = [known.problem for known in chunk]
    core, wall = time.process_time(), time.perf_counter()
    done = list(complete(loaded, asked, config, first=first))
    core, wall = time.process_time() - core, time.perf_counter() - wall
    written = programs(done)
    verdicts = verdicts_of(sandbox, chunk, written)
    checked = [
        known
        for known in chunk
        if all(
            verdicts[known.problem.id, program] is not None for program in written[known.problem.id]
        )
    ]
    labels = behaviours(sandbox, checked, written)
    by_problem: dict[str, list[Completion]] = {}
    for completion in sorted(done, key=lambda one: one.sample):
        by_problem.setdefault(completion.id, []).append(completion)
    rows = []
    for problem, _ in checked:
        id = problem.id
        rows.append(
            {
                "id": id,
                "signature": problem.signature,
                "band": problem.band,
                "first": first,
                "core_seconds": core / len(chunk),
                "seconds": wall / len(chunk),
                "program": written[id],
                "tree": list(map(_tree, written[id])),
                "right": [_passes(verdicts[id, program]) for program in written[id]],
                "label": [None if label is None else fingerprint(label) for label in labels[id]],
            }
            | _written(by_problem[id], cell, loaded.denoiser.terminator_ids)
        )
    return rows


def _passes(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.plus


def _tree(program: str) -> str | None:
    found = canonical(program)
    return None if found is None else hashlib.sha256(found.encode()).hexdigest()[:12]


def _written(
    done: Sequence[Completion], cell: Cell, terminators: Sequence[int]
) -> dict[str, list[Any]]:
    orders = [order_of(one.trace, terminators) for one in done]
    return {
        "nfe": [one.nfe for one in done],
        "positions": [_positions(one, cell) for one in done],
        "tokens": [one.effective_tokens for one in done],
        "ended": [one.finish in ("terminator", "stop") for one in done],
        "local": [local_arness(order) if len(order) else None for order in orders],
        "leftmost": [global_arness(order) if len(order) else None for order in orders],
    }


def _positions(done: Completion, cell: Cell) -> int:
    if cell.decoder == "ar":
        return done.trace.start + done.nfe - 1  # the last token is not read any more
    return done.nfe * len(done.trace.token)


# --- the file ----------------------------------------------------------------------------------


def _open(file: Path, sweep: Sweep, cell: Cell, weights: str) -> None:
    """Begin the file of a cell, or make sure that it is of this one."""
    unsaid = dict.fromkeys(("model", "device", "samples", "batch_size"))  # they change no sample
    asked = configs.dump(sweep.config(cell, 1)) | unsaid | {"weights": weights}
    head, rows = _rows(file)
    if head is None and not rows:
        append_jsonl(file, [{"cell": asked}])
    elif head != asked:
        names = [name for name in asked if head is None or head.get(name) != asked[name]]
        raise ResumeError(
            f"{file}: drawn with another {', '.join(names)}; choose another folder, or delete the file"
        )


def _rows(file: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The line of the cell, and those of its samples."""
    rows = read_jsonl(file)
    if not rows:
        return None, []
    head = rows[0].get("cell")
    return (head, rows[1:]) if isinstance(head, dict) else (None, rows)


def _by_problem(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row)
    return found


def _joined(blocks: Sequence[dict[str, Any]]) -> Samples:
    """Blocks one behind the other; one that begins elsewhere is of another run's overlap and left out."""
    columns: dict[str, Any] = {name: [] for name in COLUMNS}
    times: dict[str, Any] = dict.fromkeys(("core_seconds", "seconds"), 0.0)
    for block in sorted(blocks, key=lambda block: int(block["first"])):
        if block["first"] == len(columns["right"]):
            for name in COLUMNS:
                columns[name] += block[name]
            for name in times:
                times[name] += block[name]
    one = blocks[0]
    return Samples(one["id"], one["signature"], one["band"], **columns, **times)
