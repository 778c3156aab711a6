"""Every file below configs/ fits what reads it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from diffucode import config
from diffucode.generate.settings import GenerateConfig, plan

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"


def files(folder: str) -> Any:
    found = sorted((CONFIGS / folder).rglob("*.yaml"))
    assert found
    return pytest.mark.parametrize("file", found, ids=[file.stem for file in found])


def script(path: Path) -> Any:
    """A script as a module."""
    name = f"script_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_has_a_test() -> None:
    assert {file.relative_to(CONFIGS).parts[0] for file in CONFIGS.rglob("*.*")} == {
        "accelerate",
        "generate",
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
        "pretrain": ("pretrain", "Pretrain"),
        "sft": ("sft", "Sft"),
    }
    ((name, reader),) = (readers[name] for name in readers if file.stem.startswith(f"{name}_"))
    assert config.load(getattr(script(ROOT / "train" / f"{name}.py"), reader), file)


@files("accelerate")
def test_accelerate(file: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(file)).num_processes >= 1
