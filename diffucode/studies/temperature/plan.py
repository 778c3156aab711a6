"""The plan of the temperature study: written before its runs, with the rule by which cells are chosen.

choices   every cell on ``dev``                      deep   the cells that the rule picks from ``dev``,
test      every cell on ``test``                            with more samples on ``test``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.measure.sweep.figures import Values
from diffucode.measure.sweep.plan import Cell, Sweep
from diffucode.metrics.voting import Rule

Stage = Literal["choices", "test", "deep"]
Measure = Literal["pass_1", "pass_k", "eda_k"]
STAGES: tuple[Stage, ...] = ("choices", "test", "deep")


@dataclass(frozen=True)
class Asked:
    """Problems of a split."""

    seed: int
    problems: int = 200


@dataclass(frozen=True)
class Deep:
    """Of each model the best cell on ``dev`` by each of these measures gets more samples on ``test``; of
    equally good ones the coldest. The first measure's is the single best temperature of the comparisons."""

    samples: int = 64
    by: tuple[Measure, ...] = ("pass_k", "eda_k")


@dataclass(frozen=True)
class TemperatureStudy:
    """Everything that is decided before the runs."""

    dev: Asked
    test: Asked
    models: tuple[str, ...] = ("mini", "mini-ar", "mini-ar-matched")
    temperatures: tuple[float, ...] = (0.4, 0.7, 1.0, 1.3)
    order_temperatures: tuple[float, ...] = (0.0, 0.5, 1.0)
    samples: int = 16
    k: int = 10
    """Of pass@k and eDA@k, also of the choices."""
    deep: Deep = field(default_factory=Deep)
    vote: Rule = field(default_factory=Rule)
    decoding: GenerateConfig = field(default_factory=GenerateConfig)
    seed: int = 0
    """Of samples and resampling."""
    core_seconds: float = 0.1
    """Of a sample with its checks, until some have been timed."""

    def __post_init__(self) -> None:
        if self.dev.seed == self.test.seed:
            raise ConfigError(
                f"dev.seed and test.seed are both {self.dev.seed}: expected two different ones"
            )
        if self.deep.samples < self.samples or not self.deep.by:
            raise ConfigError(
                f"deep.samples {self.deep.samples}, deep.by {list(self.deep.by)}: expected at least the "
                f"{self.samples} samples that every cell has, and a measure to choose by"
            )
        if self.samples % 2:
            raise ConfigError(
                f"samples {self.samples}: expected an even number, halves are compared"
            )
        if min(self.temperatures) == 0:
            raise ConfigError("temperatures: expected all over 0, every cell has as many samples")
        self.sweep("test")

    def sweep(self, stage: Stage) -> Sweep:
        """The sweep of a stage."""
        asked = self.dev if stage == "choices" else self.test
        return Sweep(
            models=self.models,
            temperatures=self.temperatures,
            order_temperatures=self.order_temperatures,
            split="dev" if stage == "choices" else "test",
            problem_seed=asked.seed,
            problems=asked.problems,
            samples=self.deep.samples if stage == "deep" else self.samples,
            seed=self.seed,
            k=self.k,
            decoding=self.decoding,
        )


def chosen(study: TemperatureStudy, dev: Sequence[Values]) -> Mapping[str, dict[Measure, Cell]]:
    """The best cell of each model by each measure of the rule, from the cells on ``dev``."""
    found: dict[str, dict[Measure, Cell]] = {}
    for model in study.models:
        cells = [one for one in dev if one.drawn.cell.model == model]
        if cells:
            found[model] = {
                measure: max(cells, key=lambda one, m=measure: one.mean(m)).drawn.cell  # type: ignore[misc]
                for measure in study.deep.by
            }
    return found
