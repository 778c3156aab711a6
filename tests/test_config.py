"""Configs: what is merged, what is refused, and what a refusal says."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from diffucode import config
from diffucode.errors import ConfigError


@dataclass(frozen=True)
class Flat:
    kind: Literal["flat"] = "flat"
    tau: float = 1.0


@dataclass(frozen=True)
class Ramp:
    kind: Literal["ramp"] = "ramp"
    start: float = 1.0
    knots: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Nested:
    kind: Literal["nested"] = "nested"
    inner: Flat | Ramp = Flat()


@dataclass(frozen=True)
class Exact:
    value: float
    kind: Literal["exact"] = "exact"


@dataclass(frozen=True)
class Model:
    layers: int = 4
    exact: Exact | None = None
    rates: tuple[float, ...] = (0.1,)


@dataclass(frozen=True)
class Job:
    name: str = "job"
    steps: int | None = None
    fast: bool = False
    mode: Literal["train", "test"] = "train"
    model: Model = Model()
    policy: Flat | Ramp | Nested = Flat()
    policies: tuple[Flat | Ramp, ...] = ()

    def __post_init__(self) -> None:
        if self.steps == 0:
            raise ValueError("steps must be positive")


def refusal(*overrides: str, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(Job, file, overrides)
    return str(caught.value)


def test_a_value_of_another_kind_replaces_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("policy: {kind: ramp, start: 2.0, knots: {1: 0.5}}\n")
    assert config.load(Job, file, ["policy={kind: flat, tau: 3}"]).policy == Flat(tau=3.0)
    assert config.load(Job, file, ["policy={kind: ramp}"]).policy == Ramp()
    kept = config.load(Job, file, ["policy.start=4"]).policy
    assert kept == Ramp(start=4.0, knots={1: 0.5})
    first = ["policy.tau=2", "policy={kind: ramp, start: 5}"]  # in their order
    assert config.load(Job, None, first).policy == Ramp(start=5.0)


def test_overrides_win_over_the_file_which_wins_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: from file\nmodel:\n  layers: 6\n")
    job = config.load(Job, file, ["model.rates=[1, 2e-3]", "model.layers=8"])
    assert job == Job(name="from file", model=Model(layers=8, rates=(1.0, 0.002)))
    assert config.load(Job) == Job()


def test_a_union_is_picked_by_its_kind() -> None:
    job = config.load(
        Job,
        None,
        [
            "policy.kind=nested",
            "policy.inner.kind=ramp",
            "policy.inner.knots={3: 0.5}",
            "policies=[{kind: ramp, start: 2}, {kind: flat}]",
        ],
    )
    assert job.policy == Nested(inner=Ramp(knots={3: 0.5}))
    assert job.policies == (Ramp(start=2.0), Flat())


def test_an_empty_file_changes_nothing_and_references_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    assert config.load(Job, tmp_path / "empty.yaml") == Job()
    assert config.load(Job, None, ["model.layers=7", "steps=${model.layers}"]).steps == 7


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.layer=3"], ["'model.layer'", "did you mean 'layers'"]),
        (["zebra=3"], ["'zebra'", "known keys: name, steps, fast"]),
        (["policy.kind=ramp", "policy.tau=3"], ["'policy.tau'", "known keys: kind, start, knots"]),
        (["policies=[{kind: flat}, {kind: flat, tua: 1}]"], ["'policies.1.tua'", "mean 'tau'"]),
        (["policy.kind=nested", "policy.inner.tow=1"], ["'policy.inner.tow'"]),
        (["steps='3'"], ["steps:", "integer", "'3'"]),
        (["steps=1.5"], ["steps:", "integer", "1.5"]),
        (["fast=1"], ["fast:", "boolean", "1"]),
        (["name=3"], ["name:", "string", "3"]),
        (["mode=tset"], ["mode:", "'train' or 'test'", "'tset'"]),
        (["policy.kind=flta"], ["policy.kind:", "'flat' or 'ramp' or 'nested'", "'flta'"]),
        (["policy=5"], ["policy", "an object", "5"]),
        (["policy.kind=ramp", "policy.start=soon"], ["policy.start:", "number", "'soon'"]),
        (["model.exact.kind=exact"], ["model.exact.value:", "required"]),
        (["steps=0"], ["config: steps must be positive"]),
        (["steps"], ["'steps'", "expected key=value"]),
        (["=3"], ["'=3'", "expected key=value"]),
        (["steps=${nowhere}"], ["nowhere"]),
        (["model=[1"], ["not a readable config"]),
    ],
)
def test_a_refusal_names_the_key_what_was_expected_and_what_came(
    overrides: list[str], words: list[str]
) -> None:
    message = refusal(*overrides)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    "content", ["- 1\n", "3\n", "a: [1\n", "name: a\nname: b\n", b"\xff\xfe\x00a", None]
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: str | bytes | None) -> None:
    file = tmp_path / "job.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(file) in refusal(file=file)
    assert str(tmp_path) in refusal(file=tmp_path)


def test_errors_of_the_file_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("model: {layrs: 3}\n")
    assert refusal(file=file).startswith(f"{file}: unknown key 'model.layrs'")


@pytest.mark.parametrize(
    "job",
    [
        Job(),
        Job(name="3", steps=2, fast=True, mode="test", model=Model(rates=())),
        Job(name="a: b # c", policy=Nested(inner=Ramp(start=1e-9, knots={3: 0.1, -1: 1e20}))),
        Job(policies=(Ramp(), Flat(tau=0.0))),
    ],
)
def test_loading_what_was_dumped_gives_an_equal_instance(tmp_path: Path, job: Job) -> None:
    (tmp_path / "job.json").write_text(json.dumps(config.dump(job)))
    assert config.load(Job, tmp_path / "job.json") == job


def test_infinity_survives() -> None:
    assert config.load(Model, None, ["rates=[.inf]"]).rates == (math.inf,)


def test_config_loads_no_torch() -> None:
    code = "import sys, diffucode.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
