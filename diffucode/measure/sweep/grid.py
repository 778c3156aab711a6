"""All cells of a sweep; safe to kill at any moment, and any number of processes share a folder.

FOLDER/models/mini.json            what the model is
FOLDER/dev-1/mini-t1-o0.5.jsonl    the samples of a cell on a split and seed of problems, as they come
FOLDER/dev-1/.mini-t1-o0.5.lock    held while a process draws them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from diffucode.errors import ConfigError, ResumeError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import write_atomic
from diffucode.generate.model import device_of
from diffucode.measure.claim import claimed
from diffucode.measure.problems import Known, Problems, ids
from diffucode.measure.sweep.cells import Drawn, draw, read, weights_of
from diffucode.measure.sweep.plan import Cell, Sweep
from diffucode.models.families.spec import Decoder
from diffucode.models.load import Loaded, find, load
from diffucode.progress import Progress, silent

Chosen = Callable[[Cell], bool]


class Model(NamedTuple):
    """What is kept of a model."""

    name: str
    decoder: Decoder
    parameters: int
    weights: str


@dataclass(frozen=True)
class Grid:
    """A sweep in its folder."""

    sweep: Sweep
    folder: Path
    problems: Path
    """Keeps problems and their tests, for all sweeps."""
    progress: Progress = silent

    @property
    def ids(self) -> list[str]:
        return ids(self.sweep.split, self.sweep.problem_seed, self.sweep.problems)

    def file(self, cell: Cell) -> Path:
        place = f"{self.sweep.split}-{self.sweep.problem_seed}"
        return self.folder / place / f"{cell.name}.jsonl"

    def known(self) -> list[Known]:
        """The problems with their tests."""
        return Problems(self.problems, self.progress).get(self.ids)

    def open(self, name: str) -> tuple[Loaded, str]:
        """A model and the digest of its weights; what it is, is noted in the folder."""
        config = self.sweep.decoding
        if config.revision is not None:
            raise ConfigError("decoding.revision: models of a sweep are taken at their newest")
        loaded = load(name, device=device_of(config.device), dtype=config.dtype)
        weights = weights_of(find(name))
        model = Model(name, loaded.decoder, loaded.parameters, weights)
        if (before := self._record(name)) is not None and before.weights != weights:
            raise ResumeError(
                f"{self.folder}: its samples of {name!r} were drawn from other weights; choose another "
                "folder"
            )
        write_atomic(self._place(name), json.dumps(model._asdict()) + "\n")
        return loaded, weights

    def run(self, sandbox: Sandbox, chosen: Chosen = lambda cell: True) -> Iterator[Drawn]:
        """Draw what is missing of the chosen cells and nobody else works on; yields the cells that are
        complete then.

        Raises ResumeError for a folder that was drawn otherwise, ModelNotFound, CheckpointError, and
        SandboxError.
        """
        known = self.known()
        for name in self.sweep.models:
            loaded, weights = self.open(name)
            for cell in filter(chosen, self.sweep.cells(name, loaded.decoder)):
                file = self.file(cell)
                with claimed(file.with_suffix("")) as mine:
                    if mine:
                        yield draw(
                            self.sweep,
                            cell,
                            loaded,
                            known,
                            sandbox,
                            file,
                            weights=weights,
                            progress=self.progress,
                        )

    def models(self) -> list[Model]:
        """Those that were opened, in the order of the plan."""
        found = [self._record(name) for name in self.sweep.models]
        return [model for model in found if model is not None]

    def cells(self) -> list[Cell]:
        """Those of the models that were opened."""
        return [
            cell for model in self.models() for cell in self.sweep.cells(model.name, model.decoder)
        ]

    def drawn(self) -> list[Drawn]:
        """The cells that have samples."""
        found = [read(self.file(cell), cell) for cell in self.cells()]
        return [one for one in found if one.problems]

    def left(self, cells: Sequence[Cell] | None = None) -> int:
        """Samples of these cells that are still missing; of all of opened models if none are named."""
        missing = 0
        for cell in self.cells() if cells is None else cells:
            have = read(self.file(cell), cell).problems
            wanted = self.sweep.wanted(cell)
            missing += sum(max(0, wanted - (have[id].n if id in have else 0)) for id in self.ids)
        return missing

    def _record(self, name: str) -> Model | None:
        file = self._place(name)
        if not file.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return Model(**found)
        except (ValueError, TypeError) as error:
            raise ResumeError(f"{file}: not the record of a model ({error})") from None

    def _place(self, name: str) -> Path:
        return self.folder / "models" / f"{Path(name).name}.json"
