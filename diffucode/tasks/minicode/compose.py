"""Draws what a problem computes, before it is worded or solved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from diffucode.tasks.minicode.operations import (
    FILTERS,
    MAPS,
    REDUCERS,
    SOURCES,
    Filter,
    Map,
    Reducer,
    Source,
)

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Composition:
    """One source, up to two filters, up to two maps, one reducer, and the constants they use.

    A constant is source text: a literal, or ``k`` for the function's second argument.
    """

    source: Source
    argument: str
    filters: tuple[tuple[Filter, str], ...]
    maps: tuple[tuple[Map, str], ...]
    reducer: Reducer

    @property
    def signature(self) -> str:
        """The operations without constants; filters commute, so they are sorted."""
        filters = "&".join(sorted(f.name for f, _ in self.filters))
        maps = ".".join(m.name for m, _ in self.maps)
        return f"{self.source.name}|{filters}|{maps}|{self.reducer.name}"

    @property
    def arguments(self) -> tuple[str, ...]:
        uses_k = "k" in [c for _, c in (*self.filters, *self.maps)]
        return (self.argument, "k") if uses_k else (self.argument,)


def split_of(signature: str) -> str:
    """The only split that has problems of this signature: 10 % test, 5 % dev, the rest train."""
    share = int.from_bytes(hashlib.sha256(signature.encode()).digest()[:4], "big") / 2**32
    return "test" if share < 0.10 else "dev" if share < 0.15 else "train"


def draw(rng: Random) -> Composition:
    """A random composition of at least one filter or map; constants are literals or, rarely, ``k``."""
    source = rng.choice(SOURCES)
    shape = rng.choice(
        ((0, 1), (1, 0), (1, 0), (1, 1), (1, 1), (1, 1), (2, 0), (2, 1), (0, 2), (1, 2))
    )
    filters = rng.sample([f for f in FILTERS if f.takes == source.gives], shape[0])
    maps: list[Map] = []
    kind = source.gives
    for _ in range(shape[1]):
        maps.append(rng.choice([m for m in MAPS if m.takes == kind and m not in maps]))
        kind = maps[-1].gives
    reducer = rng.choice([r for r in REDUCERS if kind in r.takes and (r.maps or not maps)])
    choices = [f.constants for f in filters] + [m.constants for m in maps]
    constants = [rng.choice(choice) if choice else "" for choice in choices]
    numeric = [i for i, constant in enumerate(constants) if constant.isdigit()]
    if numeric and rng.random() < 0.2:
        constants[rng.choice(numeric)] = "k"
    return Composition(
        source,
        rng.choice(source.arguments),
        tuple(zip(filters, constants[: len(filters)], strict=True)),
        tuple(zip(maps, constants[len(filters) :], strict=True)),
        reducer,
    )
