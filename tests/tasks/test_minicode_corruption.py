"""Noise on purpose: what is spoilt is really wrong, as often as asked, and the truth is kept."""

from dataclasses import replace
from random import Random
from typing import get_args

import pytest
from scipy.stats import binomtest

from diffucode.errors import TaskError
from diffucode.tasks import minicode
from diffucode.tasks.minicode import behaviour, corruption, detect, draws, phrasing, splits
from diffucode.tasks.minicode.corruption import Kind, Labelled, Noisy
from diffucode.tasks.minicode.phrasing import GENERIC
from diffucode.tasks.problem import Case

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def items() -> list[Labelled]:
    return [Labelled.of(p) for p in minicode.problems("train", 8, 60)]


def spoilt(kind: Kind, items: list[Labelled]) -> list[Noisy]:
    return minicode.corrupt(kind, 1.0, seed=0)(items)


def docstring(item: Labelled) -> str:
    return item.prompt.split('"""')[1]


def passes(prompt: str, body: str, item: Labelled) -> bool:
    name = prompt.partition("(")[0].removeprefix("def ")
    call = behaviour.function(prompt + body, name)
    return behaviour.outcomes(call, [c.arguments for c in item.cases]) == [
        c.expected for c in item.cases
    ]


def test_labelled_items_are_true(items: list[Labelled]) -> None:
    for item in items:
        assert item.cases and passes(item.prompt, item.body, item)
        assert (item.domain, item.band) == (
            detect.domain(item.prompt),
            detect.band(docstring(item)),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_truth_is_kept_apart_and_everything_spoilt_differs(
    kind: Kind, items: list[Labelled]
) -> None:
    found = spoilt(kind, items)
    assert [n.truth for n in found] == items and all(n.corrupted for n in found)
    assert all(n.item != n.truth and n.item.id == n.truth.id for n in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_spoils_the_same_whoever_is_beside(kind: Kind, items: list[Labelled]) -> None:
    spoil = minicode.corrupt(kind, 0.5, seed=3)
    assert spoil(items) == minicode.corrupt(kind, 0.5, seed=3)(items)
    assert spoil(items[::-1])[::-1] == spoil(items)
    assert spoil(items) != minicode.corrupt(kind, 0.5, seed=4)(items)


def test_the_rate_is_what_was_asked(items: list[Labelled]) -> None:
    for rate in (0.1, 0.3):
        found = [n for seed in range(20) for n in minicode.corrupt("tag", rate, seed)(items)]
        hits = sum(n.corrupted for n in found)
        assert binomtest(hits, len(found), rate).pvalue > 1e-4
        assert all((n.item == n.truth) == (not n.corrupted) for n in found)
    assert not any(n.corrupted for n in minicode.corrupt("tag", 0.0, 0)(items))


def test_a_wrong_tag_is_one_that_detectors_refute(items: list[Labelled]) -> None:
    fields = set()
    for n in spoilt("tag", items):
        (field,) = [k for k, v in vars(n.truth).items() if vars(n.item)[k] != v]
        fields.add(field)
        program = n.item.prompt + n.item.body
        seen = {
            "domain": detect.domain(program),
            "band": detect.band(docstring(n.item)),
            "algorithm": detect.algorithm(program),
        }
        assert seen[field] != vars(n.item)[field]
    assert fields == {"domain", "band", "algorithm"}


def test_a_wrong_docstring_asks_for_something_else(items: list[Labelled]) -> None:
    """It is the true wording of a function that takes the same arguments and fails the item's cases."""
    for n in spoilt("docstring", items):
        assert (n.item.body, n.item.cases) == (n.truth.body, n.truth.cases)
        rng = Random(f"corrupt/docstring/0/{n.item.id}")
        rng.random()  # whether to spoil it
        other = corruption.otherwise(n.truth, rng)
        assert phrasing.docstring(other, rng) == docstring(n.item) != docstring(n.truth)
        head, body = draws.head(other, "f"), splits.right_body(other)
        assert (
            body is not None
            and head.partition("(")[2] == n.item.prompt.split("\n")[0].partition("(")[2] + "\n"
        )
        assert not passes(head, body, n.truth)


def test_a_wrong_docstring_is_nearly_right_as_a_rule(items: list[Labelled]) -> None:
    """One operation or constant is exchanged, where that makes a difference."""
    near = [
        len(set(detect.operations(docstring(n.item))) ^ set(detect.operations(docstring(n.truth))))
        == 0
        and detect.band(docstring(n.item)) == n.truth.band
        for n in spoilt("docstring", items)
    ]
    assert sum(near) >= 0.7 * len(near)


def test_a_wrong_output_is_not_the_true_one(items: list[Labelled]) -> None:
    for n in spoilt("output", items):
        assert passes(n.truth.prompt, n.truth.body, n.truth)
        differing = [
            (a, b)
            for a, b in zip(n.item.cases, n.truth.cases, strict=True)
            if a.expected != b.expected
        ]
        assert len(differing) == 1 and differing[0][0].arguments == differing[0][1].arguments
        assert not passes(n.item.prompt, n.item.body, n.item)


def test_an_output_is_wrong_even_where_all_are_equal(items: list[Labelled]) -> None:
    for value in (True, 0, 1, "", [], [3], {}, {"a": 1}, None):
        same = tuple(Case((i,), value) for i in range(3))
        (n,) = spoilt("output", [replace(items[0], cases=same)])
        assert sum(c.expected != value for c in n.item.cases) == 1


def test_a_vague_item_says_nothing_of_what_to_do(items: list[Labelled]) -> None:
    for n in spoilt("vague", items):
        assert detect.operations(docstring(n.item)) == [] and not detect.in_scope(n.item.prompt)
        assert n.item.prompt.partition("(")[0].removeprefix("def ") in GENERIC
        assert passes(n.item.prompt, n.item.body, n.truth)


def test_out_of_scope_items_are_recognised(items: list[Labelled]) -> None:
    for n in spoilt("scope", items):
        assert not detect.in_scope(n.item.prompt + n.item.body)
        compile(n.item.prompt + n.item.body, "scope", "exec")


def test_no_template_of_noise_passes_for_ours() -> None:
    for head, said, body in corruption.OUT_OF_SCOPE:
        assert not detect.in_scope(f'def {head}:\n    """{said}"""\n    {body}\n')
    for text in corruption.VAGUE:
        assert detect.operations(text.format("nums and k")) == []


def test_unknown_kinds_and_rates_are_refused() -> None:
    with pytest.raises(TaskError, match="tag, docstring, output, vague, scope"):
        minicode.corrupt("typo", 0.1, 0)  # type: ignore[arg-type]
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(TaskError, match="a share from 0 to 1"):
            minicode.corrupt("tag", rate, 0)
