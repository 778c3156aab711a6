"""The stages of the study, each a sweep in the same folder, so ``deep`` extends the samples of ``test``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffucode.errors import ConfigError
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.sweep.cells import Drawn
from diffucode.measure.sweep.figures import Values, aligned
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.plan import Cell
from diffucode.progress import Progress, silent
from diffucode.studies.temperature.plan import Stage, TemperatureStudy, chosen


@dataclass(frozen=True)
class Workshop:
    """Where the study is run."""

    study: TemperatureStudy
    folder: Path
    problems: Path
    progress: Progress = silent

    def grid(self, stage: Stage) -> Grid:
        return Grid(self.study.sweep(stage), self.folder, self.problems, self.progress)

    def run(self, stage: Stage, sandbox: Sandbox) -> Iterator[Drawn]:
        """Draw what is missing of a stage. Raises ConfigError for ``deep`` before the choices are drawn."""
        if stage != "deep":
            yield from self.grid(stage).run(sandbox)
            return
        cells = set(self.deep())
        yield from self.grid(stage).run(sandbox, lambda cell: cell in cells)

    def deep(self) -> list[Cell]:
        """The cells that the rule picks. Raises ConfigError where ``dev`` is not drawn to its end."""
        grid = self.grid("choices")
        if len(grid.models()) < len(self.study.models) or grid.left():
            raise ConfigError(
                f"{self.folder}: cells are chosen from samples on dev that are not all drawn; run the stage "
                "choices first"
            )
        picked = chosen(self.study, self.values("choices"))
        return list(dict.fromkeys(cell for one in picked.values() for cell in one.values()))

    def values(self, stage: Stage) -> list[Values]:
        """The cells of a stage on the problems that all of them have; with ``deep`` those picked alone."""
        grid, study = self.grid(stage), self.study
        drawn = grid.drawn()
        if stage == "deep":
            cells = set(self.deep())
            drawn = [one for one in drawn if one.cell in cells]
        return aligned(drawn, grid.ids, grid.sweep.samples, study.k)

    def left(self, stage: Stage) -> int:
        """Samples that are still missing, also of models that were not opened yet."""
        grid, study = self.grid(stage), self.study
        if stage == "deep":
            more = study.deep.samples - study.samples
            try:
                return min(grid.left(self.deep()), more * study.test.problems * len(self.deep()))
            except ConfigError:
                return more * study.test.problems * len(study.models) * len(study.deep.by)
        sweep = grid.sweep
        unopened = len(study.models) - len(grid.models())
        each = (
            len(study.temperatures) * len(study.order_temperatures) * sweep.problems * sweep.samples
        )
        return grid.left() + unopened * each

    def core_seconds(self) -> float:
        """Of a sample, from those there are; the plan's guess until then. The sandbox is not counted."""
        samples = [
            one
            for stage in ("choices", "test")
            for drawn in self.grid(stage).drawn()
            for one in drawn.problems.values()
        ]
        many = sum(one.n for one in samples)
        return sum(one.core_seconds for one in samples) / many if many else self.study.core_seconds
