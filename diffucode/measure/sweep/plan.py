"""The plan of a sweep: models x token temperatures x order temperatures, on problems of minicode.

An AR model has one order, so it has a cell for each token temperature alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.models.families.spec import Decoder

SET_BY_THE_SWEEP = ("model", "temperature", "order_temperature", "samples", "seed", "batch_size")
ORDER_AND_PACE = ("order", "steps", "schedule", "block_length", "compat")
SPLITS = ("dev", "test", "rl", "ood")


@dataclass(frozen=True)
class Cell:
    """A model at a temperature."""

    model: str
    decoder: Decoder
    temperature: float
    order_temperature: float | None
    """None: an AR model."""

    @property
    def name(self) -> str:
        """As files are called, and rows of tables."""
        return f"{Path(self.model).name}-{self.short}"

    @property
    def short(self) -> str:
        """The temperatures alone."""
        order = "" if self.order_temperature is None else f"-o{self.order_temperature:g}"
        return f"t{self.temperature:g}{order}"

    @property
    def deterministic(self) -> bool:
        """Whether all its samples are one."""
        return self.temperature == 0 and not self.order_temperature


@dataclass(frozen=True)
class Sweep:
    """What is sampled. More problems or samples extend a sweep; anything else begins another."""

    models: tuple[str, ...] = ("mini", "mini-ar", "mini-ar-matched")
    """Bundled names, folders or hub ids; each its own row of cells."""
    temperatures: tuple[float, ...] = (0.4, 0.7, 1.0, 1.3)
    order_temperatures: tuple[float, ...] = (0.0, 0.5, 1.0)
    split: Literal["dev", "test", "rl", "ood"] = "dev"
    problem_seed: int = 1
    problems: int = 100
    samples: int = 16
    """Of each problem in each cell; 1 where all would be the same."""
    seed: int = 0
    """Of the samples, and of the resampling behind the intervals."""
    k: int = 10
    """Of pass@k and eDA@k."""
    batch_size: int = 64
    """Rows decoded at once. It changes no result."""
    decoding: GenerateConfig = field(default_factory=GenerateConfig)
    """How else it is decoded. What concerns order and pace is left out for AR models."""

    def __post_init__(self) -> None:
        for name in ("models", "temperatures", "order_temperatures"):
            values: Sequence[Any] = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} {list(values)}: expected one or more, each once")
        names = [Path(model).name for model in self.models]
        if len(set(names)) < len(names):
            raise ConfigError(f"models {list(self.models)}: their last names are not different")
        for name in ("temperatures", "order_temperatures"):
            if not all(value >= 0 for value in getattr(self, name)):
                raise ConfigError(f"{name} {list(getattr(self, name))}: expected numbers >= 0")
        if self.problems < 1 or not 1 <= self.k <= self.samples:
            raise ConfigError(
                f"problems {self.problems}, k {self.k}, samples {self.samples}: expected 1 or more "
                "problems, and 1 <= k <= samples, from which k are drawn"
            )
        if self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size}: expected at least 1")
        plain = GenerateConfig()
        for name in SET_BY_THE_SWEEP:
            if getattr(self.decoding, name) != getattr(plain, name):
                raise ConfigError(f"decoding.{name}: the sweep sets it; say it at the sweep's top")

    def cells(self, model: str, decoder: Decoder) -> list[Cell]:
        """Those of a model; colder first."""
        orders: Sequence[float | None] = self.order_temperatures
        if decoder == "ar":
            orders = (None,)
        return [Cell(model, decoder, tau, order) for tau in self.temperatures for order in orders]

    def config(self, cell: Cell, samples: int) -> GenerateConfig:
        """How a cell is decoded."""
        config = self.decoding
        if cell.decoder == "ar":
            plain = GenerateConfig()
            config = replace(config, **{name: getattr(plain, name) for name in ORDER_AND_PACE})
        return replace(
            config,
            model=cell.model,
            temperature=cell.temperature,
            order_temperature=cell.order_temperature or 0.0,
            samples=samples,
            seed=self.seed,
            batch_size=self.batch_size,
        )

    def wanted(self, cell: Cell) -> int:
        """Samples of each problem."""
        return 1 if cell.deterministic else self.samples
