"""Chi-square tests on counted outcomes, with rare outcomes pooled.

Every caller fixes its seed and asks for p > 0.001: a correct program fails such a test for one seed
in a thousand, so a seed that passes once passes for ever.
"""

from collections import Counter
from collections.abc import Hashable, Mapping

import numpy as np
from scipy.stats import chi2_contingency, chisquare


def p_of_law(counts: Mapping[Hashable, int], law: Mapping[Hashable, float]) -> float:
    """p-value of "these counts were drawn from this law"; an impossible outcome gives 0."""
    if not set(counts) <= {outcome for outcome, p in law.items() if p > 0}:
        return 0.0
    total = sum(counts.values())
    pooled = _pool({o: (p * total, counts.get(o, 0)) for o, p in law.items()}, at_least=5)
    if len(pooled) < 2:
        return 1.0
    expected, seen = np.array(pooled).T
    return float(chisquare(seen, expected * (seen.sum() / expected.sum())).pvalue)


def p_of_same_law(a: Counter, b: Counter) -> float:
    """p-value of "both were drawn from one law"."""
    pooled = _pool({o: (n, a[o], b[o]) for o, n in (a + b).items()}, at_least=10)
    if len(pooled) < 2:
        return 1.0
    table = np.array(pooled)[:, 1:]
    return float(chi2_contingency(table.T, correction=False).pvalue)


def _pool(cells: dict[Hashable, tuple], at_least: float) -> list[tuple]:
    """Cells by ascending first entry, neighbours added up until it is ``at_least`` that much.

    Ties go by the name of the outcome: were they broken by the counts, chance would be sorted into
    the pools and look like a difference.
    """
    pooled: list[tuple] = []
    rest: tuple = ()
    for _, cell in sorted(cells.items(), key=lambda item: (item[1][0], repr(item[0]))):
        rest = tuple(map(sum, zip(rest, cell, strict=True))) if rest else cell
        if rest[0] >= at_least:
            pooled.append(rest)
            rest = ()
    if rest and pooled:
        pooled[-1] = tuple(map(sum, zip(pooled[-1], rest, strict=True)))
    return pooled
