"""Rows to estimates. Runs and signatures are resampled (``metrics.crossed``); a base's one run is not.

Problems that the sandbox failed on in one run are left out of everything that this run is compared in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from diffucode.metrics.crossed import (
    Crossed,
    Decision,
    Floats,
    Table,
    crossed,
    difference,
    holm,
    mean,
)
from diffucode.metrics.gains import FAILURE, Kind, Moves, State, gain, moves, state
from diffucode.metrics.passk import pass_at_k
from diffucode.metrics.vote import majority
from diffucode.studies.plan import Arm, Study, Voting
from diffucode.studies.rows import Row, Votes, by_arm

Value = Callable[[Row], Mapping[str, float]]
"""A number for each problem of a run, by its id."""


class Compared(NamedTuple):
    """A comparison of the family."""

    arm: str
    against: str
    found: Crossed | None
    """None where an arm has no rows."""
    adjusted: float
    decision: Decision


class Vote(NamedTuple):
    """The majority of k samples."""

    samples: int
    found: Crossed
    positions: float
    """Through the model, all problems together."""


@dataclass(frozen=True)
class Found:
    """A study and the rows that there are."""

    study: Study
    rows: Mapping[str, Sequence[Row]]
    """Of each arm that has some, by seed."""

    @classmethod
    def of(cls, study: Study, rows: Sequence[Row]) -> Found:
        return cls(study, by_arm(rows))

    def collapsed(self, row: Row) -> bool:
        """Whether a run left no model, or one far below its base."""
        base = self.rows.get(self.study.base_of(self.study.arm(row.arm)).name)
        if row.collapsed is not None or not base:
            return row.collapsed is not None
        own, start = (passed("usual")(one) for one in (row, base[0]))
        if not own or not start:
            return False
        return _mean(own) < self.study.collapse * _mean(start)

    # --- estimates -----------------------------------------------------------------------------

    def estimate(
        self, statistic: Callable[..., Floats], *asked: tuple[str, Value]
    ) -> Crossed | None:
        """A statistic of arms' values; None where one has no values at all."""
        taken = [[value(row) for row in self.rows.get(name, ())] for name, value in asked]
        if any(not runs or not all(runs) for runs in taken):
            return None
        known = set.intersection(*(set(run) for runs in taken for run in runs))
        order = [id for id in taken[0][0] if id in known]
        if not order:
            return None
        tables = [
            Table(
                np.array([[run[id] for id in order] for run in runs], dtype=np.float64),
                None if self.study.arm(name).role == "base" else name,
            )
            for (name, _), runs in zip(asked, taken, strict=True)
        ]
        signature = self._signatures()
        clusters = [signature[id] for id in order]
        return crossed(statistic, tables, clusters, self.study.seed, self.study.resamples)

    def share(self, arm: str, value: Value) -> Crossed | None:
        return self.estimate(mean, (arm, value))

    def against(self, arm: str, other: str, value: Value) -> Crossed | None:
        return self.estimate(difference, (arm, value), (other, value))

    def comparisons(self) -> list[Compared]:
        """The family, with Holm's correction."""
        asked = self.study.comparisons
        value = passed(self.study.pace)
        found = [self.against(one.arm, one.against, value) for one in asked]
        adjusted = holm([float("nan") if one is None else one.p for one in found])
        return [
            Compared(
                pair.arm,
                pair.against,
                one,
                p,
                "not resolved" if one is None else one.decision(p),
            )
            for pair, one, p in zip(asked, found, adjusted, strict=True)
        ]

    def gains(self, arm: Arm, pace: str) -> dict[Kind, Crossed | None]:
        """What the gain over the base consists of; the parts add up to it."""
        base = self.rows.get(self.study.base_of(arm).name, ())
        before = states(pace)(base[0]) if base else {}

        def part(kind: Kind) -> Value:
            def of(row: Row) -> Mapping[str, float]:
                after = states(pace)(row)
                return {id: gain(kind, before[id], after[id]) for id in after if id in before}

            return of

        return {kind: self.share(arm.name, part(kind)) for kind in FAILURE}

    def moves(self, arm: Arm, pace: str, kind: Kind) -> Moves:
        """The shares that a gain is the difference of, means over runs."""
        before = states(pace)(self.rows[self.study.base_of(arm).name][0])
        found = []
        for row in self.rows[arm.name]:
            after = states(pace)(row)
            both = [id for id in after if id in before]
            found.append(moves(kind, [before[id] for id in both], [after[id] for id in both]))
        return Moves(fmean(one.gained for one in found), fmean(one.lost for one in found))

    def drop(self, arm: str, *, relative: bool) -> Crossed | None:
        """pass@1 lost by half of the steps: in points, or as a share of what there was."""

        def ratio(whole: Floats, half: Floats) -> Floats:
            return 1 - half / np.maximum(whole, 1e-12)

        statistic = ratio if relative else difference
        return self.estimate(statistic, (arm, passed("L")), (arm, passed("L/2")))

    # --- the vote ------------------------------------------------------------------------------

    def votes(self, arm: str) -> list[Vote]:
        """The majority of 1, 2, 4, ... samples."""
        how = self.study.arm(arm).how
        assert isinstance(how, Voting)
        sizes = sorted({*(1 << n for n in range(how.samples.bit_length())), how.samples})
        return [vote for k in sizes if k <= how.samples and (vote := self.vote(arm, k))]

    def vote(self, arm: str, k: int) -> Vote | None:
        if (found := self.share(arm, elected(k))) is None:
            return None
        each = [_round(row.votes) for row in self.rows[arm] if row.votes is not None]
        return Vote(k, found, k * sum(each) / len(each))

    def equal_cost(self, arm: str, voters: str) -> int | None:
        """How many samples a problem cost as many positions as the arm's training; at most those that
        there are, and None where one of the two has no rows."""
        trained = [row.cost["positions"] for row in self.rows.get(arm, ()) if row.cost]
        rounds = [_round(row.votes) for row in self.rows.get(voters, ()) if row.votes is not None]
        how = self.study.arm(voters).how
        if not trained or not rounds or not isinstance(how, Voting):
            return None
        wanted = round(sum(trained) / len(trained) / (sum(rounds) / len(rounds)))
        return min(max(1, wanted), how.samples)

    def _signatures(self) -> dict[str, str]:
        known: dict[str, str] = {}
        for rows in self.rows.values():
            for row in rows:
                for one in row.measured:
                    known |= one.of_problem("signature")
                if row.votes is not None:
                    known |= dict(zip(row.votes.id, row.votes.signature, strict=True))
        return known


# --- values of a run ---------------------------------------------------------------------------


def rate(pace: str, name: str, *, tau: float = 0.0) -> Value:
    """The share of a problem's samples that a column counts."""

    def of(row: Row) -> Mapping[str, float]:
        if (found := row.at(pace, tau=tau)) is None:
            return {}
        n, counted = found.of_problem("n"), found.of_problem(name)
        return {id: counted[id] / n[id] for id in n if counted[id] is not None}

    return of


def passed(pace: str) -> Value:
    """pass@1 at temperature 0."""
    return rate(pace, "plus")


def plain(pace: str, name: str, *, tau: float = 0.0) -> Value:
    """A column as it is, of the problems that have a value."""

    def of(row: Row) -> Mapping[str, float]:
        found = row.at(pace, tau=tau)
        values: dict[str, Any] = {} if found is None else found.of_problem(name)
        return {id: value for id, value in values.items() if value is not None}

    return of


def pass_many(row: Row) -> Mapping[str, float]:
    """pass@n of the n samples at temperature 1."""
    if (found := row.at("usual", tau=1.0)) is None:
        return {}
    n, right = found.of_problem("n"), found.of_problem("plus")
    return {id: pass_at_k(n[id], right[id], n[id]) for id in n}


def elected(k: int) -> Value:
    """Whether the program that most of the first k samples behave like is right."""

    def of(row: Row) -> Mapping[str, float]:
        if (votes := row.votes) is None:
            return {}
        found = {}
        for id, labels, right in zip(votes.id, votes.label, votes.right, strict=True):
            winner = majority(labels[:k])
            found[id] = float(winner is not None and right[winner])
        return found

    return of


def states(pace: str) -> Callable[[Row], Mapping[str, State]]:
    """What each answer at temperature 0 is."""

    def of(row: Row) -> Mapping[str, State]:
        if (found := row.at(pace)) is None:
            return {}
        columns = (found.of_problem(name) for name in ("plus", "valid", "ended"))
        right, valid, ended = columns
        return {
            id: state(right=right[id] > 0, valid=valid[id] > 0, ended=bool(ended[id]))
            for id in right
        }

    return of


def _round(votes: Votes) -> float:
    """Positions of one sample of every problem."""
    return votes.positions / max(1, len(votes.label[0]))


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
