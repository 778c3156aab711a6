"""One model, measured on minicode's problems, part by part; safe to kill at any moment.

    problems ──> completions ──> programs ──> sandbox ──> outcomes on disk ──> figures

Rows are kept by weights, generator, split, seed and settings, so what was measured before a kill is not
measured again, and more problems extend fewer. A failure of the sandbox leaves no row: the problem is
tried again by the next run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from diffucode.errors import ResumeError, SandboxError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import append_jsonl, read_jsonl
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.measure.entropy import fork_of
from diffucode.measure.judged import judge
from diffucode.measure.problems import Known, Problems, ids
from diffucode.measure.samples import complete, programs, written
from diffucode.measure.settings import Settings
from diffucode.metrics.forks import Fork, contrast
from diffucode.metrics.outcomes import Figures, Outcome, grouped, sampled, solved
from diffucode.models.load import Loaded, load
from diffucode.progress import Progress, silent

CAPACITY = 64
"""Rows of a batch. It changes no result."""
CHUNK = 512
"""Samples between two writes."""
CANVAS = 64
"""Answer positions of a model that names none."""

Part = Literal["greedy", "usual", "samples", "groups", "forks", "cost"]
"""``usual`` is ``greedy`` at the usual pace alone, and its figures stand in the same place."""


class Pace(NamedTuple):
    """How a diffusion model is decoded, as ``GenerateConfig`` says it; an AR model has one way, ``AR``."""

    schedule: str | None
    steps: int | None
    block_length: int | None
    """0: the whole canvas."""


AR = Pace(None, None, None)


@dataclass(frozen=True)
class Bench:
    """A model, and what is needed to measure it."""

    loaded: Loaded
    problems: Problems
    sandbox: Sandbox
    settings: Settings
    weights: str
    """Digest of the weights."""
    folder: Path
    """Of the rows, a JSONL file for each measurement."""
    progress: Progress = silent

    @classmethod
    def of(
        cls,
        model: Path,
        name: str,
        folder: Path,
        settings: Settings,
        sandbox: Sandbox,
        progress: Progress = silent,
    ) -> Bench:
        """The model in a folder (or GGUF file), under a name of ours; ``folder`` keeps problems and rows.

        Raises CheckpointError.
        """
        digest = hashlib.sha256()
        for file in [model] if model.is_file() else sorted(model.glob("*.safetensors")):
            digest.update(file.read_bytes())
        weights = digest.hexdigest()[:12]
        problems = Problems(folder, progress)
        rows = folder / "measured" / f"{Path(name).name}-{weights}-{problems.folder.name}"
        loaded = replace(load(model), name=name)
        return cls(loaded, problems, sandbox, settings, weights, rows, progress)

    @property
    def canvas(self) -> int:
        return self.loaded.usual.canvas or CANVAS

    @property
    def paces(self) -> tuple[Pace, ...]:
        """The usual one; L, L/2 and L/4 steps in the usual blocks; L/2 over the whole canvas."""
        if self.loaded.decoder == "ar":
            return (self.usual,)
        steps = [self.canvas // part for part in (1, 2, 4)]
        even = [Pace("quota", n, self.usual.block_length) for n in steps]
        return tuple(dict.fromkeys([self.usual, *even, Pace("quota", steps[1], 0)]))

    @property
    def slowest(self) -> Pace:
        """One commit a step, in the usual blocks."""
        usual = self.usual
        return usual if usual == AR else Pace("quota", self.canvas, usual.block_length)

    @property
    def usual(self) -> Pace:
        """How the model is meant to be decoded."""
        if self.loaded.decoder == "ar":
            return AR
        usual = self.loaded.usual
        block = usual.block_length or 0
        if usual.threshold is not None:
            return Pace(f"threshold:{usual.threshold:g}", None, block)
        return Pace("quota", usual.steps or self.canvas, block)

    # --- figures -------------------------------------------------------------------------------

    def measure(self, parts: Iterable[Part]) -> Figures:
        """The figures of these parts, from rows that are there and rows that are made now."""
        measures: dict[Part, Callable[[], Any]] = {
            "greedy": lambda: self.greedy(self.paces),
            "usual": lambda: self.greedy((self.usual,)),
            "samples": self.samples,
            "groups": self.groups,
            "forks": self.forks,
            "cost": self.cost,
        }
        return {
            "name": self.loaded.name,
            "weights": self.weights,
            "decoder": self.loaded.decoder,
            "parameters": self.loaded.parameters,
            "canvas": self.canvas,
            "pace": list(self.usual),
            "seeds": list(self.settings.seeds),
        } | {"greedy" if part == "usual" else part: measures[part]() for part in parts}

    def greedy(self, paces: Iterable[Pace]) -> list[Figures]:
        """Temperature 0: the test split at these paces, then the unseen operations at the usual one."""
        s = self.settings
        asked = [("test", s.problems, pace, s.seeds) for pace in paces]
        asked += [("ood", s.ood, self.usual, s.seeds[:1])] if s.ood else []
        return [
            self._described(split, n, pace, 0.0, seeds)
            | solved(self._pooled(split, n, pace, seeds), s.seed)
            for split, n, pace, seeds in asked
        ]

    def samples(self) -> list[Figures]:
        """pass@k on the dev split, for each temperature, at the usual pace."""
        s = self.settings
        found = []
        for tau in s.temperatures:
            outcomes = self.outcomes("dev", s.pass_problems, s.pass_samples, tau)
            described = self._described("dev", s.pass_problems, self.usual, tau)
            found.append(described | sampled(outcomes, s.pass_k, s.seed))
        return found

    def groups(self) -> Figures:
        """Groups as RL draws them: at temperature 1, at the usual pace."""
        s = self.settings
        outcomes = self.outcomes("rl", s.group_problems, s.group_samples, 1.0)
        return self._described("rl", s.group_problems, self.usual, 1.0) | grouped(outcomes, s.seed)

    def forks(self) -> Figures:
        """Raw entropy at the fork token of each problem, and at the other tokens of its reference."""
        n, seed = self.settings.fork_problems, self.settings.seed
        rows = self._kept(name := f"forks-test-seed{seed}")
        asked = ids("test", seed, n)
        missing = [index for index in range(n) if index not in rows]
        known = self.problems.get(asked[index] for index in missing)
        for done, (index, (problem, _)) in enumerate(zip(missing, known, strict=True), start=1):
            fork = fork_of(self.loaded, problem, self.canvas)
            at, others = (None, []) if fork is None else (fork.at, fork.others)
            row = {"id": problem.id, "signature": problem.signature, "fork": at, "others": others}
            rows[index] = {"index": index} | row
            self._keep(name, [rows[index]])
            self.progress(f"{self.loaded.name} forks", done, len(missing))
        kept = [rows[index] for index in range(n) if rows[index]["fork"] is not None]
        forks = [Fork(row["signature"], row["fork"], row["others"]) for row in kept]
        return {"split": "test", "problems": n} | contrast(forks, seed)

    def cost(self) -> Figures:
        """Core-seconds a sample of rollouts at temperature 1 that commit one position a step.

        As reinforcement learning draws them, in groups, whose samples are read as one row until they
        part; and with a prompt of its own for each row.
        """
        s = self.settings
        group = min(s.group_samples, s.cost_rows)
        rows = self._kept(name := f"cost-{s.cost_rows}-by{group}-seed{s.seed}")
        for index in range(s.cost_repeats):
            if index not in rows:
                rows[index] = {
                    "index": index,
                    "seconds": self._timed(s.cost_rows // group, group, index),
                    "apart": self._timed(s.cost_rows, 1, index),
                }
                self._keep(name, [rows[index]])
        runs = [rows[index] for index in range(s.cost_repeats)]
        return {
            "batch": min(s.cost_rows, CAPACITY),
            "group": group,
            **{way: median(run[way] for run in runs) for way in ("seconds", "apart")},
            "runs": runs,
        }

    def _timed(self, prompts: int, samples: int, seed: int) -> float:
        """Core-seconds a sample."""
        known = self.problems.get(ids("rl", self.settings.seed, prompts))
        start = time.process_time()
        self._completions(known, samples, 1.0, self.slowest, seed=seed)
        return (time.process_time() - start) / (prompts * samples)

    # --- rows ----------------------------------------------------------------------------------

    def outcomes(
        self,
        split: str,
        n: int,
        samples: int = 1,
        tau: float = 0.0,
        pace: Pace | None = None,
        seed: int | None = None,
    ) -> list[Outcome]:
        """Of each of the first ``n`` problems of a split under a seed (the first of the settings), in order;
        at the usual pace if none is named.

        Those that the sandbox failed on are left out; raises SandboxError where it failed on all.
        """
        seed, pace = self.settings.seed if seed is None else seed, pace or self.usual
        name = f"{split}-seed{seed}-{samples}x-tau{tau:g}"
        name = "-".join(
            [name, *(f"{value}".replace(":", "") for value in pace if value is not None)]
        )
        rows = self._kept(name)
        asked = ids(split, seed, n)
        missing = [index for index in range(n) if index not in rows]
        known = self.problems.get(asked[index] for index in missing)
        size = max(1, CHUNK // samples)
        for first in range(0, len(missing), size):
            title = f"{self.loaded.name} {name}"
            self.progress(title, n - len(missing) + first, n)
            chunk = known[first : first + size]
            done = self._completions(chunk, samples, tau, pace, seed)
            judged = judge(self.sandbox, chunk, programs(done))
            of = written(done, self.loaded.denoiser.terminator_ids)
            fresh = [
                {"index": index, **asdict(outcome), **of[outcome.id]}
                for index, outcome in zip(missing[first : first + size], judged, strict=True)
                if outcome is not None
            ]
            self._keep(name, fresh)
            rows |= {row["index"]: row for row in fresh}
            self.progress(title, n - len(missing) + first + len(chunk), n)
        if not rows:
            raise SandboxError(f"{name}: the sandbox could not check a single one of {n} problems")
        return [self._outcome(name, rows[index]) for index in range(n) if index in rows]

    def _pooled(self, split: str, n: int, pace: Pace, seeds: Iterable[int]) -> list[Outcome]:
        return [one for seed in seeds for one in self.outcomes(split, n, pace=pace, seed=seed)]

    def _completions(
        self,
        known: Sequence[Known],
        samples: int,
        tau: float,
        pace: Pace,
        seed: int,
    ) -> list[Completion]:
        config = GenerateConfig(
            samples=samples, temperature=tau, seed=seed, batch_size=CAPACITY, **pace._asdict()
        )
        return list(complete(self.loaded, [one.problem for one in known], config))

    def _kept(self, name: str) -> dict[int, dict[str, Any]]:
        return {row["index"]: row for row in read_jsonl(self.folder / f"{name}.jsonl")}

    def _keep(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        append_jsonl(self.folder / f"{name}.jsonl", rows)

    def _outcome(self, name: str, row: dict[str, Any]) -> Outcome:
        try:
            return Outcome(**{key: row[key] for key in row if key != "index"})
        except TypeError:
            file = self.folder / f"{name}.jsonl"
            raise ResumeError(f"{file}: a row of another form; delete it to measure anew") from None

    def _described(
        self, split: str, n: int, pace: Pace, tau: float, seeds: Sequence[int] | None = None
    ) -> Figures:
        asked = {"split": split, "asked": n, "temperature": tau, "pace": list(pace)}
        return asked | {"seeds": list(seeds or self.settings.seeds[:1])}
