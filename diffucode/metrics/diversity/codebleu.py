"""CodeBLEU (Ren et al. 2020, arXiv:2009.10297) as a similarity of two Python programs.

    1/4 n-gram match        BLEU-4 of the tokens
    1/4 weighted match      the same as recall, a keyword five times any other token
    1/4 syntax match        subtrees of one that the other has, leaves and names left out
    1/4 data-flow match     uses and definitions of variables of one that the other has

Each part is read both ways and averaged: the published score is of a candidate against a reference, and
swapping the two may treble it. Where neither program has data flow there is none to match: that quarter is
left out and the others weigh a third each (the package codebleu takes no match for a full one). Syntax and
data flow are read by Python's own ``ast``, so nothing has to be compiled.
"""

from __future__ import annotations

import ast
import keyword
import math
from collections import Counter
from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple, TypeVar

from diffucode.metrics.diversity.ngrams import NO_MATCH, ORDERS, Tokens, bleu, ngrams, tokens_of
from diffucode.metrics.diversity.undefined import Figure, Undefined
from diffucode.tasks.syntax import plain

KEYWORD, OTHER = 1.0, 0.2
"""Weights of tokens."""

Flow = tuple[str, str, tuple[str, ...]]
"""A variable, how it comes about, and the variables that it comes from."""


class Match(NamedTuple):
    """The parts of CodeBLEU, each from 0 to 1."""

    ngram: float
    weighted: float
    syntax: float
    flow: float | None
    """None where neither program has data flow."""

    @property
    def score(self) -> float:
        return fmean(part for part in self if part is not None)


class Code(NamedTuple):
    """A program taken apart once, for many comparisons."""

    tokens: Tokens
    subtrees: Counter[str]
    flows: Counter[Flow]


def code_of(program: str) -> Code | None:
    """What ``match`` reads of a program; None where it does not parse."""
    source, tokens = plain(program), tokens_of(program)
    if source is None or tokens is None:
        return None
    tree = ast.parse(source)
    subtrees: Counter[str] = Counter()
    _shape(tree, subtrees)
    return Code(tokens, subtrees, Counter(_numbered(_Flows().of(tree))))


def codebleu(one: Code, other: Code) -> Figure:
    """The symmetric score: 1 for copies. Undefined where a program has no tokens."""
    if not (one.tokens and other.tokens):
        return Undefined("an empty program")
    return match(one, other).score


def match(one: Code, other: Code) -> Match:
    """The parts, each the mean of both directions."""
    flows = [share for share in _shares(one.flows, other.flows) if share is not None]
    trees = [share for share in _shares(one.subtrees, other.subtrees) if share is not None]
    return Match(
        ngram=fmean((bleu(one.tokens, [other.tokens]), bleu(other.tokens, [one.tokens]))),
        weighted=fmean(
            (weighted_recall(one.tokens, other.tokens), weighted_recall(other.tokens, one.tokens))
        ),
        syntax=fmean(trees),
        flow=fmean(flows) if flows else None,
    )


def weighted_recall(candidate: Tokens, reference: Tokens) -> float:
    """The share of the reference's n-grams that the candidate has, the geometric mean over n = 1 to 4.

    Single tokens are weighted. There is no penalty for short candidates, which recall is already (the
    published code compares lengths with 2, the length of a pair).
    """
    orders = range(1, min(ORDERS, len(reference)) + 1)
    if set(candidate).isdisjoint(reference):
        return 0.0
    recalls = []
    for n in orders:
        asked = Counter(ngrams(reference, n))
        found = asked & Counter(ngrams(candidate, n))
        weight = {gram: _weight(gram[0]) if n == 1 else 1.0 for gram in asked}
        total = math.fsum(weight[gram] * count for gram, count in asked.items())
        recalls.append((sum(weight[g] * c for g, c in found.items()) or NO_MATCH) / total)
    return math.exp(fmean(map(math.log, recalls)))


def _weight(token: str) -> float:
    return KEYWORD if keyword.iskeyword(token) else OTHER


T = TypeVar("T", Flow, str)


def _shares(one: Counter[T], other: Counter[T]) -> Iterator[float | None]:
    """What part of the items of each the other has too; None for one without items."""
    common = (one & other).total()
    for items in (one, other):
        yield common / items.total() if items else None


def _shape(node: ast.AST, found: Counter[str]) -> str:
    """The types of a subtree as text; those that are no leaves are counted in ``found``."""
    inner = [_shape(child, found) for child in ast.iter_child_nodes(node)]
    shape = f"{type(node).__name__}({','.join(inner)})"
    if inner and not isinstance(node, ast.Name):
        found[shape] += 1
    return shape


# --- data flow ---------------------------------------------------------------------------------


class _Flows(ast.NodeVisitor):
    """Where the value of each variable comes from, in the order of the program.

    A use comes from the variable's definitions before it; a definition is computed from the variables on
    its right-hand side, a loop variable from what it goes over.
    """

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.flows: list[Flow] = []

    def of(self, tree: ast.AST) -> list[Flow]:
        self.visit(tree)
        return self.flows

    def visit_arg(self, node: ast.arg) -> None:
        self.bound.add(node.arg)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        elif node.id in self.bound:
            self.flows.append((node.id, "comes from", (node.id,)))

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assigned(node.targets, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assigned([node.target], node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        own = [node.target] if isinstance(node.target, ast.Name) else []
        self._assigned([node.target], node.value, [one.id for one in own])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._assigned([node.target], node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    visit_AsyncFor = visit_For

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._assigned([node.target], node.iter)
        for condition in node.ifs:
            self.visit(condition)

    def _comprehended(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        for generator in node.generators:
            self.visit(generator)
        values = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for value in values:
            self.visit(value)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehended

    def _assigned(
        self, targets: list[ast.expr], value: ast.expr, own: list[str] | None = None
    ) -> None:
        self.visit(value)
        read = [*(own or []), *self._read(value)]
        for target in targets:
            self.visit(target)
            for node in ast.walk(target):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and read:
                    self.flows.append((node.id, "computed from", tuple(read)))

    def _read(self, value: ast.expr) -> list[str]:
        names = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
        return [name for name in dict.fromkeys(names) if name in self.bound]


def _numbered(flows: list[Flow]) -> Iterator[Flow]:
    """The flows with variables numbered in the order in which they appear."""
    number: dict[str, str] = {}
    for name, relation, sources in flows:
        for one in (*sources, name):
            number.setdefault(one, f"v{len(number)}")
        yield number[name], relation, tuple(number[one] for one in sources)
