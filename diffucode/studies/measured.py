"""A model to the outcomes that a study keeps, through ``measure.bench``; what was measured before is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffucode.execution.sandbox import Sandbox
from diffucode.measure.bench import AR, Bench, Pace
from diffucode.measure.settings import Settings
from diffucode.progress import Progress
from diffucode.studies.plan import Evaluation, pace_name
from diffucode.studies.rows import Measured, columns


def open_bench(
    model: Path,
    name: str,
    folder: Path,
    problems: Path,
    seed: int,
    sandbox: Sandbox,
    progress: Progress,
) -> Bench:
    """A model whose rows lie in ``folder``, on problems that ``problems`` keeps for all jobs."""
    bench = Bench.of(model, name, problems, Settings(seeds=(seed,)), sandbox, progress)
    return replace(bench, folder=folder)


def paces(bench: Bench, evaluation: Evaluation) -> dict[str, Pace]:
    """By the names of ``Study.paces``; an AR model has the usual one alone."""
    if bench.usual == AR:
        return {"usual": AR}
    block = bench.usual.block_length
    steps = {pace_name(part): max(1, bench.canvas // part) for part in evaluation.paces}
    return {"usual": bench.usual} | {name: Pace("quota", n, block) for name, n in steps.items()}


def tested(bench: Bench, evaluation: Evaluation) -> list[Measured]:
    """Temperature 0 at every pace, then many samples of some of the problems, all of ``test``."""
    found = [
        Measured(name, "test", 0.0, columns(bench.outcomes("test", evaluation.problems, pace=pace)))
        for name, pace in paces(bench, evaluation).items()
    ]
    if evaluation.sampled:
        outcomes = bench.outcomes("test", evaluation.sampled, evaluation.samples, 1.0)
        found.append(Measured("usual", "test", 1.0, columns(outcomes)))
    return found


def chosen_on(bench: Bench, problems: int) -> list[Measured]:
    """What a point of the grid is judged by: ``dev`` at temperature 0 and the usual pace."""
    return [Measured("usual", "dev", 0.0, columns(bench.outcomes("dev", problems)))]
