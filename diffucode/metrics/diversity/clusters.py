"""Which programs of a task are the same algorithm, as labels; how labels become cluster sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from diffucode.tasks.syntax import canonical


class Clusterer(Protocol):
    """A way to tell algorithms apart. Figures of two ways cannot be compared."""

    @property
    def name(self) -> str:
        """What results are kept under: the way, its version and what it was tuned to."""

    def __call__(self, task: str, programs: Sequence[str]) -> list[int | None]:
        """A label for each correct program of a task: equal for the same algorithm, None where unsure."""


class CanonicalTrees:
    """Two programs are the same algorithm if they differ in layout, remarks and naming alone.

    The strictest of clusterers: it never joins two algorithms, and splits one at every rewrite.
    """

    name = "canonical-ast"

    def __call__(self, task: str, programs: Sequence[str]) -> list[int | None]:
        numbers: dict[str, int] = {}
        return [
            None if (form := canonical(program)) is None else numbers.setdefault(form, len(numbers))
            for program in programs
        ]


def labels_of(clusterer: Clusterer, task: str, programs: Iterable[str]) -> dict[str, int | None]:
    """The label of each program, all of them clustered together; None where the clusterer abstains.

    The clusterer sees one program of each canonical form: copies cannot end up in different clusters, and a
    judge is not asked twice. A program that does not parse stands for itself.
    """
    form_of = {program: canonical(program) or program for program in programs}
    first_of: dict[str, str] = {}
    for program, form in form_of.items():
        first_of.setdefault(form, program)
    found = clusterer(task, list(first_of.values()))
    if len(found) != len(first_of):
        raise ValueError(
            f"{clusterer.name}, {task}: {len(found)} labels of {len(first_of)} programs"
        )
    label_of = dict(zip(first_of, found, strict=True))
    return {program: label_of[form] for program, form in form_of.items()}


def sizes(programs: Iterable[str], labels: Mapping[str, int | None]) -> tuple[int, ...]:
    """How many of the programs each label has, the most frequent first; abstentions are left out."""
    return counts(label for program in programs if (label := labels[program]) is not None)


def counts(labels: Iterable[Hashable]) -> tuple[int, ...]:
    """How often each label occurs, the most frequent first."""
    return tuple(n for _, n in Counter(labels).most_common())
