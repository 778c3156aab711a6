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
    cells = sorted((p * total, counts.get(outcome, 0)) for outcome, p in law.items())
    pooled = _pool(cells)
    if len(pooled) < 2:
        return 1.0
    expected, seen = np.array(pooled).T
    return float(chisquare(seen, expected * (seen.sum() / expected.sum())).pvalue)


def p_of_same_law(a: Counter, b: Counter) -> float:
    """p-value of "both were drawn from one law"."""
    both = a + b
    cells = sorted((n, a[outcome], b[outcome]) for outcome, n in both.items())
    pooled = _pool(cells, at_least=10)
    if len(pooled) < 2:
        return 1.0
    table = np.array(pooled)[:, 1:]
    return float(chi2_contingency(table.T, correction=False).pvalue)


def _pool(cells: list[tuple], at_least: float = 5) -> list[tuple]:
    """Ascending cells, neighbours added up until each first entry is ``at_least`` that much."""
    pooled, rest = [], (0,) * len(cells[0])
    for cell in cells:
        rest = tuple(x + y for x, y in zip(rest, cell, strict=True))
        if rest[0] >= at_least:
            pooled.append(rest)
            rest = (0,) * len(rest)
    if rest[0] and pooled:
        pooled[-1] = tuple(x + y for x, y in zip(pooled[-1], rest, strict=True))
    return pooled
