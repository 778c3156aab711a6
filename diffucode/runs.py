"""A run folder: what was asked, on which code, and what came of it; safe to kill at any moment.

    run.json        config (resolved), seeds, git revision; written once
    metrics.jsonl   one JSON object a line, append only
    run.html        the same as curves; see ``runpage``
    ...             whatever the job writes with ``files.write_atomic``

A folder belongs to one config. Opening it again with the same config continues the run; opening it
with another is refused.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffucode import config as configs
from diffucode.errors import DiffucodeError, ResumeError
from diffucode.files import read_jsonl, rename_folder, to_jsonl, write_atomic

T = TypeVar("T")
CHECKPOINT = re.compile(r"checkpoint(-\d+)+")


def git_revision(folder: Path) -> str | None:
    """The commit checked out around ``folder``, with ``+changes`` when files differ; None outside git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@dataclass(frozen=True)
class Run:
    """An open run folder; see ``open_run``."""

    folder: Path
    follower: Callable[[Mapping[str, Any]], None] | None = None
    """Is told every row that is logged; see ``trackers``."""

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl. JSON has no NaN and no infinity: such figures are null."""
        known = {name: _known(value) for name, value in row.items()}
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(to_jsonl([known]))
        if self.follower is not None:
            self.follower(known)

    def metrics(self) -> list[dict[str, Any]]:
        """The logged rows, without a torn last line."""
        return read_jsonl(self.metrics_file)

    def rewind(self, step: int) -> None:
        """Forget rows past ``step`` and a torn last line: the run goes on from a checkpoint there."""
        rows = [row for row in self.metrics() if row.get("step", 0) <= step]
        write_atomic(self.metrics_file, to_jsonl(rows))


def open_run(folder: str | Path, config: Mapping[str, Any], seeds: Mapping[str, int]) -> Run:
    """Start a run, or continue the one in ``folder`` if it was started with the same config.

    ``config`` and ``seeds`` are plain JSON values. Raises ResumeError when the folder holds a run of
    another config (the message names the first key that differs) or files of something else.
    """
    run = Run(Path(folder))
    record = run.folder / "run.json"
    asked = json.loads(json.dumps({"config": dict(config), "seeds": dict(seeds)}))
    if record.exists():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            found = {"config": found["config"], "seeds": found["seeds"]}
        except (ValueError, KeyError, TypeError):
            raise ResumeError(f"{record}: not the record of a run; choose another folder") from None
        if (difference := _difference(found, asked)) is not None:
            raise ResumeError(
                f"{run.folder} holds a run with another config: {difference}; "
                "choose another folder, or repeat the old settings to continue it"
            )
        return run
    # Of a run that was killed at its very beginning there may be a part of the record.
    if any(not path.name.startswith(f".{record.name}.") for path in run.folder.glob("*")):
        raise ResumeError(f"{run.folder} is not empty and holds no run.json; choose another folder")
    asked["revision"] = git_revision(Path(__file__).parent)
    write_atomic(record, json.dumps(asked, indent=2) + "\n")
    return run


def checkpoints(folder: Path) -> list[Path]:
    """The complete ones (``checkpoint-1-0``, ...), the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: tuple(map(int, path.name.split("-")[1:])))


@contextmanager
def new_checkpoint(
    folder: Path, name: str, *, main: bool, together: Callable[[], None]
) -> Iterator[Path]:
    """A folder to write into, which becomes the checkpoint ``name`` at once; older ones go.

    Of several processes each enters; one is ``main``, and ``together`` waits for all of them.
    """
    building = folder / ".checkpoint"
    if main:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
    together()
    yield building
    together()
    if main:
        rename_folder(building, folder / name)
        for old in checkpoints(folder)[:-1]:
            old.rename(building)  # what has the name of a checkpoint is whole, also in its removal
            shutil.rmtree(building)
    together()


def bar(title: str, shown: bool) -> Progress:
    """A progress bar; ``note`` stands behind its numbers."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    return Progress(TextColumn(title), *columns, TimeRemainingColumn(), disable=not shown)


def command(settings: type[T], job: Callable[[T], object], about: str | None) -> None:
    """The command line of a training script: ``[--config FILE] [key=value ...]``.

    ``about`` is the script's docstring. What settings or job refuse is one line, and status 2.
    """
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    try:
        job(configs.load(settings, arguments.config, arguments.overrides))
    except DiffucodeError as error:
        parser.error(str(error))


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _difference(found: Any, asked: Any, key: str = "") -> str | None:
    if isinstance(found, dict) and isinstance(asked, dict):
        for name in sorted(found.keys() | asked.keys()):
            inner = _difference(found.get(name), asked.get(name), f"{key}.{name}" if key else name)
            if inner is not None:
                return inner
        return None
    return None if found == asked else f"{key} was {found!r}, now {asked!r}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
