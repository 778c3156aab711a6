"""Which source each row of each step comes from.

    step      0 1 2 3 4 5 6 7 8 9 ...
    row 0     a a a a a a a a a a        shares .7, .2, .1 of a, b, c, 4 rows a step: a step has 2 or 3
    row 1     a a a a a a a a a a        rows of a, and one of b or of c, never more than a row away from
    row 2     a a b a a c a b a a        its shares; the odds of the uneven row make them exact in the mean
    row 3     b c b a b c a b b a

The rows of a step are points u, u + 1, u + 2, ... of a line that the sources divide among themselves by
their shares, with one u for each step (systematic sampling).
"""

from __future__ import annotations

import numpy as np


class Mixture:
    """The sources of every step: a pure function of the shares, the seed and the step."""

    def __init__(self, share_K: np.ndarray, batch: int, steps: int, seed: int) -> None:
        """``share_K`` sum to 1, in the order of the sources. Where they come from is the caller's: they may
        as well be softmax(log size / tau) of the sources' sizes."""
        offset_S = np.random.default_rng([seed, 9]).random(steps)
        edge_K = batch * np.cumsum(share_K[:-1])
        until_SK = np.ceil(edge_K - offset_S[:, None])
        until_SK = np.hstack([np.zeros((steps, 1)), until_SK, np.full((steps, 1), batch)])
        self.count_SK = np.diff(until_SK.clip(0, batch)).astype(np.int64)
        """Rows of each source in each step."""
        none = np.zeros((1, len(share_K)), dtype=np.int64)
        self.before_SK = np.vstack([none, self.count_SK.cumsum(0)])
        """Rows of each source before each step, and after the last."""

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each row of a step the source, and how many rows that source gave before, both ``[B]``."""
        count_K = self.count_SK[step]
        source_B = np.repeat(np.arange(len(count_K)), count_K)
        first_K = count_K.cumsum() - count_K
        within_B = np.arange(len(source_B)) - first_K[source_B]
        return source_B, self.before_SK[step][source_B] + within_B
