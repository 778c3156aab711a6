"""The plan of a study: which arms, which seeds, what is measured and what is compared with what.

    arms x seeds ──> jobs            choices: arms x grid x seeds ──> jobs on ``dev``, whose best is taken

A plan is committed before its runs. A job is named by its arm and seed, so a longer list of seeds extends a
study, and one arm's change leaves the others' jobs as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from omegaconf import OmegaConf

from diffucode.errors import ConfigError

Role = Literal["base", "primary", "exploratory", "control"]

NAME = re.compile(r"[a-z][a-z0-9_]*")
PREVIOUS, PROBLEMS = "<previous>", "<problems>"
"""In overrides: the folder of the stage before, and that of problems and their tests."""


@dataclass(frozen=True)
class Stage:
    """A training script and its settings. Its ``output_dir`` and ``seed`` are the job's."""

    script: str
    config: str
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.script).stem


@dataclass(frozen=True)
class AsItIs:
    """No training: what the others are compared with."""

    model: str
    kind: Literal["as_it_is"] = "as_it_is"


@dataclass(frozen=True)
class Trained:
    """Stages one after the other; the last one leaves ``model/``."""

    stages: tuple[Stage, ...]
    kind: Literal["trained"] = "trained"

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("stages: expected one or more")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"stages {', '.join(names)}: each script once, folders bear their names"
            )


@dataclass(frozen=True)
class Voting:
    """No training: the majority of many samples of a model, by what they do on inputs of no test."""

    model: str
    samples: int = 16
    temperature: float = 1.0
    kind: Literal["voting"] = "voting"

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.temperature > 0:
            raise ConfigError(
                f"samples {self.samples}, temperature {self.temperature}: expected 1 or more samples that "
                "differ, at a temperature over 0"
            )


@dataclass(frozen=True)
class Arm:
    """A way to get a model."""

    name: str
    role: Role
    how: AsItIs | Trained | Voting
    base: str | None = None
    """The arm whose model it starts from. None: of a base itself."""
    text: str = ""
    """A line for the report."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"arm {self.name!r}: expected a name of small letters, digits and _")
        if (self.role == "base") != isinstance(self.how, AsItIs) or (self.role == "base") != (
            self.base is None
        ):
            raise ConfigError(
                f"arm {self.name!r}: a base is a model as it is and has no base; every other arm has one "
                "and is trained or votes"
            )


@dataclass(frozen=True)
class Evaluation:
    """What is measured of every model."""

    seed: int = 4
    """Of the problems; their noise at temperature 1 is keyed by it, too."""
    problems: int = 500
    """Of ``test``, at temperature 0: one set for all."""
    paces: tuple[int, ...] = (1, 2, 4)
    """Divisors of the canvas L: L, L/2, L/4 steps in the usual blocks, besides the usual pace. Of AR models
    there is one pace."""
    sampled: int = 50
    """Of these problems, at temperature 1 and the usual pace; 0: none."""
    samples: int = 64

    def __post_init__(self) -> None:
        if self.problems < 1 or self.samples < 1 or not 0 <= self.sampled <= self.problems:
            raise ConfigError(
                f"problems {self.problems}, sampled {self.sampled}, samples {self.samples}: expected at "
                "least 1 problem and sample, and no more sampled problems than there are"
            )
        if any(part < 1 for part in self.paces):
            raise ConfigError(
                f"paces {list(self.paces)}: expected divisors of the canvas, 1 or more"
            )


@dataclass(frozen=True)
class Comparison:
    """One of the family that Holm's correction is over."""

    arm: str
    against: str


@dataclass(frozen=True)
class Choices:
    """A grid, the same for every arm in it; the point with the best mean on ``dev`` is taken, of equal ones
    the first. Its measure is pass@1 at the usual pace."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    grid: tuple[tuple[str, ...], ...]
    """Overrides of an arm's first stage, point by point."""
    problems: int = 300
    """Of ``dev``."""
    followers: dict[str, str] = field(default_factory=dict)
    """Other arms, and whose choice they take over."""

    def __post_init__(self) -> None:
        if not (self.arms and self.seeds and self.grid) or self.problems < 1:
            raise ConfigError("choices: expected arms, seeds, points of the grid and problems")


@dataclass(frozen=True)
class Study:
    """Everything that is decided before the runs."""

    arms: tuple[Arm, ...]
    seeds: dict[Role, tuple[int, ...]]
    """Of the jobs of each role; a base is measured once."""
    comparisons: tuple[Comparison, ...] = ()
    pace: str = "usual"
    """Where the comparisons are made: ``usual``, or a divisor of the canvas such as ``L/2``."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    choices: Choices | None = None
    collapse: float = 0.5
    """A run is called collapsed below this share of its base's pass@1. It is counted like any other."""
    resamples: int = 2000
    seed: int = 0
    """Of the resampling."""
    minutes: float = 30.0
    """Of a job on one core, until one has been timed."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ConfigError(f"arms {', '.join(names)}: expected each name once")
        bases = {arm.name for arm in self.arms if arm.role == "base"}
        for arm in self.arms:
            if arm.base is not None and arm.base not in bases:
                raise ConfigError(f"arm {arm.name!r}: its base {arm.base!r} is no arm of role base")
            if arm.role != "base" and not self.seeds.get(arm.role):
                raise ConfigError(f"seeds.{arm.role}: none are given, and {arm.name!r} needs some")
        asked = [(one.arm, one.against) for one in self.comparisons]
        chosen = [] if self.choices is None else [*self.choices.arms, *self.choices.followers]
        for name in [*(name for pair in asked for name in pair), *chosen]:
            if name not in names:
                raise ConfigError(f"{name!r} is compared or chosen for, and is none of {names}")
        if self.choices is not None:
            trained = {arm.name for arm in self.arms if isinstance(arm.how, Trained)}
            for name in [*self.choices.arms, *self.choices.followers.values()]:
                if name not in self.choices.arms or name not in trained:
                    raise ConfigError(f"choices: {name!r} is not trained, or not among its arms")
        if self.pace not in self.paces:
            raise ConfigError(f"pace {self.pace!r}: expected one of {', '.join(self.paces)}")

    @property
    def paces(self) -> tuple[str, ...]:
        """Their names, the usual one first."""
        return ("usual", *(pace_name(part) for part in self.evaluation.paces))

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def base_of(self, arm: Arm) -> Arm:
        return arm if arm.base is None else self.arm(arm.base)


def pace_name(part: int) -> str:
    return "L" if part == 1 else f"L/{part}"


class Job(NamedTuple):
    """An arm and a seed; with a point, one of the grid that is chosen from."""

    arm: Arm
    seed: int
    point: int | None = None

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.seed}" + ("" if self.point is None else f"-grid{self.point}")


def jobs(study: Study) -> list[Job]:
    """The measured ones: bases first, then roles in the order of the plan, seed by seed."""
    bases = [Job(arm, 0) for arm in study.arms if arm.role == "base"]
    seeds = {arm.name: study.seeds.get(arm.role, ()) for arm in study.arms}
    trained = [
        Job(arm, seed)
        for role in dict.fromkeys(arm.role for arm in study.arms if arm.role != "base")
        for seed in study.seeds[role]
        for arm in study.arms
        if arm.role == role and seed in seeds[arm.name]
    ]
    return bases + trained


def grid_jobs(study: Study) -> list[Job]:
    """Those that are chosen from."""
    if (choices := study.choices) is None:
        return []
    points = range(len(choices.grid))
    return [
        Job(study.arm(name), seed, point)
        for seed in choices.seeds
        for point in points
        for name in choices.arms
    ]


def selected(
    study: Study, found: Sequence[Job], only: Sequence[str], seeds: Sequence[int]
) -> list[Job]:
    """The jobs of these arms and seeds; of all where none are named. A base has no seed to name.

    Raises ConfigError for the name of no arm.
    """
    known = [arm.name for arm in study.arms]
    if strange := [name for name in only if name not in known]:
        raise ConfigError(f"--only {strange[0]}: expected one of {', '.join(known)}")
    return [
        job
        for job in found
        if (not only or job.arm.name in only)
        and (not seeds or job.seed in seeds or job.arm.role == "base")
    ]


def settings_of(stage: Stage, root: Path) -> dict[str, Any]:
    """What the stage's config file says before overrides. Raises ConfigError where it cannot be read."""
    try:
        found = OmegaConf.to_container(OmegaConf.load(root / stage.config))
    except OSError as error:
        raise ConfigError(
            f"{stage.config}: cannot read the config file ({error.strerror})"
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(f"{stage.config}: expected settings, got {type(found).__name__}")
    return {str(key): value for key, value in found.items()}
