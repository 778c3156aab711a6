"""The arm that votes: many samples of a model for each problem, labelled by what they do, in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffucode.errors import SandboxError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import append_jsonl, read_jsonl
from diffucode.generate.settings import GenerateConfig
from diffucode.measure.judged import Verdict, verdicts_of
from diffucode.measure.problems import Known
from diffucode.measure.samples import complete, programs
from diffucode.measure.vote import behaviours
from diffucode.models.load import Loaded
from diffucode.progress import Progress
from diffucode.studies.rows import Votes

CHUNK = 16
"""Problems between two writes."""
ROWS = 64
"""Of a batch. It changes no result."""


def vote(
    loaded: Loaded,
    problems: Sequence[Known],
    file: Path,
    sandbox: Sandbox,
    *,
    samples: int,
    temperature: float,
    seed: int,
    progress: Progress,
) -> Votes:
    """``samples`` of each problem, from rows in ``file`` and rows that are made now."""
    kept = {row["id"]: row for row in read_jsonl(file)}
    missing = [known for known in problems if known.problem.id not in kept]
    config = GenerateConfig(samples=samples, temperature=temperature, seed=seed, batch_size=ROWS)
    for first in range(0, len(missing), CHUNK):
        progress(f"{loaded.name} votes", len(problems) - len(missing) + first, len(problems))
        fresh = _chunk(loaded, missing[first : first + CHUNK], sandbox, config)
        append_jsonl(file, fresh)
        kept |= {row["id"]: row for row in fresh}
    progress(f"{loaded.name} votes", len(problems), len(problems))
    rows = [kept[known.problem.id] for known in problems]
    return Votes(
        [row["id"] for row in rows],
        [known.problem.signature for known in problems],
        [row["label"] for row in rows],
        [row["right"] for row in rows],
        sum(row["positions"] for row in rows),
    )


def _chunk(
    loaded: Loaded, known: Sequence[Known], sandbox: Sandbox, config: GenerateConfig
) -> list[dict[str, Any]]:
    done = list(complete(loaded, [one.problem for one in known], config))
    written = programs(done)
    positions = dict.fromkeys(written, 0)
    for sample in done:
        positions[sample.id] += sample.nfe * len(sample.trace.token)
    labels = behaviours(sandbox, known, written)
    right = verdicts_of(sandbox, known, written)
    if lost := [id for (id, _), verdict in right.items() if verdict is None]:
        raise SandboxError(f"{lost[0]}: the sandbox could not check a program; run it again")
    found = []
    for one in known:
        id = one.problem.id
        number = {label: n for n, label in enumerate(dict.fromkeys(labels[id]))}
        found.append(
            {
                "id": id,
                "label": [None if label is None else number[label] for label in labels[id]],
                "right": [_passes(right[id, program]) for program in written[id]],
                "positions": positions[id],
            }
        )
    return found


def _passes(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.plus
