"""AR-ness: how near the order in which a canvas was filled comes to reading from left to right.

    local AR-ness@k     share of positions that were written right behind the run of their k left neighbours
    global AR-ness@k    share of positions that were among the k leftmost open ones when they were written

Definitions of DiffuCoder (arXiv:2506.20639, section 3 and appendix A.2), with what it leaves open settled:

*Positions* are counted over the open positions of the row, so what is given between two holes is no jump,
and from left to right is 1 also there. With ``terminators`` they end with the answer's first one: padding
behind it is written early or late in long runs and would outweigh the answer.

*Start.* The end of the prompt counts as the run ..., -2, -1 that was written before everything, so the
first k positions are counted too, and from left to right gives exactly 1 for every k.

*Readings of local AR-ness.* ``ordered``: the last k + 1 positions written are a run in increasing order (the
caption of figure 3); never increasing in k. ``set``: the k written before are the k left neighbours, in any
order (the appendix); may increase in k: 1, 0, 2 has 2 behind {0, 1} and not behind 1.

*Positions written in one step* have no order of their own. ``sorted`` takes them from left to right, so
parallel decoding looks more like reading; ``expected`` is the mean over all their permutations, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffucode.decoding.trace import Trace

Reading = Literal["ordered", "set"]
Parallel = Literal["sorted", "expected"]


@dataclass(frozen=True)
class Order:
    """The T written positions of a row, by step, then position."""

    position_T: NDArray[np.int64]
    """Counted from 0 over the row's open positions."""
    step_T: NDArray[np.int64]
    logprob_T: NDArray[np.float32]
    """ln p of each token when it was written, by the unedited model at temperature 1."""

    def __len__(self) -> int:
        return len(self.position_T)

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """The positions of each step, left to right; steps that wrote nothing are left out."""
        starts = np.flatnonzero(np.diff(self.step_T)) + 1
        return np.split(self.position_T, starts) if len(self) else []


def order_of(trace: Trace, terminators: Sequence[int] = ()) -> Order:
    """The order of a trace; with ``terminators``, of its answer up to and including the first of them."""
    written = trace.step >= 0
    ends = np.flatnonzero(written & np.isin(trace.token, terminators))
    inside = np.arange(len(trace.token)) <= (ends[0] if len(ends) else len(trace.token))
    columns = np.flatnonzero(written & inside)
    columns = columns[np.argsort(trace.step[columns], kind="stable")]
    position_L = np.cumsum(~trace.given) - 1
    return Order(position_L[columns], trace.step[columns], trace.raw_logprob[columns])


# --- AR-ness -----------------------------------------------------------------------------------


def local_arness(
    order: Order, k: int = 1, *, reading: Reading = "ordered", parallel: Parallel = "sorted"
) -> float:
    """Local AR-ness@k, from 0 to 1; NaN of a row in which nothing was written."""
    _check(k)
    if not len(order):
        return math.nan
    if parallel == "expected":
        return _expected_local(order, k, reading == "ordered")
    before = np.concatenate([np.arange(-k, 0), order.position_T])
    window_TK = np.lib.stride_tricks.sliding_window_view(before[:-1], k)
    if reading == "set":
        window_TK = np.sort(window_TK, axis=1)
    wanted_TK = order.position_T[:, None] + np.arange(-k, 0)
    return float((window_TK == wanted_TK).all(1).mean())


def global_arness(order: Order, k: int = 1, *, parallel: Parallel = "sorted") -> float:
    """Global AR-ness@k, from 0 to 1; NaN of a row in which nothing was written."""
    _check(k)
    if not len(order):
        return math.nan
    at_T = np.arange(len(order))
    earlier_TT = at_T[None, :] < at_T[:, None]
    left_TT = order.position_T[None, :] < order.position_T[:, None]
    same_TT = order.step_T[None, :] == order.step_T[:, None]
    open_T = order.position_T - (left_TT & earlier_TT).sum(1)
    if parallel == "sorted":
        return float((open_T < k).mean())
    # Of the m to its left that share its step, any number from 0 to m may come later, equally likely.
    beside_T = (left_TT & same_TT).sum(1)
    return float((np.clip(k - open_T, 0, beside_T + 1) / (beside_T + 1)).mean())


def _expected_local(order: Order, k: int, ordered: bool) -> float:
    """The mean over the permutations inside each step."""
    steps = [frozenset(group.tolist()) for group in order.groups]
    total = 0.0
    for n, step in enumerate(steps):
        size = len(step)
        for position in step:
            wanted = list(range(position - k, position))
            beside = [p for p in wanted if p in step]
            earlier = [p for p in wanted if p not in step]
            many = len(beside)
            if ordered and beside != wanted[k - many :]:
                continue
            # The run stands anywhere in the step; one that began before it fills the step's beginning.
            places = size - k if many == k else 1
            ways = places * (1 if ordered else math.factorial(many))
            chance = ways * math.factorial(size - many - 1) / math.factorial(size)
            total += chance * _ends_with(steps[:n], earlier, ordered)
    return total / len(order)


def _ends_with(steps: Sequence[frozenset[int]], wanted: Sequence[int], ordered: bool) -> float:
    """The chance that ``wanted``, ascending, are the last positions written by these steps."""
    many = len(wanted)
    if not many:
        return 1.0
    if not steps:
        return float(list(wanted) == list(range(-many, 0)))
    *before, last = steps
    size = len(last)
    if many <= size:
        ways = 1 if ordered else math.factorial(many)
        chance = ways * math.factorial(size - many) / math.factorial(size)
        return chance if last.issuperset(wanted) else 0.0
    if not last.issubset(wanted[many - size :] if ordered else wanted):
        return 0.0
    rest = [p for p in wanted if p not in last]
    return _ends_with(before, rest, ordered) / (math.factorial(size) if ordered else 1)


def at_random(n: int) -> Order:
    """n positions in one step: ``parallel="expected"`` gives what a random order of them has on average.

    Local AR-ness@1 is 1/n then, global AR-ness@k the mean of min(k, m) / m over m from 1 to n.
    """
    return Order(np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.float32))


def _check(k: int) -> None:
    if k < 1:
        raise ValueError(f"AR-ness@{k}: expected k of at least 1")


# --- how far an order can be trusted -----------------------------------------------------------


def parallel_share(order: Order) -> float:
    """Share of positions that share their step with others; NaN where nothing was written."""
    if not len(order):
        return math.nan
    return sum(len(group) for group in order.groups if len(group) > 1) / len(order)


def tie_share(order: Order) -> float:
    """Share of positions as certain, bit for bit, as the one written before or after them.

    Where the order follows confidence, such neighbours were most likely a tie, resolved by position and
    not by the model: mostly probabilities that are 1 in float32. An estimate, because a trace does not
    hold the scores of positions that were not written. NaN where nothing was written.
    """
    if not len(order):
        return math.nan
    same = order.logprob_T[1:] == order.logprob_T[:-1]
    tied_T = np.append(same, False) | np.append(False, same)
    return float(tied_T.mean())


def heat_map(orders: Sequence[Order]) -> NDArray[np.float64]:
    """``[S, L]``: the share of rows that wrote position l in step s.

    A column sums to the share of rows that wrote it at all. DiffuCoder's appendix C.1.
    """
    steps = max((int(order.step_T.max()) + 1 for order in orders if len(order)), default=0)
    length = max((int(order.position_T.max()) + 1 for order in orders if len(order)), default=0)
    found_SL = np.zeros((steps, length))
    for order in orders:
        found_SL[order.step_T, order.position_T] += 1
    return found_SL / max(1, len(orders))
