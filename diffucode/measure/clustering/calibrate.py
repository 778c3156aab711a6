"""What a clusterer's labels are worth, on programs whose algorithm is known.

    hand-written   three algorithms, four spellings each (``labelled``)
    minicode       the generator's right references, each in independent rewrites (``tasks.rewrites``)

Figures are over pairs of programs of a problem, with intervals over problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffucode.measure.clustering.labelled import Half, labelled
from diffucode.measure.clustering.linkage import average_linkage
from diffucode.measure.clustering.rule import Grain, Rule, fit
from diffucode.measure.clustering.task import Clusterer, Task, numbered
from diffucode.metrics.agreement import Pairs, pairs, together
from diffucode.metrics.diversity.abundance import da_at_k, hill, sizes_of
from diffucode.metrics.diversity.undefined import Figure, number
from diffucode.metrics.passk import Estimate, bootstrap, clustered
from diffucode.tasks import minicode
from diffucode.tasks.minicode import disjoint, inputs
from diffucode.tasks.rewrites import rewrite
from diffucode.tasks.syntax import canonical

SPELLINGS = 4
"""Rewrites of each reference of minicode."""
PROBES = 24
"""Inputs of a minicode problem that a clusterer is given."""
DRAWN = 10
"""The K of DA@K."""
_UNDEFINED = Estimate(math.nan, math.nan, math.nan, 0, 0)
CUTS = tuple(round(0.3 + 0.05 * step, 2) for step in range(19))


@dataclass(frozen=True)
class Known:
    """A task with programs and the algorithm of each."""

    task: Task
    programs: tuple[str, ...]
    algorithms: tuple[str, ...]
    group: str
    """Problems of a group are nearly the same one."""


def handwritten(half: Half) -> list[Known]:
    return [
        Known(
            Task(one.name, one.statement, one.name, one.inputs),
            one.programs,
            one.algorithms,
            one.name,
        )
        for one in labelled(half)
    ]


def generated(split: str, seed: int, least_pairs: int) -> list[Known]:
    """Minicode's problems with two right algorithms or more, from the first on, until there are
    ``least_pairs`` pairs of programs. Raises TaskError on an unknown split."""
    found: list[Known] = []
    total = index = 0
    while total < least_pairs:
        (problem,) = minicode.problems(split, seed, 1, start=index)
        index += 1
        right = [one for one in problem.references if one.correct]
        if len({one.algorithm for one in right}) < 2:
            continue
        probes = inputs.probes(disjoint.kinds(problem))[-PROBES:]
        programs = [
            (rewrite(problem.prompt + one.body, turn), one.algorithm)
            for one in right
            for turn in range(SPELLINGS)
        ]
        task = Task(problem.id, problem.prompt, problem.entry_point, probes)
        texts, algorithms = zip(*programs, strict=True)
        found.append(Known(task, texts, algorithms, problem.signature))
        total += len(programs) * (len(programs) - 1) // 2
    return found


@dataclass(frozen=True)
class Figures:
    """How one clusterer did on one set."""

    clusterer: str
    pairs: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    adjusted_rand: Estimate
    effective: Estimate
    """Mean error of EA, without sign, over problems with a label."""
    distinct: Estimate
    """The same of DA@10, over problems with as many labels."""
    abstained: float
    """The share of programs without a label."""


def measure(clusterer: Clusterer, known: Sequence[Known], seed: int = 0) -> Figures:
    """Raises what the clusterer raises."""
    labels = [clusterer.labels(one.task, one.programs) for one in known]
    found = [pairs(label, one.algorithms) for label, one in zip(labels, known, strict=True)]
    groups = [one.group for one in known]

    def pooled(figure: Callable[[Pairs], float]) -> Estimate:
        if math.isnan(figure(together(found))):
            return _UNDEFINED
        return bootstrap(lambda some: figure(together(found[n] for n in some)), groups, seed)

    sizes = [_sizes(label, one.algorithms) for label, one in zip(labels, known, strict=True)]
    missing = sum(label.count(None) for label in labels)
    return Figures(
        clusterer.name,
        sum(map(sum, found)),
        pooled(lambda some: some.precision),
        pooled(lambda some: some.recall),
        pooled(lambda some: some.f1),
        clustered([one.adjusted_rand for one in found], groups, seed),
        _error(lambda some: hill(some, 1), sizes, groups, 1, seed),
        _error(lambda some: da_at_k(some, DRAWN), sizes, groups, DRAWN, seed),
        missing / sum(map(len, labels)),
    )


def _sizes(
    labels: Sequence[int | None], algorithms: Sequence[str]
) -> tuple[Sequence[int], Sequence[int]]:
    """Sizes of clusters and of algorithms, of programs that have a label."""
    has = [(a, b) for a, b in zip(labels, algorithms, strict=True) if a is not None]
    return sizes_of(a for a, _ in has), sizes_of(b for _, b in has)


def _error(
    figure: Callable[[Sequence[int]], Figure],
    sizes: Sequence[tuple[Sequence[int], Sequence[int]]],
    groups: Sequence[str],
    least: int,
    seed: int,
) -> Estimate:
    some = [(a, b, group) for (a, b), group in zip(sizes, groups, strict=True) if sum(a) >= least]
    if not some:
        return _UNDEFINED
    errors = [abs(number(figure(a)) - number(figure(b))) for a, b, _ in some]
    return clustered(errors, [group for _, _, group in some], seed)


class AllSame:
    """The baseline for which every problem has one algorithm."""

    name = "all the same"

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        return [0] * len(programs)


class CanonicalTree:
    """The baseline for which programs differ in their algorithm when they differ in more than names."""

    name = "canonical tree"

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        texts = [canonical(program) for program in programs]
        number = {text: n for n, text in enumerate(dict.fromkeys(texts)) if text is not None}
        return numbered([None if text is None else number[text] for text in texts])


@dataclass(frozen=True)
class Measured:
    """The features of a problem's programs, and which pairs are of one algorithm."""

    apart_NNF: NDArray[np.float64]
    algorithms: tuple[str, ...]

    @property
    def pairs(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        a, b = np.triu_indices(len(self.algorithms), 1)
        algorithm_N = np.array(self.algorithms)
        return self.apart_NNF[a, b], algorithm_N[a] == algorithm_N[b]


def fitted(measured: Sequence[Measured], grain: Grain) -> tuple[Rule, float]:
    """The rule for these problems, and the F1 of its pairs on problems left out of the fit, one at a time.

    The cut is the one that does best on the problems left out.
    """
    best = (-1.0, 0.0)
    weights = [_weights((m for m in measured if m is not out), grain) for out in measured]
    for cut in CUTS:
        f1 = _f1(zip(measured, (Rule(w, cut) for w in weights), strict=True))
        best = max(best, (f1, cut))
    return Rule(_weights(measured, grain), best[1]), best[0]


def _weights(measured: Iterable[Measured], grain: Grain) -> tuple[float, ...]:
    apart, same = zip(*(one.pairs for one in measured), strict=True)
    return fit(np.concatenate(apart), np.concatenate(same), grain)


def _f1(ruled: Iterable[tuple[Measured, Rule]]) -> float:
    return together(
        pairs(average_linkage(rule.distance(one.apart_NNF), rule.cut), one.algorithms)
        for one, rule in ruled
    ).f1
