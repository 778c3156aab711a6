"""No two problems of different splits are twins, over drawn problems and ten thousand fresh ones."""

from concurrent.futures import Executor
from dataclasses import replace
from random import Random

import pytest

from diffucode.tasks import minicode
from diffucode.tasks.minicode import splits
from diffucode.tasks.minicode.compose import BANDS, DOMAINS, draw
from diffucode.tasks.minicode.disjoint import Mark, fingerprint, kinds, marks, meet
from diffucode.tasks.minicode.draws import of, prompt
from diffucode.tasks.minicode.lower import solutions
from diffucode.tasks.problem import Problem, Reference

Marked = list[tuple[str, list[Mark]]]
FRESH, AT_ONCE = 10_000, 250
UNSEEN = 0.5
"""Share of the draws with an unseen operation; most of them do not fall into ood."""


def marked(problems: list[Problem]) -> Marked:
    return [(p.id, marks(p)) for p in problems]


def fresh(seed: int) -> Marked:
    """Marks of problems of all splits: as many as are drawn for one split, and none is thrown away."""
    rng = Random(f"fresh/{seed}")
    found: Marked = []
    while len(found) < AT_ONCE:
        unseen = rng.random() < UNSEEN
        c = draw(rng, rng.choice(DOMAINS), rng.choice(BANDS), unseen=unseen)
        split = splits.character(c).split
        if not (split and splits.sound(c) and (settled := splits.settle(c, rng))):
            continue
        c = settled
        references = tuple(
            Reference(s.body, s.algorithm, s.rate, not s.flawed) for s in solutions(c, "f")
        )
        id = f"minicode/{split}/{seed}/{len(found)}"
        found += marked(
            [Problem(id, prompt(c, "f", ""), "f", references, c.signature, c.domain, c.band)]
        )
    return found


def test_the_fresh_ones_are_chosen_as_problems_are(problems: dict[str, list[Problem]]) -> None:
    """Drawn problems satisfy what the fresh ones are chosen by."""
    for split, drawn in problems.items():
        for p in drawn[:25]:
            c = of(p.id).composition
            assert splits.character(c).split == split
            assert splits.sound(c) and splits.fits(c)
            assert (c.signature, c.kinds) == (p.signature, kinds(p))
            assert splits.fingerprint(c) == fingerprint(p)


@pytest.mark.slow
def test_splits_share_nothing_over_drawn_and_ten_thousand_fresh_problems(
    problems: dict[str, list[Problem]], pool: Executor
) -> None:
    drawn = [ps[i : i + 50] for ps in problems.values() for i in range(0, len(ps), 50)]
    found: Marked = []
    for part in (*pool.map(marked, drawn), *pool.map(fresh, range(FRESH // AT_ONCE))):
        found += part
    counts = {split: sum(id.split("/")[1] == split for id, _ in found) for split in minicode.SPLITS}
    assert sum(counts.values()) >= FRESH and min(counts.values()) >= 500, counts
    assert [twin for twin in meet(found)] == []


@pytest.fixture
def apart() -> list[Problem]:
    return [*minicode.problems("train", 6, 12), *minicode.problems("ood", 6, 12)]


def test_inside_a_split_twins_are_welcome(apart: list[Problem]) -> None:
    first = apart[0]
    assert minicode.twins([*apart, replace(first, id="minicode/train/6/99")]) == []


def test_a_planted_signature_is_found(apart: list[Problem]) -> None:
    found = 0
    for one in apart[:12]:
        for other in apart[12:]:
            if kinds(one) == kinds(other) and len(kinds(one)) == 1:
                planted = replace(other, id="minicode/dev/6/0", signature=one.signature)
                assert minicode.twins([one, planted]) == [
                    ("signature", one.id, planted.id, one.signature)
                ]
                found += 1
    assert found


def test_planted_behaviour_is_found(apart: list[Problem]) -> None:
    """The same function in other words, under another signature."""
    for one in apart:
        argument = one.prompt.partition("(")[2].partition(")")[0]
        body = one.reference.replace("    return ", f"    spare = ({argument},)\n    return ", 1)
        planted = replace(
            one,
            id="minicode/dev/6/0",
            signature=one.signature + ".other",
            references=(Reference(body, "builtin", 1.0, True),),
        )
        found = minicode.twins([*apart, planted])
        assert [(t.kind, t.one, t.other) for t in found] == [("behaviour", one.id, planted.id)]


def test_planted_syntax_is_found(apart: list[Problem]) -> None:
    """A rare reference that is spelled like one elsewhere, by other names."""
    for one, other in zip(apart, apart[::-1], strict=True):
        if kinds(one) != kinds(other) or len(kinds(one)) > 1:
            continue
        argument = one.prompt.partition("(")[2].partition(")")[0]
        planted = replace(
            other,
            id="minicode/dev/6/0",
            signature=other.signature + ".other",
            prompt=one.prompt.replace(one.entry_point + "(", "renamed(", 1),
            entry_point="renamed",
            references=(
                Reference(f"    return {argument}\n", "builtin", 0.6, True),
                Reference(
                    one.reference.replace(one.entry_point + "(", "renamed("), "sort", 0.4, True
                ),
            ),
        )
        found = minicode.twins([*apart, planted])
        assert ("syntax", one.id, planted.id) in [(t.kind, t.one, t.other) for t in found]
        return
    pytest.fail("no pair of problems takes the same arguments")
