"""Trackers get every row once, also of a run that was killed and continued, and are named when missing."""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator, tracking
from accelerate.utils import LoggerType
from running import forget
from tensorboardX.proto.event_pb2 import Event

from diffucode import config as configs
from diffucode.errors import ConfigError
from diffucode.runs import Run, open_run
from diffucode.trackers import Tracker, flat, follow, tracked

CONFIG = {"steps": 4, "update": {"kind": "grpo", "eps": [0.1, 0.2]}, "system": None}


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """accelerate keeps its state in class attributes."""
    forget()
    yield
    forget()


def start(folder: Path, *names: Tracker) -> tuple[Run, Accelerator]:
    """A run as the scripts open it."""
    accelerator = Accelerator(**tracked(names, folder))
    run = open_run(folder, CONFIG, {"seed": 0})
    return follow(run, accelerator, names, "sft", CONFIG), accelerator


def events(folder: Path) -> list[Any]:
    """What TensorBoard's files of a run hold; records are a length, a checksum, the event, a checksum."""
    found = []
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + size]))
            at += 16 + size
    return found


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    return [
        (value.tag, event.step, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


def test_tensorboard_holds_what_was_logged(tmp_path: Path) -> None:
    run, accelerator = start(tmp_path / "run", "tensorboard")
    run.log({"step": 1, "loss": 0.5, "kl": None, "passes": 12})
    run.log({"step": 1, "dev_pass": 0.25})
    accelerator.end_training()
    assert scalars(tmp_path) == [("loss", 1, 0.5), ("passes", 1, 12), ("dev_pass", 1, 0.25)]
    assert run.metrics() == [
        {"step": 1, "loss": 0.5, "kl": None, "passes": 12},
        {"step": 1, "dev_pass": 0.25},
    ]
    [file] = (tmp_path / "run").rglob("hparams.yml")
    assert "update.kind: grpo" in file.read_text()


def test_a_run_that_goes_on_repeats_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run, accelerator = start(folder, "tensorboard")
    for step in (1, 2, 3):
        run.log({"step": step, "loss": float(step)})
    run.log({"step": 3, "dev_pass": 0.5})
    accelerator.end_training()  # killed some time after that
    forget()
    run, accelerator = start(folder, "tensorboard")
    run.rewind(1)  # its checkpoint
    for step in (2, 3, 4):
        run.log({"step": step, "loss": float(step)})
        if step > 2:
            run.log({"step": step, "dev_pass": step / 8})
    accelerator.end_training()
    losses = [("loss", step, float(step)) for step in (1, 2, 3, 4)]
    assert sorted(scalars(folder)) == [("dev_pass", 3, 0.5), ("dev_pass", 4, 0.5), *losses]
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 3, 4, 4]
    assert len(list(folder.rglob("hparams.yml"))) == 1, "the configuration is told once"


@dataclass
class Recorded:
    """Stands in for the module of wandb or trackio."""

    inits: list[dict[str, Any]] = field(default_factory=list)
    rows: list[tuple[dict[str, Any], int | None]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    finished: int = 0

    def init(self, **options: Any) -> Any:
        self.inits.append(options)
        return SimpleNamespace(
            log=lambda values, step=None: self.rows.append((values, step)), finish=self.finish
        )

    def finish(self) -> None:
        self.finished += 1

    @property
    def config(self) -> Any:
        return SimpleNamespace(update=lambda values, **_: self.settings.update(values))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_others_continue_the_run_by_its_name(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Recorded()
    monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [LoggerType(name)])
    kept = tracking.LOGGER_TYPE_TO_CLASS[name]
    monkeypatch.setattr(kept, "main_process_only", True)
    folder = tmp_path / "mine"
    run, _ = start(folder, name)
    run.log({"step": 1, "loss": 0.5, "kl": None})
    forget()
    run, accelerator = start(folder, name)
    run.rewind(0)
    run.log({"step": 1, "loss": 0.5, "kl": None})
    run.log({"step": 2, "loss": 0.25, "kl": None})
    accelerator.end_training()
    assert module.rows == [({"loss": 0.5}, 1), ({"loss": 0.25}, 2)]
    first, second = module.inits
    assert first == second and first["project"] == "sft" and first["resume"] == "allow"
    assert first["name"].startswith("mine-") and module.finished == 1
    if name == "wandb":
        assert first["id"] and first["dir"] == str(folder)
        assert module.settings["update.kind"] == "grpo"
    forget()
    start(tmp_path / "again" / "mine", name)
    assert module.inits[2]["name"] != first["name"], "another run of that name is another run"


def test_without_trackers_nothing_is_there(tmp_path: Path) -> None:
    assert tracked((), tmp_path) == {}
    run, accelerator = start(tmp_path / "run")
    run.log({"step": 1, "loss": 0.5})
    accelerator.end_training()
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "metrics.jsonl"}


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_one_that_is_not_installed_is_named(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(ConfigError, match=rf"{name} is not installed; pip install {name}") as error:
        start(tmp_path / "run", name)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists(), "nothing was begun"


def test_a_tracker_of_another_name_is_refused() -> None:
    @dataclass(frozen=True)
    class Settings:
        trackers: tuple[Tracker, ...] = ()

    assert configs.load(Settings, None, ["trackers=[wandb]"]).trackers == ("wandb",)
    with pytest.raises(ConfigError, match="'tensorboard', 'wandb' or 'trackio'"):
        configs.load(Settings, None, ["trackers=[tensorbord]"])


def test_a_flat_config() -> None:
    found = flat(CONFIG)
    assert found == {
        "steps": 4,
        "update.kind": "grpo",
        "update.eps": "[0.1, 0.2]",
        "system": "null",
    }
    assert json.loads(str(found["update.eps"])) == CONFIG["update"]["eps"]  # type: ignore[index]
