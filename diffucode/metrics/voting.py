"""Multi-temperature voting with early exit (Wu, Mirhoseini, Tambe 2025, arXiv:2510.02611).

    each round: new samples in every cell's pool
        inside       a cell is confident where its most frequent label has a share of ``inside`` or more
        across       all cells are confident, and their winners' most frequent has a share of ``across``
                     or more: the problem is easy, that label is the answer
        otherwise    another round; with the pools at their end it is hard: plain majority over all pools

The thresholds 0.8 and 1.0 are the paper's, by third parties' notes. What it leaves open is ours: rounds of
4, no vote below 8 samples in a cell, a tie is no confidence, the majority of a hard problem. A pool of one
sample (temperature 0 without a random order) is confident. The label None is of a program that does nothing
that could be compared: it counts in the shares and never wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from diffucode.errors import ConfigError
from diffucode.metrics.vote import majority

Pool = Sequence[Hashable | None]
"""The labels of a cell's samples, in the order in which they were drawn."""


@dataclass(frozen=True)
class Rule:
    """When a vote ends."""

    round: int = 4
    """Samples that each cell draws between two votes."""
    least: int = 8
    """Samples of each cell before the first vote."""
    inside: float = 0.8
    across: float = 1.0

    def __post_init__(self) -> None:
        if self.round < 1 or self.least < 1:
            raise ConfigError(
                f"round {self.round}, least {self.least}: expected samples, 1 or more of each"
            )
        if not (0 < self.inside <= 1 and 0 < self.across <= 1):
            raise ConfigError(
                f"inside {self.inside}, across {self.across}: expected shares over 0 and up to 1"
            )

    def drawn(self, rounds: int) -> int:
        """Samples of a cell that is not at its end, at the vote after so many rounds (the first is
        longer)."""
        return self.least + (rounds - 1) * self.round


class Winner(NamedTuple):
    """The sample that stands for the answer."""

    cell: int
    sample: int


class Election(NamedTuple):
    """What a vote came to."""

    winner: Winner | None
    """None where no sample could be compared."""
    easy: bool
    """Whether it ended early or with the last samples, by the rule; hard ones by plain majority."""
    used_T: tuple[int, ...]
    """Samples of each cell that were drawn."""


def decided(pools: Sequence[Pool], rule: Rule) -> Winner | None:
    """The answer, where these pools satisfy the rule; its first sample, of the first cell that has it."""
    winners = []
    for pool in pools:
        winner = majority(pool)
        if winner is None or not _confident(pool, pool[winner], rule.inside):
            return None
        winners.append(pool[winner])
    first = majority(winners)
    if first is None or not _confident(winners, winners[first], rule.across):
        return None
    return Winner(first, list(pools[first]).index(winners[first]))


def plain(pools: Sequence[Pool]) -> Winner | None:
    """The majority over all samples of all pools; of equally frequent labels, the first cell's first."""
    places = [Winner(cell, n) for cell, pool in enumerate(pools) for n in range(len(pool))]
    found = majority(list(chain.from_iterable(pools)))
    return None if found is None else places[found]


def elect(pools: Sequence[Pool], rule: Rule) -> Election:
    """The vote as if the pools had been drawn round by round.

    Raises ValueError for no pools, or one without samples.
    """
    if not pools or not all(pools):
        raise ValueError(f"a vote over {len(pools)} pools: expected some, each with a sample")
    longest = max(map(len, pools))
    rounds = 0
    while True:
        rounds += 1
        drawn = min(rule.drawn(rounds), longest)
        seen = [pool[:drawn] for pool in pools]
        used = tuple(map(len, seen))
        if (winner := decided(seen, rule)) is not None:
            return Election(winner, True, used)
        if drawn == longest:
            return Election(plain(seen), False, used)


class Tally(NamedTuple):
    """Early exit beside the majority over everything, over problems."""

    problems: int
    exits: int
    """Easy ones."""
    right: int
    """Of all problems, by the vote with early exit."""
    right_full: int
    """Of all problems, by plain majority over all samples."""
    false_exits: int
    """Easy ones whose answer is wrong."""
    lost: int
    """Of these, problems that the majority over all samples gets right."""
    used: float
    """Cost of the drawn samples."""
    full: float
    """Cost of all samples."""

    @property
    def saved(self) -> float:
        """Share of the cost that was not spent."""
        return 1 - self.used / self.full


class Ballot(NamedTuple):
    """The samples of one problem, cell by cell."""

    labels: Sequence[Pool]
    right: Sequence[Sequence[bool]]
    cost: Sequence[Sequence[float]]
    """Of each sample, in any unit."""


def tally(ballots: Sequence[Ballot], rule: Rule) -> Tally:
    """Count what early exit does to these problems."""
    rows = []
    for labels, right, cost in ballots:
        found, full = elect(labels, rule), plain(labels)
        hit, hit_full = (
            one is not None and right[one.cell][one.sample] for one in (found.winner, full)
        )
        used = sum(sum(each[:n]) for each, n in zip(cost, found.used_T, strict=True))
        false = found.easy and not hit
        rows.append(
            (1, found.easy, hit, hit_full, false, false and hit_full, used, sum(map(sum, cost)))
        )
    return Tally(*(sum(column) for column in zip(*rows, strict=True)))


def _confident(pool: Pool, label: Hashable, share: float) -> bool:
    counts = Counter(pool)
    tied = sum(other == counts[label] for one, other in counts.items() if one is not None) > 1
    return counts[label] / len(pool) >= share and not tied
