"""Programs as sequences of tokens: how many n-grams repeat, and how much one program foretells another.

    distinct_n    different n-grams over all n-grams (Li et al. 2016)
    bleu          BLEU-4 of a program against others (Papineni et al. 2002)
    self_bleu     its mean over a set, each program against the rest (Zhu et al. 2018)

distinct-n falls and self-BLEU rises with the number of programs: compare sets of equal size.
"""

from __future__ import annotations

import io
import math
import tokenize
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from diffucode.metrics.diversity.undefined import Figure, Undefined
from diffucode.tasks.syntax import plain

ORDERS = 4
NO_MATCH = 0.1
"""What counts instead of no common n-gram of an order ("method1" of Chen and Cherry 2014, as nltk has it)."""
_LAYOUT = {
    tokenize.NEWLINE,
    tokenize.NL,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.COMMENT,
}

Tokens = Sequence[str]


def tokens_of(program: str) -> tuple[str, ...] | None:
    """The tokens of Python, without layout, remarks, docstrings and annotations; None if it does not parse.

    The docstring is the prompt's: with it all programs of a task would look alike.
    """
    source = plain(program)
    if source is None:
        return None
    read = tokenize.generate_tokens(io.StringIO(source).readline)
    return tuple(token.string for token in read if token.type not in _LAYOUT)


def distinct_n(programs: Sequence[Tokens], n: int) -> Figure:
    """The share of different n-grams among all n-grams of the programs together."""
    if n < 1:
        raise ValueError(f"distinct-{n}: expected n >= 1")
    found = [gram for tokens in programs for gram in ngrams(tokens, n)]
    return len(set(found)) / len(found) if found else Undefined(f"no {n} tokens in a row")


def bleu(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """BLEU-4: the geometric mean of clipped n-gram precisions, with the penalty for short candidates.

    An order without a match counts ``NO_MATCH`` matches. Orders over the candidate's length are left out
    (nltk scores a copy of three tokens 0.56). Nothing in common is 0.
    """
    if set(candidate).isdisjoint(token for one in references for token in one):
        return 0.0
    orders = range(1, min(ORDERS, len(candidate)) + 1)
    precisions = [_precision(candidate, references, n) for n in orders]
    length = len(candidate)
    closest = min((len(one) for one in references), key=lambda n: (abs(n - length), n))
    brevity = min(1.0, math.exp(1 - closest / length))
    return brevity * math.exp(fmean(map(math.log, precisions)))


def self_bleu(programs: Sequence[Tokens]) -> Figure:
    """The mean BLEU of each program with all others as its references; 1 minus it is a diversity."""
    if len(programs) < 2:
        return Undefined("fewer than 2 programs")
    return fmean(
        bleu(one, [*programs[:number], *programs[number + 1 :]])
        for number, one in enumerate(programs)
    )


def ngrams(tokens: Tokens, n: int) -> list[tuple[str, ...]]:
    """The runs of ``n`` tokens, in their order."""
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _precision(candidate: Tokens, references: Sequence[Tokens], n: int) -> float:
    counts = Counter(ngrams(candidate, n))
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= Counter(ngrams(reference, n))
    return ((counts & most).total() or NO_MATCH) / counts.total()
