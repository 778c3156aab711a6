"""Programs as tokens, trees and kernels: the worked numbers, and what a similarity has to obey."""

import math
from functools import cache
from itertools import combinations
from random import Random
from typing import Any

import numpy as np
import pytest

from diffucode.metrics.diversity import trees
from diffucode.metrics.diversity.codebleu import code_of, codebleu, match, weighted_recall
from diffucode.metrics.diversity.ngrams import bleu, distinct_n, self_bleu, tokens_of
from diffucode.metrics.diversity.pairs import over_pairs
from diffucode.metrics.diversity.semantic import fixed, pairwise
from diffucode.metrics.diversity.trees import Tree, cosine, distance, normalised_distance, tree_of
from diffucode.metrics.diversity.undefined import Undefined
from diffucode.metrics.diversity.vendi import vendi

THREE = [line.split() for line in ("return a + b", "return b + a", "return a + b")]
LOOP = """\
def total(values):
    found = 0
    for value in values:
        found += value
    return found
"""
RENAMED = '''\
def summed(xs: list[int]) -> int:
    """Their sum."""
    s: int = 0
    for x in xs:  # one after the other
        s += x
    return s
'''
SUM = "def f(xs):\n    return sum(xs)\n"


def near(x: float) -> object:
    return pytest.approx(x, abs=6e-7)


def codes(*programs: str) -> list[Any]:
    return [code_of(program) for program in programs]


# --- tokens --------------------------------------------------------------------------------------


def test_worked_numbers_of_tokens() -> None:
    assert distinct_n(THREE, 1) == near(0.333333)
    assert distinct_n(THREE, 2) == near(0.666667)
    assert bleu(THREE[1], [THREE[0], THREE[2]]) == near(0.113622)
    assert bleu(THREE[0], [THREE[1], THREE[2]]) == 1
    assert self_bleu(THREE) == near(0.704541)


def test_bleu_of_short_and_of_strange_candidates() -> None:
    assert bleu(["a", "b"], [["a", "b"]]) == 1
    assert bleu(["a", "b"], [["a", "b", "c", "d"]]) == pytest.approx(math.exp(-1))
    assert bleu(["a", "b"], [["a", "b", "c", "d"], ["a", "x"]]) == 1  # the closest length counts
    assert bleu(["a"], [["b"]]) == 0 == bleu([], [["b"]])
    assert bleu(["a", "a", "a"], [["a", "b", "c"]]) == pytest.approx(
        (1 / 3 * 0.1 / 2 * 0.1) ** (1 / 3)
    )  # clipped: "a" matches once


def test_tokens_are_those_of_the_code() -> None:
    tokens = tokens_of(RENAMED)
    assert tokens is not None
    assert " ".join(tokens) == "def summed ( xs ) : s = 0 for x in xs : s += x return s"
    assert tokens_of("def f(:") is None


def test_too_few_programs_are_undefined() -> None:
    assert self_bleu(THREE[:1]) == Undefined("fewer than 2 programs")
    assert distinct_n([["a"]], 2) == Undefined("no 2 tokens in a row")
    with pytest.raises(ValueError, match="distinct-0"):
        distinct_n(THREE, 0)


# --- CodeBLEU ------------------------------------------------------------------------------------


def test_codebleu_of_the_worked_example() -> None:
    one, other = codes(
        "def sum ( first , second ) :\n return second + first",
        "def add ( a , b ) :\n return a + b",
    )
    assert bleu(other.tokens, [one.tokens]) == pytest.approx(0.1041, abs=1e-4)
    assert weighted_recall(other.tokens, one.tokens) == pytest.approx(0.1109, abs=1e-4)
    assert codebleu(one, other) == near(0.553784)
    assert match(one, other)[2:] == (1, 1)


def test_codebleu_is_symmetric_and_one_for_copies() -> None:
    loop, renamed, built_in = codes(LOOP, RENAMED, SUM)
    assert codebleu(loop, loop) == codebleu(built_in, built_in) == near(1)
    assert codebleu(loop, built_in) == codebleu(built_in, loop)
    assert match(loop, renamed).syntax == match(loop, renamed).flow == 1
    assert 0 < float(codebleu(loop, built_in)) < float(codebleu(loop, renamed)) < 1  # type: ignore[arg-type]


def test_codebleu_does_not_invent_data_flow() -> None:
    one, other = codes("def f():\n    return 1\n", "def g():\n    return open\n")
    found = match(one, other)
    assert found.flow is None
    assert found.score == pytest.approx((found.ngram + found.weighted + found.syntax) / 3)
    assert match(one, code_of(LOOP)).flow == 0  # type: ignore[arg-type]
    assert codebleu(code_of(""), one) == Undefined("an empty program")  # type: ignore[arg-type]
    assert code_of("def f(:") is None


def test_data_flow_tells_where_values_come_from() -> None:
    swapped = LOOP.replace("found += value", "found = value")
    assert match(*codes(LOOP, swapped)).flow < 1  # type: ignore[operator]
    one = "def f(a, b):\n    c = a\n    return c\n"
    other = "def f(a, b):\n    c = a\n    return b\n"
    same = "def g(x, y):\n    z = x\n    return z\n"
    assert match(*codes(one, same)).flow == 1
    assert match(*codes(one, other)).flow < 1  # type: ignore[operator]
    inside = "def f(xs):\n    return [x for x in xs]\n"
    outside = "def f(xs):\n    return [xs for x in xs]\n"
    assert match(*codes(inside, outside)).flow < 1  # type: ignore[operator]


# --- trees ---------------------------------------------------------------------------------------


def chain(n: int) -> Tree:
    tree = Tree("x")
    for _ in range(n - 1):
        tree = Tree("x", (tree,))
    return tree


def test_worked_numbers_of_trees() -> None:
    star = Tree("x", (Tree("x"),) * 19)
    assert distance(chain(20), star) == 36
    assert normalised_distance(chain(20), star) == near(0.9)  # over the larger: 1.8
    # The sheet's sum is not printed; this one has its sizes, 26 and 10 nodes, and its distance.
    loop = tree_of("def f(xs, n):\n t = 0\n for x in xs:\n  t = t + x\n return t")
    built_in = tree_of(SUM)
    assert loop is not None and built_in is not None
    assert (loop.size, built_in.size, distance(loop, built_in)) == (26, 10, 19)
    assert normalised_distance(loop, built_in) == near(0.527778)


def test_names_and_remarks_make_no_difference_but_what_is_called_does() -> None:
    assert tree_of(LOOP) == tree_of(RENAMED) != tree_of(SUM)
    one, other = tree_of(SUM), tree_of(SUM.replace("sum(", "max("))
    assert one is not None and other is not None and distance(one, other) == 1
    assert tree_of("def f(:") is None


def drawn(rng: Random, largest: int) -> Tree:
    """A tree of at most so many nodes."""
    tree = Tree(rng.choice("ab"))
    for _ in range(rng.randrange(largest)):
        tree = grown(tree, rng)
    return tree


def grown(tree: Tree, rng: Random) -> Tree:
    """The tree with one leaf more, somewhere."""
    children = list(tree.children)
    if children and rng.random() < 0.6:
        at = rng.randrange(len(children))
        children[at] = grown(children[at], rng)
    else:
        children.insert(rng.randint(0, len(children)), Tree(rng.choice("ab")))
    return Tree(tree.label, tuple(children))


@cache
def edits(one: tuple[Tree, ...], other: tuple[Tree, ...]) -> int:
    """The edit distance of forests, by its definition."""
    if not one or not other:
        return sum(tree.size for tree in (*one, *other))
    (*before, last), (*ahead, end) = one, other
    return min(
        edits((*before, *last.children), other) + 1,
        edits(one, (*ahead, *end.children)) + 1,
        edits(tuple(before), tuple(ahead))
        + edits(last.children, end.children)
        + (last.label != end.label),
    )


def test_distance_is_the_fewest_edits() -> None:
    rng = Random(0)
    for _ in range(150):
        one, other = drawn(rng, 7), drawn(rng, 7)
        assert distance(one, other) == edits((one,), (other,)) == distance(other, one)


def test_large_trees_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert normalised_distance(chain(trees.LARGEST), chain(trees.LARGEST)) == 0
    found = normalised_distance(chain(trees.LARGEST + 1), chain(2))
    assert found == Undefined(f"a tree of more than {trees.LARGEST} nodes")


def test_vertical_paths() -> None:
    tree = Tree("a", (Tree("b", (Tree("c"),)), Tree("b")))
    assert trees.paths(tree, 2) == {
        ("a",): 1, ("b",): 2, ("c",): 1, ("a", "b"): 2, ("b", "c"): 1,
    }  # fmt: skip
    assert trees.paths(tree, 3, 3) == {("a", "b", "c"): 1}
    assert cosine(trees.paths(tree), trees.paths(tree)) == pytest.approx(1)
    assert cosine(trees.paths(Tree("x")), trees.paths(Tree("y"))) == 0


# --- pairs, kernels, behaviours ------------------------------------------------------------------


def test_copies_stay_in_the_mean_over_pairs() -> None:
    asked: list[tuple[str, str]] = []

    def differ(one: str, other: str) -> float:
        asked.append((one, other))
        return float(one != other)

    assert over_pairs("aaab", differ) == 3 / 6  # over different programs alone it is 1
    assert len(asked) == 2
    assert over_pairs("a", differ) == Undefined("fewer than 2 programs")
    unsure = Undefined("a tree too large")
    assert over_pairs("aab", lambda one, other: 0.0 if one == other else unsure) == unsure


def test_worked_numbers_of_vendi() -> None:
    kernel = [[1, 0.5], [0.5, 1]]
    assert vendi(kernel) == near(1.754765)
    assert vendi(kernel, 2) == near(1.6)
    assert vendi(np.eye(3)) == near(3)
    assert vendi(np.ones((3, 3))) == near(1)
    same = [
        [float((i < 6) == (j < 6) and (i < 9) == (j < 9)) for j in range(10)] for i in range(10)
    ]
    assert vendi(same) == near(2.454556)


def test_kernels_that_are_none() -> None:
    distances = np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]])
    assert isinstance(vendi(distances), Undefined)
    assert vendi(np.zeros((0, 0))) == Undefined("no program")
    slightly = np.array([[1, 0.99, 0.95], [0.99, 1, 0.99], [0.95, 0.99, 1]])
    assert np.linalg.eigvalsh(slightly).min() < 0
    assert 1 < float(vendi(slightly)) < 1.2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ones on its diagonal"):
        vendi([[2, 0], [0, 1]])
    with pytest.raises(ValueError, match="shape"):
        vendi([[1, 0]])
    with pytest.raises(ValueError, match="order"):
        vendi(np.eye(2), -1)


def test_worked_numbers_of_effective_semantic_diversity() -> None:
    labels = ["A", "A", "B", None, None, "C"]
    assert fixed(labels) == near(0.5)
    assert pairwise(labels) == near(0.333333)
    assert pairwise(labels, "one") == near(0.866667)
    by_hand = [
        (one, other) for one, other in combinations(labels, 2) if one != other and (one or other)
    ]
    assert pairwise(labels, "one") == len(by_hand) / 15
    assert pairwise([None, None], "one") == 0
    assert fixed([]) == Undefined("no sample")
    assert pairwise(["A"]) == Undefined("fewer than 2 samples")
