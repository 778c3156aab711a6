"""What to generate and how: the config of ``diffucode generate`` and ``diffucode infill``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from diffucode.decoding.order import (
    BlockWise,
    Confidence,
    DrawnConfidence,
    Entropy,
    InnerOrder,
    LeftToRight,
    Margin,
    Order,
    Random,
)
from diffucode.decoding.plan import SamplingPlan, dream_plan, llada_plan
from diffucode.decoding.schedule import CosineQuota, EntropyBound, Quota, Schedule, Threshold
from diffucode.errors import ConfigError
from diffucode.generate.tokenizer import Tokenizer
from diffucode.models.families.spec import Usual
from diffucode.sampling.edits import Ban, Bias, Edit
from diffucode.sampling.temperature import Constant, Temperature
from diffucode.sampling.truncation import Truncation
from diffucode.tasks.prompts import Style

DreamAlgorithm = Literal["origin", "maskgit_plus", "topk_margin", "entropy"]
LladaRemasking = Literal["low_confidence", "random"]

ORDERS: dict[str, InnerOrder] = {
    order.kind: order
    for order in (Confidence(), Margin(), Entropy(), DrawnConfidence(), Random(), LeftToRight())
}
CHOICES: dict[str, tuple[str | None, ...]] = {
    "decoder": ("auto", "diffusion", "ar"),
    "prompt_style": get_args(Style),
    "compat": ("dream", "llada", None),
}
SCHEDULES = "quota, cosine, threshold:PROBABILITY or entropy_bound:NATS"
DREAM_ALGORITHMS: dict[str, DreamAlgorithm] = {
    "confidence": "maskgit_plus",
    "drawn_confidence": "maskgit_plus",
    "margin": "topk_margin",
    "entropy": "entropy",
    "random": "origin",
}
LLADA_REMASKING: dict[str, LladaRemasking] = {
    "confidence": "low_confidence",
    "drawn_confidence": "low_confidence",
    "random": "random",
}
"""The published names of our orders. Both loops look at the probability of the *drawn* token."""


@dataclass(frozen=True)
class GenerateConfig:
    """Defaults <- YAML <- flags and ``key=value``. None means: the model's or the rule's default."""

    model: str = "mini"
    """Bundled or installed name, folder, or hub id."""
    revision: str | None = None
    decoder: Literal["auto", "diffusion", "ar"] = "auto"
    """``auto``: what the model was made for."""
    device: str = "auto"
    """``auto``: the first GPU if there is one."""
    dtype: str = "float32"
    prompt_style: Style = "auto"
    system: str | None = None
    stop: tuple[str, ...] = ()
    """Text is cut before the earliest of these, and the row ends there."""
    max_new_tokens: int | None = None
    """Canvas after the prompt. None: the model's usual one, or 256, or what its limit leaves."""
    samples: int = 1
    """Completions of each prompt."""
    seed: int = 0
    batch_size: int = 8
    """Rows decoded at once. It changes no result."""

    temperature: float | Temperature = 0.0
    order: str | Order = "confidence"
    """One of the names in ``ORDERS``, or an order with its ``kind``."""
    order_temperature: float = 0.0
    block_length: int | None = None
    """Fill blocks of this length from left to right, the order deciding inside a block. None: the
    model's usual one, if it has one (infilling: none). 0: the whole canvas is one block."""
    steps: int | None = None
    """Model calls to spread the commits over. None: the model's usual pace, or one commit a step."""
    schedule: str | Schedule | None = None
    """One of the shorthands in ``SCHEDULES``, or a schedule with its ``kind``. None: the model's usual
    one where it has one and ``steps`` says nothing else, or quota."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    temperature_last: bool = False
    ban: tuple[str, ...] = ()
    """Tokens never written, as text or as ``#id``."""
    logit_bias: dict[str, float] = field(default_factory=dict)
    """Token (text or ``#id``) to what is added to its logit."""
    eos_penalty: float = 0.0
    """Subtracted from the logits of the terminators."""
    retire: bool = True
    """Stop a row once everything up to its first terminator is written."""
    compat: Literal["dream", "llada"] | None = None
    """Reproduce a published loop step for step; see ``decoding.plan``."""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                expected = ", ".join(str(choice) for choice in known)
                raise ConfigError(f"{name} {getattr(self, name)!r}: expected one of {expected}")
        for name in ("max_new_tokens", "samples", "batch_size", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        if self.block_length is not None and self.block_length < 0:
            raise ConfigError(
                f"block_length {self.block_length}: expected at least 1, or 0 for the whole canvas"
            )
        if isinstance(self.order, str) and self.order not in ORDERS:
            raise ConfigError(f"order {self.order!r}: expected one of {', '.join(ORDERS)}")
        if isinstance(self.temperature, int | float) and not self.temperature >= 0:
            raise ConfigError(f"temperature {self.temperature}: expected a number >= 0")
        if not self.order_temperature >= 0:
            raise ConfigError(f"order_temperature {self.order_temperature}: expected a number >= 0")
        if any(not stop for stop in self.stop):
            raise ConfigError("stop: expected non-empty strings")
        self.chosen_order()
        self.chosen_schedule()
        if self.compat is not None:
            self._check_compat()

    def chosen_order(self) -> Order:
        """The order, block by block where ``block_length`` says so."""
        order = ORDERS[self.order] if isinstance(self.order, str) else self.order
        if not self.block_length:
            return order
        if isinstance(order, BlockWise):
            raise ConfigError(f"block_length {self.block_length}: the order is block-wise already")
        return BlockWise(self.block_length, order)

    def chosen_schedule(self) -> Schedule:
        """The schedule, ``steps`` filled in."""
        if self.schedule is not None and not isinstance(self.schedule, str):
            if self.steps is not None:
                raise ConfigError(
                    f"steps {self.steps}: a schedule with a kind carries its own steps"
                )
            return self.schedule
        name, _, bound = (self.schedule or "quota").partition(":")
        if name in ("quota", "cosine") and not bound:
            return Quota(self.steps) if name == "quota" else CosineQuota(self.steps)
        if name not in ("threshold", "entropy_bound") or not _is_number(bound):
            raise ConfigError(f"schedule {self.schedule!r}: expected {SCHEDULES}")
        if self.steps is not None:
            raise ConfigError(f"steps {self.steps}: schedule {self.schedule!r} decides for itself")
        return Threshold(float(bound)) if name == "threshold" else EntropyBound(float(bound))

    def _check_compat(self) -> None:
        """Refuse what the published loop does not have rather than ignore it."""
        names = list(DREAM_ALGORITHMS if self.compat == "dream" else LLADA_REMASKING)
        if self.order not in names:
            raise ConfigError(
                f"order {self.order!r}: compat {self.compat!r} has {', '.join(names)} only"
            )
        if not isinstance(self.temperature, int | float):
            raise ConfigError(f"temperature: compat {self.compat!r} has a constant one only")
        absent = ["schedule", "min_p", "temperature_last", "ban", "logit_bias", "eos_penalty"]
        if self.compat == "dream":
            absent += ["block_length"]
        else:
            absent += ["order_temperature", "top_p", "top_k"]
        for name in absent:
            if getattr(self, name) != getattr(_UNTOUCHED, name):
                raise ConfigError(f"{name}: the loop of compat {self.compat!r} does not have it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_UNTOUCHED = GenerateConfig()


def plan(
    config: GenerateConfig, length: int, edits: tuple[Edit, ...] = (), usual: Usual | None = None
) -> SamplingPlan:
    """The sampling plan of a row with ``length`` open positions.

    ``usual``: how the model is meant to be decoded, where the config leaves it open.
    """
    usual = usual or Usual()
    unsaid = config.schedule is None and config.steps is None and config.compat is None
    if unsaid and usual.threshold is not None:
        config = replace(config, schedule=Threshold(usual.threshold))
    if config.steps is None and usual.pace and config.schedule in (None, "quota", "cosine"):
        config = replace(config, steps=math.ceil(length / usual.pace))
    if config.compat is not None:
        return replace(_published(config, length), edits=edits)
    if config.block_length is None and not isinstance(config.order, BlockWise):
        config = replace(config, block_length=usual.block_length)
    temperature = config.temperature
    return SamplingPlan(
        temperature=Constant(temperature) if isinstance(temperature, int | float) else temperature,
        truncation=Truncation(config.top_k, config.top_p, config.min_p, config.temperature_last),
        edits=edits,
        order=config.chosen_order(),
        order_temperature=config.order_temperature,
        schedule=config.chosen_schedule(),
        retire=config.retire,
    )


def _published(config: GenerateConfig, length: int) -> SamplingPlan:
    order, temperature = str(config.order), config.temperature
    assert isinstance(temperature, int | float), "checked with the config"
    if config.compat == "dream":
        return dream_plan(
            DREAM_ALGORITHMS[order],
            steps=config.steps or length,
            temperature=temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            alg_temp=config.order_temperature,
        )
    return llada_plan(
        steps=config.steps or length,
        block_length=config.block_length or length,
        temperature=temperature,
        remasking=LLADA_REMASKING[order],
    )


def edits(
    config: GenerateConfig, tokenizer: Tokenizer, terminators: Sequence[int]
) -> tuple[Edit, ...]:
    """Bans, biases and the terminator penalty as logit edits."""
    changes: list[Edit] = []
    if config.ban:
        changes.append(Ban(tuple(token_id(text, tokenizer, "ban") for text in config.ban)))
    if config.logit_bias:
        changes.append(
            Bias({token_id(t, tokenizer, "logit_bias"): b for t, b in config.logit_bias.items()})
        )
    if config.eos_penalty:
        changes.append(Bias({i: -config.eos_penalty for i in terminators}))
    return tuple(changes)


def token_id(text: str, tokenizer: Tokenizer, place: str) -> int:
    """The id of one token, given as ``#id`` or as its text."""
    if text.startswith("#") and text[1:].isdecimal():
        return int(text[1:])
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ConfigError(
            f"{place} {text!r}: expected one token, this text is {len(ids)} ({ids}); use #ID"
        )
    return ids[0]
