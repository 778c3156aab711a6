"""The figures of one task: how its correct programs differ in algorithm and in form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffucode.metrics.diversity import abundance, ngrams, trees
from diffucode.metrics.diversity.codebleu import Code, code_of, codebleu
from diffucode.metrics.diversity.correct import CorrectPrograms
from diffucode.metrics.diversity.pairs import over_pairs
from diffucode.metrics.diversity.techniques import Attempt, neogauge, techniques
from diffucode.metrics.diversity.undefined import Figure, Undefined
from diffucode.metrics.diversity.vendi import vendi
from diffucode.tasks.syntax import canonical

FEWEST = 5
"""Correct programs of a task on which files are compared."""


@dataclass(frozen=True)
class Options:
    """What figures depend on beside programs."""

    k: int = FEWEST
    """K of DA@K, and of the programs that form is read from: as many of each task."""
    k_max: int = abundance.PAPER_K
    """Where NAUADC ends."""


@dataclass(frozen=True)
class View:
    """A task of a row."""

    correct: CorrectPrograms
    labels: Mapping[str, int | None]
    options: Options
    known: frozenset[str] | None = None
    """Techniques of the reference solutions; None where there are none."""
    codes: dict[str, Code | None] = field(default_factory=dict)
    """Taken apart for CodeBLEU already, by program; shared between views."""

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of the clusters."""
        return abundance.sizes_of(self.labels[program] for program in self.correct.programs)

    @cached_property
    def first(self) -> tuple[str, ...] | Undefined:
        """The first K correct programs: what depends on their number is compared at this one."""
        if len(self.correct.programs) < self.options.k:
            return Undefined(f"fewer than {self.options.k} correct programs")
        return self.correct.programs[: self.options.k]

    def on_first(self, figure: Callable[[tuple[str, ...]], Figure]) -> Figure:
        return self.first if isinstance(self.first, Undefined) else figure(self.first)


Measure = Callable[[View], Figure]


def of_all(options: Options, n: int) -> dict[str, Measure]:
    """What every task has, solved or not: by the name that tables give it."""
    ks = sorted({k for k in (1, options.k, 10, n) if k <= n})

    return {f"eDA@{k}": eda(k) for k in ks}


def eda(k: int) -> Measure:
    return lambda view: abundance.eda_at_k(view.sizes, view.correct.pool, k)


def da(k: int) -> Measure:
    return lambda view: abundance.da_at_k(view.sizes, k)


def of_algorithms(options: Options) -> dict[str, Measure]:
    """Of the clusters of correct programs."""
    k = options.k
    return {
        f"DA@{k}": da(k),
        f"EA@{k}": lambda view: abundance.effective_at_k(view.sizes, k),
        "EA": lambda view: abundance.hill(view.sizes, 1),
        "Hill-2": lambda view: abundance.hill(view.sizes, 2),
        "algorithms": lambda view: abundance.hill(view.sizes, 0),
        "Chao1": lambda view: abundance.chao1(view.sizes),
        "coverage": lambda view: abundance.coverage(view.sizes),
        f"NAUADC 1..{options.k_max}": lambda view: abundance.nauadc(view.sizes, options.k_max),
    }


def of_form(options: Options) -> dict[str, Measure]:
    """Of K correct programs as texts and trees; each is larger the more they differ."""
    k = options.k
    grams = {f"distinct-{n}": _distinct(n) for n in range(1, ngrams.ORDERS + 1)}
    return {
        f"programs of {k}": lambda view: view.on_first(_programs),
        **grams,
        "1 - self-BLEU": lambda view: view.on_first(_self_bleu),
        "1 - CodeBLEU": lambda view: view.on_first(lambda some: _codebleu(some, view.codes)),
        "tree edits": lambda view: view.on_first(_edits),
        "1 - path cosine": lambda view: view.on_first(_path_cosine),
        f"Vendi of {k}": lambda view: view.on_first(_vendi),
        f"technique sets of {k}": lambda view: view.on_first(_technique_sets),
        "new techniques, share": _new_techniques,
    }


LISTED = ("EA", "Hill-2", "algorithms")
"""What can be said of solutions that are listed once each, and not drawn: nothing of how often."""


def _programs(programs: tuple[str, ...]) -> Figure:
    return float(len(set(map(canonical, programs))))


def _technique_sets(programs: tuple[str, ...]) -> Figure:
    return float(len(set(map(techniques, programs))))


def _distinct(n: int) -> Measure:
    return lambda view: view.on_first(lambda some: ngrams.distinct_n([*_tokens(some)], n))


def _tokens(programs: tuple[str, ...]) -> Iterator[ngrams.Tokens]:
    yield from (ngrams.tokens_of(program) or () for program in programs)


def _self_bleu(programs: tuple[str, ...]) -> Figure:
    return _less(ngrams.self_bleu([*_tokens(programs)]))


def _codebleu(programs: tuple[str, ...], codes: dict[str, Code | None]) -> Figure:
    def compare(one: str, other: str) -> Figure:
        first, second = codes[one], codes[other]
        return codebleu(first, second) if first and second else UNPARSED

    for program in programs:
        if program not in codes:
            codes[program] = code_of(program)
    return _less(over_pairs(programs, compare))


UNPARSED = Undefined("a program does not parse")


def _trees(programs: tuple[str, ...]) -> list[trees.Tree] | Undefined:
    found = [tree for program in programs if (tree := trees.tree_of(program)) is not None]
    return found if len(found) == len(programs) else UNPARSED


def _edits(programs: tuple[str, ...]) -> Figure:
    found = _trees(programs)
    if isinstance(found, Undefined):
        return found
    return over_pairs(found, trees.normalised_distance)


def _path_cosine(programs: tuple[str, ...]) -> Figure:
    kernel = _kernel(programs)
    if isinstance(kernel, Undefined):
        return kernel
    return over_pairs(range(len(kernel)), lambda a, b: 1 - float(kernel[a, b]))


def _vendi(programs: tuple[str, ...]) -> Figure:
    kernel = _kernel(programs)
    return kernel if isinstance(kernel, Undefined) else vendi(kernel)


def _kernel(programs: tuple[str, ...]) -> NDArray[np.float64] | Undefined:
    """``[K, K]``: how alike the vertical paths of the trees are."""
    found = _trees(programs)
    if isinstance(found, Undefined):
        return found
    every = [trees.paths(tree) for tree in found]
    return np.array([[trees.cosine(one, other) for other in every] for one in every])


def _new_techniques(view: View) -> Figure:
    """NeoGauge's creativity before anything is forbidden, over the correct programs."""
    if view.known is None:
        return Undefined("no reference solutions")
    known = view.known
    attempts = [Attempt(True, techniques(p) or (), known=known) for p in view.correct.programs]
    return neogauge(attempts).creativity if attempts else abundance.NOTHING


def _less(similarity: Figure) -> Figure:
    return similarity if isinstance(similarity, Undefined) else 1 - similarity
