"""The key-value cache of a causal denoiser whose rows stand at different columns.

Physical columns mean nothing (keys carry their rotary position already), so rows of unequal
progress share one rectangular cache; ``valid`` says which entries belong to a row::

    row 0   p p p p . . a a a        read 7 columns
    row 1   q q . . . . . b b        read 4; admitted later, its prompt lies over row 0's
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from diffucode.protocols import Cache


class KVCache:
    """Keys and values ``[B, heads, W, d]`` per layer, of the columns each row has read so far.

    ``valid_BW`` (bool) and ``read_B`` (the number of leading canvas columns read) live on the host,
    where the shapes of the next forward are planned.
    """

    def __init__(self, past: DynamicCache, valid_BW: np.ndarray, read_B: np.ndarray) -> None:
        self.past = past
        self.valid_BW = valid_BW
        self.read_B = read_B

    @classmethod
    def empty(cls, rows: int) -> KVCache:
        """A cache of ``rows`` rows that have read nothing."""
        return cls(DynamicCache(), np.zeros((rows, 0), bool), np.zeros(rows, np.int64))

    def take(self, rows: Sequence[int] | np.ndarray) -> KVCache:
        """These rows, in this order, without the entries that none of them uses."""
        index = np.asarray(rows, np.int64)
        valid_BW = self.valid_BW[index]
        used = valid_BW.any(0)
        layers = []
        for keys, values, *_ in self.past:
            row_B = torch.from_numpy(index).to(keys.device)
            keys, values = keys[row_B], values[row_B]
            if not used.all():
                column = torch.from_numpy(np.flatnonzero(used)).to(keys.device)
                keys, values = keys[:, :, column], values[:, :, column]
            layers.append((keys, values))
        past = DynamicCache(ddp_cache_data=layers) if used.any() else DynamicCache()
        return KVCache(past, valid_BW[:, used], self.read_B[index])

    def cat(self, other: Cache) -> KVCache:
        """This cache's rows followed by the other's, padded on the right to equal width."""
        assert isinstance(other, KVCache), "caches of one kind"
        valid_BW = np.concatenate(
            [
                np.pad(part.valid_BW, ((0, 0), (0, self._width(other) - part.valid_BW.shape[1])))
                for part in (self, other)
            ]
        )
        read_B = np.concatenate([self.read_B, other.read_B])
        return KVCache(self._stack(other), valid_BW, read_B)

    def become(self, other: KVCache) -> None:
        """Take over the other's contents: how a cache is updated in place."""
        self.past, self.valid_BW, self.read_B = other.past, other.valid_BW, other.read_B

    def _width(self, other: KVCache) -> int:
        return max(int(self.valid_BW.shape[1]), int(other.valid_BW.shape[1]))

    def _stack(self, other: KVCache) -> DynamicCache:
        width = self._width(other)
        if not width:
            return DynamicCache()
        parts = [self.past, other.past]
        template = next(part for part in parts if len(part.layers))
        layers = []
        for depth, (keys, values, *_) in enumerate(template):
            both = []
            for part, rows in ((self, len(self.read_B)), (other, len(other.read_B))):
                if len(part.past.layers):
                    layer = part.past.layers[depth]
                    extra = (0, 0, 0, width - layer.keys.shape[-2])
                    both.append((pad(layer.keys, extra), pad(layer.values, extra)))
                else:
                    shape = (rows, keys.shape[1], width)
                    both.append(
                        (
                            keys.new_zeros(*shape, keys.shape[3]),
                            values.new_zeros(*shape, values.shape[3]),
                        )
                    )
            (keys_a, values_a), (keys_b, values_b) = both
            layers.append((torch.cat([keys_a, keys_b]), torch.cat([values_a, values_b])))
        return DynamicCache(ddp_cache_data=layers)
