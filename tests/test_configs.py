"""Every file below configs/ fits what reads it."""

from pathlib import Path
from typing import Any

import pytest
from running import ROOT, as_module

from diffucode import config
from diffucode.generate.settings import GenerateConfig, plan
from diffucode.measure.sweep.plan import Sweep
from diffucode.studies.plan import Study, jobs
from diffucode.studies.temperature.plan import TemperatureStudy

CONFIGS = ROOT / "configs"


def files(folder: str) -> Any:
    found = sorted((CONFIGS / folder).rglob("*.yaml"))
    assert found
    return pytest.mark.parametrize("file", found, ids=[file.stem for file in found])


def test_every_file_has_a_test() -> None:
    assert {file.relative_to(CONFIGS).parts[0] for file in CONFIGS.rglob("*.*")} == {
        "accelerate",
        "eval",
        "generate",
        "studies",
        "train",
    }


@files("generate")
def test_generate(file: Path) -> None:
    plan(config.load(GenerateConfig, file), 32)


@files("train")
def test_train(file: Path) -> None:
    """By the beginning of its name: the script, and the class that it reads."""
    readers = {
        "adapt": ("corpus", "CorpusTraining"),
        "coupled_grpo": ("coupled_grpo", "CoupledGrpo"),
        "midtrain": ("corpus", "CorpusTraining"),
        "own_programs": ("own_programs", "OwnPrograms"),
        "pretrain": ("pretrain", "Pretrain"),
        "sft": ("sft", "Sft"),
    }
    ((name, reader),) = (readers[name] for name in readers if file.stem.startswith(f"{name}_"))
    assert config.load(getattr(as_module(f"train/{name}.py"), reader), file)


@files("studies")
def test_studies(file: Path) -> None:
    """Their arms are loaded in tests/studies."""
    if file.stem == "temperature":
        assert config.load(TemperatureStudy, file)
    else:
        assert jobs(config.load(Study, file))


@files("eval")
def test_eval(file: Path) -> None:
    """By the beginning of its name."""
    kinds = {"sweep": Sweep, "samples": as_module("eval/generate_samples.py").Samples}
    assert config.load(kinds[file.stem.split("_")[0]], file)


@files("accelerate")
def test_accelerate(file: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(file)).num_processes >= 1
