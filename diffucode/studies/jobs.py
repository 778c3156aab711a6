"""Jobs of a study, run to their rows; safe to kill at any moment, and any number of processes share a folder.

    FOLDER/jobs/coupled-10/     run.json       what was asked for; another plan is refused
                                lock           held while a process works on it
                                coupled_grpo/  a stage's own run folder
                                measured/      outcomes, as they come
                                row.json       the job is finished

Training goes on from its last checkpoint, measuring from the outcomes that are there.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from diffucode import config as configs
from diffucode.errors import ConfigError, JobError, ModelOutputError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import read_jsonl
from diffucode.measure.claim import claimed
from diffucode.measure.problems import Problems, ids
from diffucode.models.load import find, load
from diffucode.progress import Progress, silent
from diffucode.runs import open_run
from diffucode.studies import rows as rows_of
from diffucode.studies.measured import chosen_on, open_bench, tested
from diffucode.studies.plan import (
    PREVIOUS,
    PROBLEMS,
    Arm,
    AsItIs,
    Job,
    Stage,
    Study,
    Trained,
    Voting,
    grid_jobs,
    settings_of,
)
from diffucode.studies.rows import Measured, Row, failed
from diffucode.studies.voting import vote

Launch = Callable[[Sequence[str], Path], int]
"""Runs a command below a folder; returns its exit code."""


@dataclass(frozen=True)
class Workshop:
    """Where a study is run, and with what."""

    study: Study
    folder: Path
    problems: Path
    """Keeps problems and their tests, for all jobs."""
    root: Path
    """Of the repository: scripts and configs."""
    sandbox: Sandbox
    launch: Launch
    progress: Progress = silent

    def of(self, job: Job) -> Path:
        return self.folder / "jobs" / job.name

    def row(self, job: Job) -> Row | None:
        return rows_of.read(self.of(job))

    def rows(self, jobs: Sequence[Job]) -> list[Row]:
        """Those that are finished."""
        return [row for job in jobs if (row := self.row(job)) is not None]


class Estimates(NamedTuple):
    """What a job takes, from those that are finished."""

    of_arm: Mapping[str, float]
    of_any: float

    @classmethod
    def of(cls, rows: Sequence[Row], guess: float) -> Estimates:
        """``guess``: minutes, until one has been timed."""
        timed: dict[str, list[float]] = {}
        for row in rows:
            timed.setdefault(row.arm, []).append(row.seconds / 60)
        return cls({name: fmean(minutes) for name, minutes in timed.items()}, guess)

    def minutes(self, arm: Arm) -> float:
        return self.of_arm.get(arm.name, self.of_any)


def launch(command: Sequence[str], root: Path) -> int:
    """``accelerate launch`` in one process, on the CPU, with one thread. It shares this process' claim."""
    full = [sys.executable, "-m", "accelerate.commands.launch"]
    full += ["--config_file", "configs/accelerate/cpu.yaml", *command]
    # glibc gives large blocks back to the system after every use unless told not to: 13 % of the time.
    keep = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"} | keep
    return subprocess.run(full, cwd=root, env=environment, close_fds=False).returncode


def run(shop: Workshop, jobs: Sequence[Job]) -> Iterator[Row]:
    """Run what is not finished and nobody else works on, one after the other; yields the new rows.

    Raises JobError for a stage that fails (the job is tried again next time, from its last checkpoint), and
    ResumeError for a folder whose job was asked for otherwise.
    """
    for job in jobs:
        with claimed(shop.of(job)) as mine:
            if mine and shop.row(job) is None:
                row = finish(shop, job)
                row.write(shop.of(job))
                yield row


def finish(shop: Workshop, job: Job) -> Row:
    """Everything of a job that is not done yet."""
    began = time.perf_counter()
    asked = {"arm": configs.dump(job.arm), "configs": _configs(shop, job), "more": more(shop, job)}
    folder = open_run(shop.of(job), asked, {"seed": job.seed}).folder
    how = job.arm.how
    if isinstance(how, Voting):
        return _voted(shop, job, how, folder, began)
    model: Path | None = find(how.model) if isinstance(how, AsItIs) else None
    collapsed, cost, curve = None, dict[str, float](), list[dict[str, Any]]()
    if isinstance(how, Trained):
        model, collapsed = trained(shop, job, how, folder)
        logs = [read_jsonl(folder / stage.name / "metrics.jsonl") for stage in how.stages]
        cost, curve = costs(logs), _curve(logs[-1])
    found: list[Measured] = []
    if model is not None and collapsed is None:
        try:
            found = _measured(shop, job, model, folder / "measured")
        except ModelOutputError as error:
            collapsed = f"the trained model's output is not a number ({error})"
    if collapsed is not None:
        found = _failures(shop, job)
    seconds = time.perf_counter() - began
    return Row(job.arm.name, job.seed, job.point, collapsed, seconds, cost, curve, found)


def more(shop: Workshop, job: Job) -> list[str]:
    """Overrides of the first stage that the arm does not have itself: the point, or the choice."""
    choices = shop.study.choices
    if choices is None:
        return []
    if job.point is not None:
        return list(choices.grid[job.point])
    name = choices.followers.get(job.arm.name, job.arm.name)
    return list(choices.grid[chosen(shop, name)]) if name in choices.arms else []


def chosen(shop: Workshop, name: str) -> int:
    """The best point of an arm. Raises ConfigError where a job of its grid is not finished."""
    missing = [
        job.name for job in grid_jobs(shop.study) if job.arm.name == name and shop.row(job) is None
    ]
    if missing:
        raise ConfigError(
            f"{name}: settings are chosen from jobs that are not finished ({missing[0]} and "
            f"{len(missing) - 1} more); run the choices first"
        )
    means = grid_means(shop.study, shop.rows(grid_jobs(shop.study)), name)
    return max(means, key=lambda point: (means[point], -point))


def grid_means(study: Study, rows: Sequence[Row], name: str) -> dict[int, float]:
    """pass@1 on ``dev`` of an arm's points, the mean over the seeds that are finished."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row.arm == name and row.point is not None:
            right = row.measured[0].columns["plus"]
            found.setdefault(row.point, []).append(sum(right) / len(right))
    return {point: sum(found[point]) / len(found[point]) for point in sorted(found)}


# --- training ----------------------------------------------------------------------------------


def trained(shop: Workshop, job: Job, how: Trained, folder: Path) -> tuple[Path | None, str | None]:
    """All stages; the model's folder, or why there is none."""
    previous = folder
    for number, stage in enumerate(how.stages):
        own = folder / stage.name
        extra = more(shop, job) if number == 0 else []
        words = command(stage, job.seed, own, extra, previous=previous, problems=shop.problems)
        code = shop.launch(words, shop.root)
        if code:
            if reason := not_a_number(read_jsonl(own / "metrics.jsonl")):
                return None, reason
            raise JobError(
                f"{job.name}: {stage.script} ended with code {code}; its own message is above, its folder "
                f"{own}; run the study again to go on"
            )
        previous = own
    model = previous / "model"
    if not model.is_dir():
        raise JobError(
            f"{job.name}: {how.stages[-1].script} left no {model}; is it a training script?"
        )
    return model, None


def command(
    stage: Stage, seed: int, own: Path, extra: Sequence[str], *, previous: Path, problems: Path
) -> list[str]:
    """The script with its settings; later overrides win."""
    places = {PREVIOUS: str(previous), PROBLEMS: str(problems)}
    words = [*stage.overrides, *extra, f"output_dir={own}", f"seed={seed}"]
    for mark, place in places.items():
        words = [word.replace(mark, place) for word in words]
    return [stage.script, "--config", stage.config, *words]


def not_a_number(log: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a training that failed had no weights left to go on with; None where that was not it."""
    empty: Mapping[str, Any] = {}
    last = next((row for row in reversed(log) if "loss" in row), empty)
    broken = [
        name
        for name in ("loss", "grad_norm")
        if name in last and (last[name] is None or not math.isfinite(last[name]))
    ]
    return f"{broken[0]} is not a number at step {last['step']}" if broken else None


def costs(logs: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """What the stages took together."""
    rows = [row for log in logs for row in log]

    def total(*names: str) -> float:
        return float(sum(row.get(name) or 0 for row in rows for name in names))

    return {
        "rollouts": total("rollouts"),
        "positions": total("rollout_positions", "forward_positions"),
    }


def _curve(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Evaluations of a log, with what it had cost by then."""
    found, before = [], list[Mapping[str, Any]]()
    for row in log:
        if "dev_pass" in row:
            scores = {name: value for name, value in row.items() if name.startswith("dev_")}
            found.append({"update": row["step"], **costs([before]), **scores})
        before.append(row)
    return found


def _configs(shop: Workshop, job: Job) -> list[dict[str, Any]]:
    """The settings in the files of the stages: a job belongs to these, too."""
    how = job.arm.how
    return [settings_of(s, shop.root) for s in how.stages] if isinstance(how, Trained) else []


# --- measuring ---------------------------------------------------------------------------------


def _measured(shop: Workshop, job: Job, model: Path, folder: Path) -> list[Measured]:
    evaluation = shop.study.evaluation
    bench = open_bench(
        model, job.name, folder, shop.problems, evaluation.seed, shop.sandbox, shop.progress
    )
    if job.point is not None:
        assert shop.study.choices is not None
        return chosen_on(bench, shop.study.choices.problems)
    return tested(bench, evaluation)


def _failures(shop: Workshop, job: Job) -> list[Measured]:
    """The outcomes of a run that left no model: it fails every problem that its base was asked."""
    base = shop.study.base_of(job.arm)
    assert isinstance(base.how, AsItIs)
    known = shop.row(Job(base, 0))
    if known is None or job.point is not None:
        alike = _measured(shop, job, find(base.how.model), shop.folder / "measured" / base.name)
    else:
        alike = known.measured
    return [failed(one, max(one.columns["n"])) for one in alike]


def _voted(shop: Workshop, job: Job, how: Voting, folder: Path, began: float) -> Row:
    evaluation = shop.study.evaluation
    problems = Problems(shop.problems, shop.progress)
    known = problems.get(ids("test", evaluation.seed, evaluation.problems))
    votes = vote(
        load(how.model),
        known,
        folder / "votes.jsonl",
        shop.sandbox,
        samples=how.samples,
        temperature=how.temperature,
        seed=job.seed,
        progress=shop.progress,
    )
    seconds = time.perf_counter() - began
    return Row(job.arm.name, job.seed, None, None, seconds, votes=votes)
