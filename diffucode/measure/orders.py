"""In which order a model wrote the samples of a trace file, with intervals over its prompts.

    traces ──> Order of each sample ──> mean of a prompt's samples ──> Estimate over prompts

``answer`` looks at positions up to the first terminator, ``canvas`` at all that were written: padding
behind an answer is written in long runs, so both are told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffucode.decoding.trace import Trace
from diffucode.errors import TraceError
from diffucode.generate.traces import TraceFile
from diffucode.metrics.arness import (
    Order,
    Parallel,
    at_random,
    global_arness,
    heat_map,
    local_arness,
    order_of,
    parallel_share,
    tie_share,
)
from diffucode.metrics.order_agreement import Measure, between, kendall_tau, order_overlap, within
from diffucode.metrics.passk import Estimate, clustered

LOCAL_K, GLOBAL_K = range(1, 10), range(1, 5)
"""As in DiffuCoder's figure 3."""

Kind = Literal["local", "local as a set", "global"]
Part = Literal["answer", "canvas"]

MEASURES: dict[Kind, Callable[[Order, int, Parallel], float]] = {
    "local": lambda order, k, parallel: local_arness(order, k, parallel=parallel),
    "local as a set": lambda order, k, parallel: local_arness(
        order, k, reading="set", parallel=parallel
    ),
    "global": lambda order, k, parallel: global_arness(order, k, parallel=parallel),
}
AGREEMENTS: dict[str, Measure] = {"tau": kendall_tau, "overlap": order_overlap}


class Point(NamedTuple):
    """AR-ness@k."""

    kind: Kind
    k: int
    sorted: Estimate
    """Positions of one step taken from left to right."""
    expected: Estimate
    """The mean over their permutations."""
    random: float
    """What random orders of as many positions give on average."""


class Agreement(NamedTuple):
    """How alike samples were written."""

    within: Estimate | None
    """Samples of one prompt; None where no prompt has two."""
    between: Estimate | None
    """Samples of different prompts; None where there is one prompt."""


@dataclass(frozen=True)
class Positions:
    """One part of the canvases."""

    count: int
    points: tuple[Point, ...]
    parallel: Estimate
    """Share of positions that share their step with others."""
    tied: Estimate
    """Share of positions that were as certain as the one written before or after them."""
    heat_SL: NDArray[np.float64]
    """Share of samples that wrote position l in step s."""

    def curve(self, kind: Kind) -> list[Point]:
        return [point for point in self.points if point.kind == kind]


@dataclass(frozen=True)
class Orders:
    """What a trace file says about order."""

    name: str
    model: str
    prompts: int
    samples: int
    ends_known: bool
    """Whether the file names terminators; without them, an answer is its whole canvas."""
    parts: Mapping[Part, Positions]
    agreement: Mapping[str, Agreement]
    """Of answers, by the names in ``AGREEMENTS``."""

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "name": self.name,
            "model": self.model,
            "prompts": self.prompts,
            "samples": self.samples,
            "terminators_known": self.ends_known,
            **{name: _part_json(part) for name, part in self.parts.items()},
            "agreement": {
                name: {
                    "within": found.within and found.within.to_json(),
                    "between": found.between and found.between.to_json(),
                }
                for name, found in self.agreement.items()
            },
        }


def orders(name: str, recorded: TraceFile, seed: int = 0) -> Orders:
    """Every figure of a trace file. ``seed`` is the resampling's.

    Raises TraceError where nothing was written.
    """
    prompts = by_prompt(recorded.traces)
    answers = [[order_of(one, recorded.terminators) for one in some] for some in prompts.values()]
    canvases = [[order_of(one) for one in some] for some in prompts.values()]
    if not any(len(order) for some in canvases for order in some):
        raise TraceError(
            f"{name}: no token was written in any of its {len(recorded.traces)} traces"
        )
    return Orders(
        name=name,
        model=recorded.model,
        prompts=len(prompts),
        samples=len(recorded.traces),
        ends_known=bool(recorded.terminators),
        parts={"answer": _positions(answers, seed), "canvas": _positions(canvases, seed)},
        agreement={
            measure: _agreement(answers, compare, seed) for measure, compare in AGREEMENTS.items()
        },
    )


def by_prompt(traces: Iterable[Trace]) -> dict[str, list[Trace]]:
    """The samples of each prompt, in their order."""
    found: dict[str, list[Trace]] = {}
    for one in sorted(traces, key=lambda trace: trace.sample):
        found.setdefault(one.id, []).append(one)
    return found


def _positions(prompts: Sequence[Sequence[Order]], seed: int) -> Positions:
    every = [order for some in prompts for order in some]

    def mean(measure: Callable[[Order], float]) -> Estimate:
        found = _over_prompts([_mean(map(measure, some)) for some in prompts], seed)
        assert found is not None, "something was written"
        return found

    def arness(kind: Kind, k: int, parallel: Parallel) -> Estimate:
        return mean(lambda order: MEASURES[kind](order, k, parallel))

    def chance(kind: Kind, k: int) -> float:
        return mean(lambda order: by_chance(kind, k, len(order))).value

    points = [
        Point(kind, k, arness(kind, k, "sorted"), arness(kind, k, "expected"), chance(kind, k))
        for kind in MEASURES
        for k in (GLOBAL_K if kind == "global" else LOCAL_K)
    ]
    return Positions(
        count=sum(map(len, every)),
        points=tuple(points),
        parallel=mean(parallel_share),
        tied=mean(tie_share),
        heat_SL=heat_map(every),
    )


@cache
def by_chance(kind: Kind, k: int, n: int) -> float:
    """What a random order of n positions gives on average."""
    return MEASURES[kind](at_random(n), k, "expected")


def _agreement(prompts: Sequence[Sequence[Order]], measure: Measure, seed: int) -> Agreement:
    others = [*prompts[1:], prompts[0]]
    apart = [between(one, two, measure) for one, two in zip(prompts, others, strict=True)]
    return Agreement(
        _over_prompts([within(some, measure) for some in prompts], seed),
        _over_prompts(apart, seed) if len(prompts) > 1 else None,
    )


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _over_prompts(values: Sequence[float], seed: int) -> Estimate | None:
    known = [value for value in values if not math.isnan(value)]
    return clustered(known, range(len(known)), seed) if known else None


def _part_json(part: Positions) -> dict[str, Any]:
    return {
        "positions": part.count,
        "parallel": part.parallel.to_json(),
        "tied": part.tied.to_json(),
        "arness": [
            {
                "kind": point.kind,
                "k": point.k,
                "sorted": point.sorted.to_json(),
                "expected": point.expected.to_json(),
                "random": point.random,
            }
            for point in part.points
        ],
        "heat": part.heat_SL.round(6).tolist(),
    }
