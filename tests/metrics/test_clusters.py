"""Correct programs and their labels: only verdicts make one, copies share a label, abstentions stay out."""

from collections.abc import Sequence

import pytest

from diffucode.metrics.diversity.clusters import CanonicalTrees, counts, labels_of, sizes
from diffucode.metrics.diversity.correct import CorrectPrograms, Judged

LOOP = "def f(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\n"
RENAMED = LOOP.replace("s", "total").replace("xtotal", "values")
SUM = "def f(xs):\n    return sum(xs)\n"


class Asked:
    """Remembers what it was asked; abstains where a program calls sum."""

    name = "asked"

    def __init__(self) -> None:
        self.programs: list[str] = []

    def __call__(self, task: str, programs: Sequence[str]) -> list[int | None]:
        self.programs += programs
        return [None if "sum" in program else 7 for program in programs]


def test_only_what_passed_is_correct() -> None:
    samples = [Judged("a", True), Judged("b", False), Judged("c", None), Judged("a", True)]
    found = CorrectPrograms("t", samples)
    assert found.programs == ("a", "a")
    assert (found.pool, found.unjudged) == (3, 1)
    with pytest.raises(AttributeError):
        found.programs = ("b",)  # type: ignore[misc]


def test_canonical_trees_join_renamed_copies_only() -> None:
    assert CanonicalTrees()("t", [LOOP, SUM, RENAMED, "def f(:"]) == [0, 1, 0, None]


def test_a_clusterer_sees_each_canonical_form_once() -> None:
    asked = Asked()
    found = labels_of(asked, "t", [LOOP, RENAMED, SUM, LOOP])
    assert asked.programs == [LOOP, SUM]
    assert found == {LOOP: 7, RENAMED: 7, SUM: None}
    assert sizes([LOOP, LOOP, RENAMED, SUM], found) == (3,)


def test_sizes_are_those_of_all_programs() -> None:
    labels = labels_of(CanonicalTrees(), "t", [LOOP, RENAMED, SUM])
    assert sizes([SUM, LOOP, RENAMED, LOOP], labels) == (3, 1)
    assert counts(["a", None, "a"]) == (2, 1)


def test_a_clusterer_that_loses_programs_is_refused() -> None:
    class Short:
        name = "short"

        def __call__(self, task: str, programs: Sequence[str]) -> list[int | None]:
            return [1]

    with pytest.raises(ValueError, match="short, t: 1 labels of 2 programs"):
        labels_of(Short(), "t", [LOOP, SUM])
