"""What a family says about a checkpoint: plain data, read from its config.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffucode.errors import CheckpointError

Json = dict[str, Any]

Decoder = Literal["diffusion", "ar"]


@dataclass(frozen=True)
class Usual:
    """How a checkpoint is meant to be decoded, as far as it says so."""

    canvas: int | None = None
    """Answer positions."""
    steps: int | None = None
    """Decoding steps for so many positions."""
    block_length: int | None = None
    """Positions of a block, filled from left to right."""
    threshold: float | None = None
    """A step fills every position of its block whose best token has this probability; no step count."""

    def __post_init__(self) -> None:
        for name in ("canvas", "steps", "block_length"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise CheckpointError(
                    f"{name} = {value!r}: expected a positive whole number or null"
                )
        if self.threshold is not None and not (
            isinstance(self.threshold, float) and 0 < self.threshold <= 1
        ):
            raise CheckpointError(
                f"threshold = {self.threshold!r}: expected a probability over 0 up to 1, or null"
            )

    @property
    def pace(self) -> float | None:
        """Positions filled in a step."""
        return self.canvas / self.steps if self.canvas and self.steps else None


@dataclass(frozen=True)
class Spec:
    """A checkpoint of a known family."""

    family: str
    model_class: Any
    """Stock transformers class that computes the published function."""
    config: Any
    """Its config."""
    published: Callable[[str], str]
    """Parameter name of ``model_class`` -> name in the checkpoint."""
    decoder: Decoder
    readout_shift: bool
    usual: Usual = Usual()


def require(config: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    """Refuse a config that leaves a field out: a default would load the wrong model silently."""
    absent = [name for name in names if config.get(name) is None]
    if absent:
        raise CheckpointError(
            f"{where}: config.json does not state {', '.join(absent)}; without them the model is "
            f"not defined (it states {', '.join(sorted(config))})"
        )


def expect(config: Mapping[str, Any], values: Mapping[str, Any], where: str) -> None:
    """Refuse a config that states another value than ours where the mathematics depends on it.

    A field that is absent or null counts as agreeing.
    """
    for name, value in values.items():
        found = config.get(name)
        if found is not None and found != value:
            raise CheckpointError(
                f"{where}: config.json states {name} = {found!r}; this family is implemented with "
                f"{name} = {value!r} only"
            )
