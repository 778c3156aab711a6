"""What a small code model can do, measured on problems it has never seen.

::

    problems ──> prepare, stream (as ``diffucode generate``) ──> programs ──> sandbox ──> rows on disk
    rows ──> estimates with intervals over signatures

A row says of one problem what came of its samples. Rows are kept by weights, generator, split, seed and
settings, so what was measured before a kill is not measured again, and more problems extend fewer. An
infrastructure failure leaves no row: the problem is tried again by the next run.

Raw entropy is measured along the most frequent reference, position by position, the earlier text given and
everything behind it hidden: the same question to a diffusion model and an AR one, whatever their decoding
order. The *fork token* of a problem is the first at which two of its known references differ.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from mini_problems import Problems, ids
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.errors import ConfigError, PromptError, SandboxError
from diffucode.execution.checks import Submission, check
from diffucode.execution.sandbox import Sandbox
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import stream
from diffucode.metrics.passk import bootstrap, clustered, clustered_share, pass_at_k
from diffucode.models.load import Loaded, load
from diffucode.protocols import Positions
from diffucode.runs import read_jsonl, write_atomic
from diffucode.sampling.summary import softmax
from diffucode.tasks.extract import parses
from diffucode.tasks.problem import Problem
from diffucode.tasks.syntax import canonical

CAPACITY = 64
"""Rows of a batch. It changes no result."""
CHUNK = 512
"""Samples between two writes."""

ONLY = TaskID(0)
"""The task of a progress bar that has one."""

Row = dict[str, Any]

Part = Literal["greedy", "samples", "groups", "forks", "cost"]
PARTS: tuple[Part, ...] = ("greedy", "samples", "groups", "forks", "cost")


@dataclass(frozen=True)
class Settings:
    """How much is measured; the defaults are the card's."""

    folder: Path
    """Where rows and tests are kept."""
    seed: int = 1
    """Of the problems, of the noise and of the resampling."""
    problems: int = 1000
    """Of the test split, at temperature 0."""
    ood: int = 300
    """Of unseen operations, at temperature 0 and the usual pace."""
    pass_problems: int = 300
    """Of the dev split, for pass@k."""
    pass_samples: int = 64
    pass_k: int = 64
    temperatures: tuple[float, ...] = (0.6, 1.0, 1.4)
    group_problems: int = 200
    """Of the rl split, at temperature 1."""
    group_samples: int = 8
    fork_problems: int = 200
    """Of the test split."""
    cost_rows: int = 64
    """Rows of the batch that is timed."""
    cost_repeats: int = 3

    def __post_init__(self) -> None:
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.pass_k > self.pass_samples:
            raise ConfigError(
                f"pass_k={self.pass_k} of pass_samples={self.pass_samples}: k samples are drawn from "
                "those that there are; ask for a smaller k or more samples"
            )


COUNTS = ("problems", "pass_problems", "pass_k", "group_problems", "group_samples", "fork_problems")

QUICK = {
    "problems": 6,
    "ood": 2,
    "pass_problems": 2,
    "pass_samples": 4,
    "pass_k": 2,
    "temperatures": (1.0,),
    "group_problems": 3,
    "group_samples": 3,
    "fork_problems": 3,
    "cost_rows": 4,
    "cost_repeats": 1,
}
"""A trial of every part, in seconds; its figures mean nothing."""


class Store:
    """Rows by their index, a JSONL file for each kind; appended to as they come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, name: str) -> dict[int, Row]:
        return {row["index"]: row for row in read_jsonl(self._file(name))}

    def add(self, name: str, rows: Iterable[Row]) -> None:
        """Append rows, after removing a last line that a kill cut short."""
        file = self._file(name)
        if file.exists() and not file.read_bytes().endswith(b"\n"):
            write_atomic(file, "".join(json.dumps(row) + "\n" for row in read_jsonl(file)))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write("".join(json.dumps(row) + "\n" for row in rows))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"


@dataclass
class Bench:
    """One model, and what is needed to measure it."""

    loaded: Loaded
    settings: Settings
    problems: Problems
    sandbox: Sandbox
    digest: str
    """Of the weights."""
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        name = f"{Path(self.loaded.name).name}-{self.digest}-{self.problems.folder.name}"
        self.store = Store(self.settings.folder / "measured" / name)

    @classmethod
    def of(cls, folder: Path, name: str, settings: Settings, sandbox: Sandbox) -> Bench:
        """The model in ``folder``, under a name of ours. Raises CheckpointError."""
        torch.set_num_threads(1)
        digest = hashlib.sha256()
        for file in [folder] if folder.is_file() else sorted(folder.glob("*.safetensors")):
            digest.update(file.read_bytes())
        loaded = replace(load(folder), name=name)
        return cls(loaded, settings, Problems(settings.folder), sandbox, digest.hexdigest()[:12])

    @property
    def canvas(self) -> int:
        return self.loaded.canvas or 64

    @property
    def paces(self) -> tuple[int | None, ...]:
        """Steps to measure: L, L/2, L/4; None is the model's usual pace."""
        if self.loaded.decoder == "ar":
            return (None,)
        return tuple(self.canvas // part for part in (1, 2, 4))

    @property
    def usual(self) -> int | None:
        """Steps of the usual pace, said as a number where there is a choice."""
        return None if self.loaded.decoder == "ar" else self.loaded.steps

    def measure(self, parts: Iterable[Part]) -> dict[str, Any]:
        """The figures of these parts, from rows that are there and rows that are made now."""
        found: dict[str, Any] = {
            "name": self.loaded.name,
            "weights": self.digest,
            "decoder": self.loaded.decoder,
            "parameters": self.loaded.parameters,
            "canvas": self.canvas,
            "steps": self.usual or self.canvas,
            "seed": self.settings.seed,
        }
        for part in parts:
            found[part] = getattr(self, part)()
        return found

    # --- the parts -----------------------------------------------------------------------------

    def greedy(self) -> list[dict[str, Any]]:
        """Temperature 0: the test split at every pace, then the unseen operations."""
        asked = [("test", self.settings.problems, steps) for steps in self.paces]
        asked.append(("ood", self.settings.ood, self.usual))
        return [
            self._described(split, n, steps, 0.0)
            | solved(self.completed(split, n, 1, 0.0, steps), self.settings.seed)
            for split, n, steps in asked
            if n
        ]

    def samples(self) -> list[dict[str, Any]]:
        """pass@k on the dev split, for each temperature, at the usual pace."""
        s = self.settings
        return [
            self._described("dev", s.pass_problems, self.usual, tau)
            | passing(
                self.completed("dev", s.pass_problems, s.pass_samples, tau, self.usual),
                s.pass_k,
                s.seed,
            )
            for tau in s.temperatures
        ]

    def groups(self) -> list[dict[str, Any]]:
        """What RL would see: groups of samples at temperature 1, at the usual pace and one by one."""
        s = self.settings
        paces = dict.fromkeys((self.usual, self.paces[0]))
        return [
            self._described("rl", s.group_problems, steps, 1.0)
            | grouped(self.completed("rl", s.group_problems, s.group_samples, 1.0, steps), s.seed)
            for steps in paces
        ]

    def forks(self) -> dict[str, Any]:
        """Raw entropy at the fork token of each problem, and at the other tokens of its reference."""
        n, rows = self.settings.fork_problems, self.store.rows(name := f"forks-test-{self._seed}")
        asked = ids("test", self.settings.seed, n)
        self.problems.make(asked[index] for index in range(n) if index not in rows)
        with _bar(f"{self.loaded.name} forks", n) as progress:
            for index in range(n):
                if index not in rows:
                    (problem,) = self.problems.make([asked[index]])
                    rows[index] = {"index": index, **_about(problem), **self._forked(problem)}
                    self.store.add(name, [rows[index]])
                progress.update(ONLY, completed=index + 1)
        kept = [rows[index] for index in range(n) if rows[index]["fork"] is not None]
        return {"split": "test", "problems": n} | contrast(kept, self.settings.seed)

    def cost(self) -> dict[str, Any]:
        """Core-seconds a sample of rollouts at temperature 1 that commit one position a step."""
        s, rows = (
            self.settings,
            self.store.rows(name := f"cost-{self.settings.cost_rows}-{self._seed}"),
        )
        problems = self.problems.make(ids("rl", s.seed, s.cost_rows))
        for index in range(s.cost_repeats):
            if index not in rows:
                start = time.process_time()
                self._programs(problems, 1, 1.0, self.paces[0], index)
                seconds = (time.process_time() - start) / s.cost_rows
                rows[index] = {"index": index, "seconds": seconds}
                self.store.add(name, [rows[index]])
        runs = [rows[index]["seconds"] for index in range(s.cost_repeats)]
        return {"batch": min(s.cost_rows, CAPACITY), "seconds": median(runs), "runs": runs}

    # --- samples -------------------------------------------------------------------------------

    def completed(
        self, split: str, n: int, samples: int, temperature: float, steps: int | None
    ) -> list[Row]:
        """A row for each of the first ``n`` problems of a split, in order.

        Those that the sandbox failed on are left out; raises SandboxError where it failed on all.
        """
        seed = self.settings.seed
        pace = "usual" if steps is None else f"{steps}steps"
        name = f"{split}-{self._seed}-{samples}x-tau{temperature:g}-{pace}"
        rows = self.store.rows(name)
        asked = ids(split, seed, n)
        missing = [index for index in range(n) if index not in rows]
        self.problems.make(asked[index] for index in missing)
        size = max(1, CHUNK // samples)
        with _bar(f"{self.loaded.name} {name}", n) as progress:
            for first in range(0, len(missing), size):
                progress.update(ONLY, completed=n - len(missing) + first)
                chunk = missing[first : first + size]
                problems = self.problems.make(asked[index] for index in chunk)
                made = self._judged(
                    problems, self._programs(problems, samples, temperature, steps, seed)
                )
                fresh = [
                    {"index": index, **row} for index, row in zip(chunk, made, strict=True) if row
                ]
                self.store.add(name, fresh)
                rows.update({row["index"]: row for row in fresh})
            progress.update(ONLY, completed=n)
        if n and not rows:
            raise SandboxError(f"{name}: the sandbox could not check a single one of {n} problems")
        return [rows[index] for index in range(n) if index in rows]

    def _programs(
        self,
        problems: Sequence[Problem],
        samples: int,
        temperature: float,
        steps: int | None,
        seed: int,
    ) -> dict[str, list[str]]:
        """The programs of each problem, by its id, as ``diffucode generate`` would write them."""
        config = GenerateConfig(samples=samples, temperature=temperature, steps=steps, seed=seed)
        prompts = [Prompt(problem.id, problem.prompt) for problem in problems]
        prepared = prepare(self.loaded, prompts, config)
        for id, reason in prepared.refused:
            raise PromptError(f"{self.loaded.name}: {id}: {reason}; it cannot be measured on these")
        programs: dict[str, list[str]] = {problem.id: [] for problem in problems}
        for frame in stream(
            self.loaded, prepared.jobs(), decoder=self.loaded.decoder, capacity=CAPACITY
        ):
            for done in frame.completions:
                programs[done.id].append(done.program)
        return programs

    def _judged(
        self, problems: Sequence[Problem], programs: dict[str, list[str]]
    ) -> list[Row | None]:
        """A row a problem, without its index; None where the sandbox could not do its work."""
        verdicts = judge(self.sandbox, self.problems, problems, programs)
        return rows_of(problems, programs, verdicts)

    # --- entropy -------------------------------------------------------------------------------

    def _forked(self, problem: Problem) -> Row:
        """Entropies along the most frequent reference; no fork where all bodies are one."""
        tokenizer, end = self.loaded.tokenizer, self.loaded.denoiser.terminator_ids[0]
        prompt = tokenizer.encode(problem.prompt)
        bodies = [
            [*tokenizer.encode(r.body, add_special_tokens=False), end] for r in problem.references
        ]
        at = fork(bodies)
        if at is None or len(bodies[0]) > self.canvas:
            return {"fork": None, "others": []}
        entropy_J = self._along(prompt, bodies[0])
        return {"fork": entropy_J[at], "others": entropy_J[:at] + entropy_J[at + 1 :]}

    @torch.no_grad()
    def _along(self, prompt: list[int], body: list[int]) -> list[float]:
        """Raw entropy, in nats, at each position of a body, given all before it and nothing after."""
        denoiser, start = self.loaded.denoiser, len(prompt)
        columns = np.arange(start, start + len(body))
        width = start + (len(body) if denoiser.causal else self.canvas)
        tokens = [prompt + body + [0] * (width - start - len(body))] * len(body)
        canvas = Canvas.of(
            tokens,
            [[at >= column for at in range(width)] for column in columns.tolist()],
            [(0, 0)] * len(body),
            fill=self.loaded.denoiser.terminator_ids[0],
        )

        def readout(logits_nV: Tensor, where: slice) -> dict[str, Tensor]:
            return {"entropy": softmax(logits_nV, torch.ones(len(logits_nV))).entropy_n}

        ask = Positions.of(np.arange(len(body)), columns)
        return [float(x) for x in denoiser(canvas, ask, readout)["entropy"]]

    # --- names ---------------------------------------------------------------------------------

    @property
    def _seed(self) -> str:
        return f"seed{self.settings.seed}"

    def _described(self, split: str, n: int, steps: int | None, tau: float) -> dict[str, Any]:
        return {"split": split, "asked": n, "steps": steps or self.canvas, "temperature": tau}


def judge(
    sandbox: Sandbox,
    known: Problems,
    problems: Sequence[Problem],
    programs: dict[str, list[str]],
) -> dict[tuple[str, str], tuple[bool, bool] | None]:
    """By (problem's id, program): whether it passes ``reward``, and ``plus``.

    A program that is not valid Python passes nothing and is not run; None where the sandbox failed.
    """
    asked = [
        (problem, program)
        for problem in problems
        for program in dict.fromkeys(programs[problem.id])
    ]
    run = [(problem, program) for problem, program in asked if parses(program)]
    submissions = [
        Submission(program, problem.entry_point, cases)
        for problem, program in run
        for cases in (known[problem.id].tests.reward, known[problem.id].tests.plus)
    ]
    reports = check(sandbox, submissions, fail_fast=True)
    verdicts: dict[tuple[str, str], tuple[bool, bool] | None] = {
        (problem.id, program): (False, False) for problem, program in asked
    }
    for at, (problem, program) in enumerate(run):
        pair = reports[2 * at : 2 * at + 2]
        failed = any(report.infrastructure is not None for report in pair)
        verdicts[problem.id, program] = None if failed else (pair[0].passed, pair[1].passed)
    return verdicts


def rows_of(
    problems: Sequence[Problem],
    programs: dict[str, list[str]],
    verdicts: dict[tuple[str, str], tuple[bool, bool] | None],
) -> list[Row | None]:
    """A row a problem; None where a sample has no verdict."""
    return [_row(problem, programs[problem.id], verdicts) for problem in problems]


def _row(
    problem: Problem,
    programs: list[str],
    verdicts: dict[tuple[str, str], tuple[bool, bool] | None],
) -> Row | None:
    """Counts over the samples of one problem."""
    found = [verdicts[problem.id, program] for program in programs]
    known = [verdict for verdict in found if verdict is not None]
    if len(known) < len(found):
        return None
    right = [p for p, (_, plus) in zip(programs, known, strict=True) if plus]
    return {
        **_about(problem),
        "n": len(programs),
        "valid": sum(map(parses, programs)),
        "reward": sum(reward for reward, _ in known),
        "plus": len(right),
        "hollow": sum(reward and not plus for reward, plus in known),
        "distinct": len({canonical(p) for p in programs} - {None}),
        "distinct_right": len({canonical(p) for p in right}),
    }


def _about(problem: Problem) -> Row:
    return {
        "id": problem.id,
        "signature": problem.signature,
        "domain": problem.domain,
        "band": problem.band,
        "trap": problem.trap,
    }


def fork(bodies: Sequence[Sequence[int]]) -> int | None:
    """The first position at which two of the bodies differ; None where they do not.

    One of them must not begin another: end each with a token of its own.
    """
    for at, tokens in enumerate(zip(*bodies, strict=False)):
        if len(set(tokens)) > 1:
            return at
    return None


# --- rows to figures ---------------------------------------------------------------------------


def share(rows: Sequence[Row], key: str, seed: int) -> dict[str, Any] | None:
    """The mean share of a problem's samples that have a property, with its interval."""
    if not rows:
        return None
    signatures = [row["signature"] for row in rows]
    return clustered_share([row[key] / row["n"] for row in rows], signatures, seed).to_json()


def solved(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Solved problems, in all and by kind; each row holds one sample."""

    def by(key: str) -> dict[str, Any]:
        return {
            str(kind): share([row for row in rows if row[key] == kind], "plus", seed)
            for kind in sorted({row[key] for row in rows})
        }

    return {
        "scored": len(rows),
        "signatures": len({row["signature"] for row in rows}),
        "pass": share(rows, "plus", seed),
        "valid": share(rows, "valid", seed),
        "reward": share(rows, "reward", seed),
        "hollow": share([row for row in rows if row["reward"]], "hollow", seed),
        "bands": by("band"),
        "domains": by("domain"),
        "traps": share([row for row in rows if row["trap"]], "plus", seed),
        "others": share([row for row in rows if not row["trap"]], "plus", seed),
    }


def passing(rows: Sequence[Row], k: int, seed: int) -> dict[str, Any]:
    """pass@1 and pass@k over problems with several samples."""
    signatures = [row["signature"] for row in rows]
    at_k = [pass_at_k(row["n"], row["plus"], k) for row in rows]
    return {
        "scored": len(rows),
        "signatures": len(set(signatures)),
        "samples": min(row["n"] for row in rows),
        "k": k,
        "pass": share(rows, "plus", seed),
        "pass_k": clustered_share(at_k, signatures, seed).to_json(),
        "valid": share(rows, "valid", seed),
        "distinct": clustered([row["distinct"] for row in rows], signatures, seed).to_json(),
    }


def grouped(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """How much RL could learn from groups of samples.

    A group is mixed where some of its programs pass and some fail, by the tests that RL sees and by
    ``plus``; programs are distinct by their canonical syntax trees, invalid ones count for nothing.
    """
    signatures = [row["signature"] for row in rows]

    def mixed(key: str) -> dict[str, Any]:
        return clustered_share(
            [0 < row[key] < row["n"] for row in rows], signatures, seed
        ).to_json()

    return {
        "scored": len(rows),
        "signatures": len(set(signatures)),
        "samples": min(row["n"] for row in rows),
        "mixed": mixed("reward"),
        "mixed_plus": mixed("plus"),
        "pass": share(rows, "plus", seed),
        "valid": share(rows, "valid", seed),
        "distinct": clustered([row["distinct"] for row in rows], signatures, seed).to_json(),
        "distinct_right": clustered(
            [row["distinct_right"] for row in rows], signatures, seed
        ).to_json(),
    }


def contrast(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Median entropy at forks over the median at all other tokens."""
    if not rows:
        return {"forks": 0, "ratio": None}
    fork_P = np.array([row["fork"] for row in rows])
    others_P = [np.array(row["others"]) for row in rows]

    def ratio(index_N: NDArray[np.intp]) -> float:
        others = np.concatenate([others_P[index] for index in index_N])
        return float(np.median(fork_P[index_N]) / max(np.median(others), 1e-9))

    signatures = [row["signature"] for row in rows]
    return {
        "forks": len(rows),
        "signatures": len(set(signatures)),
        "fork_median": float(np.median(fork_P)),
        "fork_mean": float(fork_P.mean()),
        "other_median": float(np.median(np.concatenate(others_P))),
        "other_mean": float(np.concatenate(others_P).mean()),
        "ratio": bootstrap(ratio, signatures, seed).to_json(),
    }


def _bar(title: str, total: int) -> Progress:
    """A progress bar on stderr with one task, ``ONLY``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    progress.add_task(title, total=total)  # its id is ONLY
    return progress
