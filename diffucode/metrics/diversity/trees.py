"""Syntax trees: how many edits lie between two, and which chains of node types they have.

Trees are those of the canonical program (``tasks.syntax``): names, remarks and annotations make no
difference. A node is known by its type; of what a program does not define itself, also by its name, so
``sorted(xs)`` is not ``set(xs)``.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from diffucode.metrics.diversity.undefined import Figure, Undefined
from diffucode.tasks.syntax import canonical

LARGEST = 300
"""Nodes of a tree that is compared: two of them take about half a second."""
PATH = 3
"""Nodes of the longest vertical path."""
_OWN = re.compile(r"v\d+")

Paths = Counter[tuple[str, ...]]


class Tree(NamedTuple):
    """An ordered tree."""

    label: str
    children: tuple[Tree, ...] = ()

    @property
    def size(self) -> int:
        """Nodes."""
        return 1 + sum(child.size for child in self.children)


def tree_of(program: str) -> Tree | None:
    """The syntax tree of the canonical program; None where it does not parse."""
    source = canonical(program)
    return None if source is None else _tree(ast.parse(source))


def distance(one: Tree, other: Tree) -> int:
    """The fewest nodes to delete, insert or relabel to make one tree the other (Zhang and Shasha 1989)."""
    label_A, left_A = _postorder(one)
    label_B, left_B = _postorder(other)
    between: list[list[int]] = [[0] * len(label_B) for _ in label_A]
    for a in _keyroots(left_A):
        for b in _keyroots(left_B):
            _forests(a, b, (label_A, left_A), (label_B, left_B), between)
    return between[-1][-1]


def normalised_distance(one: Tree, other: Tree) -> Figure:
    """``distance`` over the nodes of both: 0 for equal trees, under 1 always.

    (Over the larger of the two, as some have it, it passes 1.) Undefined for trees over ``LARGEST``.
    """
    nodes = one.size, other.size
    if max(nodes) > LARGEST:
        return Undefined(f"a tree of more than {LARGEST} nodes")
    return 0.0 if one == other else distance(one, other) / sum(nodes)


def paths(tree: Tree, longest: int = PATH, shortest: int = 1) -> Paths:
    """How often each downward chain of labels occurs."""
    found: Paths = Counter()
    _walk(tree, (), longest, shortest, found)
    return found


def cosine(one: Paths, other: Paths) -> float:
    """The cosine of two counts; as a kernel it is positive semi-definite."""
    dot = sum(count * other[path] for path, count in one.items())
    return dot / math.sqrt(_square(one) * _square(other))


def _square(counts: Paths) -> int:
    return sum(count * count for count in counts.values())


def _walk(tree: Tree, above: tuple[str, ...], longest: int, shortest: int, found: Paths) -> None:
    chain = (*above, tree.label)[-longest:]
    for length in range(shortest, len(chain) + 1):
        found[chain[-length:]] += 1
    for child in tree.children:
        _walk(child, chain, longest, shortest, found)


def _tree(node: ast.AST) -> Tree:
    return Tree(_label(node), tuple(map(_tree, ast.iter_child_nodes(node))))


def _label(node: ast.AST) -> str:
    kind = type(node).__name__
    match node:
        case ast.Name(id=name) if not _OWN.fullmatch(name):
            return f"{kind} {name}"
        case ast.Attribute(attr=name) | ast.alias(name=name):
            return f"{kind} {name}"
    return kind


# --- Zhang and Shasha --------------------------------------------------------------------------

Ordered = tuple[Sequence[str], Sequence[int]]
"""Labels in postorder, and for each node the number of its leftmost leaf."""


def _postorder(tree: Tree) -> Ordered:
    labels: list[str] = []
    leftmost: list[int] = []

    def add(node: Tree) -> int:
        leaves = [add(child) for child in node.children]
        leaf = leaves[0] if leaves else len(labels)
        labels.append(node.label)
        leftmost.append(leaf)
        return leaf

    add(tree)
    return labels, leftmost


def _keyroots(leftmost: Sequence[int]) -> Iterator[int]:
    """The last node of each leftmost leaf, in postorder."""
    yield from sorted({leaf: node for node, leaf in enumerate(leftmost)}.values())


def _forests(a: int, b: int, one: Ordered, other: Ordered, between: list[list[int]]) -> None:
    """Distances of all forests that end in the subtrees of ``a`` and ``b``; trees' go to ``between``."""
    (label_A, left_A), (label_B, left_B) = one, other
    first_A, first_B = left_A[a], left_B[b]
    above = list(range(b - first_B + 2))
    rows = [above]
    for x in range(first_A, a + 1):
        whole = left_A[x] == first_A
        without, trees, label = rows[left_A[x] - first_A], between[x], label_A[x]
        row = [x - first_A + 1]
        for y in range(first_B, b + 1):
            at = y - first_B
            best = min(above[at + 1], row[at]) + 1
            if whole and left_B[y] == first_B:
                best = trees[y] = min(best, above[at] + (label != label_B[y]))
            else:
                best = min(best, without[left_B[y] - first_B] + trees[y])
            row.append(best)
        rows.append(row)
        above = row
