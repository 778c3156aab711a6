"""Trackers beside metrics.jsonl: TensorBoard, Weights & Biases, Trackio, all through accelerate.

    accelerator = Accelerator(**tracked(names, folder))        before the run folder is opened
    run = follow(run, accelerator, names, project, config)     after it, before it is rewound

metrics.jsonl stays the record; trackers are told what it is told. A run that goes on after a kill goes on in
its trackers, too: its name there is kept in trackers.json, and rows that metrics.jsonl held when the run was
opened again are not sent a second time, although their steps are trained again (to the same bits). Trackers
write in the background: of the last second before a kill they may lack a row.

TensorBoard's files lie in the run folder, under ``tensorboard``. The other two read their own settings from
the environment, such as ``WANDB_MODE=offline`` or ``TRACKIO_DIR``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diffucode.errors import ConfigError
from diffucode.files import write_atomic
from diffucode.runs import Run

if TYPE_CHECKING:
    from accelerate import Accelerator

Tracker = Literal["tensorboard", "wandb", "trackio"]
"""Also the name of its package."""


def tracked(names: Sequence[Tracker], folder: str | Path) -> dict[str, Any]:
    """The arguments of an Accelerator that has these trackers; none of them starts yet.

    Raises ConfigError where one is not installed.
    """
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import ProjectConfiguration

    if not names:
        return {}
    there = {str(one) for one in get_available_trackers()}
    for name in names:
        if name not in there:
            raise ConfigError(f"trackers: {name} is not installed; pip install {name}")
    place = ProjectConfiguration(logging_dir=str(Path(folder) / "tensorboard"))
    return {"log_with": list(names), "project_config": place}


def follow(
    run: Run,
    accelerator: Accelerator,
    names: Sequence[Tracker],
    project: str,
    config: Mapping[str, Any],
) -> Run:
    """The run, with its rows going to the trackers as well. They start here, on the main process alone;
    the accelerator's ``end_training`` closes them."""
    if not names or not accelerator.is_main_process:
        return run
    record = run.folder / "trackers.json"
    resumed = record.exists()
    if not resumed:
        write_atomic(record, json.dumps({"id": uuid.uuid4().hex[:12]}) + "\n")
    id = json.loads(record.read_text(encoding="utf-8"))["id"]
    name = f"{run.folder.resolve().name}-{id}"
    options = {
        # tensorboardX names its files by the second, and would overwrite one of the same second
        "tensorboard": {"filename_suffix": f".{uuid.uuid4().hex[:12]}", "flush_secs": 1},
        "wandb": {"id": id, "name": name, "resume": "allow", "dir": str(run.folder)},
        "trackio": {"name": name, "resume": "allow"},
    }
    sent = {_identity(row) for row in run.metrics()}
    accelerator.init_trackers(project, None if resumed else flat(config), options)

    def tell(row: Mapping[str, Any]) -> None:
        if _identity(row) not in sent:
            figures = {key: value for key, value in row.items() if value is not None}
            accelerator.log(figures, step=figures.pop("step", None))

    return replace(run, follower=tell)


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, bool | int | float | str]:
    """A config with dotted keys; what is no number or text is written as JSON."""
    found: dict[str, bool | int | float | str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            found[before + key] = value if plain else json.dumps(value)
    return found


def _identity(row: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    """What tells a row from the others of a run: its step, and which figures it has."""
    return row.get("step"), frozenset(row)
