"""Who sees whom: attention patterns as data, and the masks they become.

::

    full          causal        block-causal(2)
    # # # #       # . . .       # # . .
    # # # #       # # . .       # # . .          row: the position that looks
    # # # #       # # # .       # # # #          column: the position it may see
    # # # #       # # # #       # # # #
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffucode.errors import ConfigError


@dataclass(frozen=True)
class Attention:
    """``full``, ``causal`` or ``block-causal(n)``: full inside blocks of n, causal between."""

    kind: Literal["full", "causal", "block-causal"]
    block: int = 0

    @classmethod
    def parse(cls, text: str) -> Attention:
        """From its spelling; raises ConfigError for anything else."""
        if text == "full":
            return cls("full")
        if text == "causal":
            return cls("causal")
        found = re.fullmatch(r"block-causal\(([1-9][0-9]*)\)", text)
        if found is None:
            raise ConfigError(
                f"attention {text!r}: expected full, causal or block-causal(n) with n >= 1"
            )
        return cls("block-causal", int(found[1]))

    def __str__(self) -> str:
        return f"block-causal({self.block})" if self.kind == "block-causal" else self.kind

    def mask(self, real_BL: Tensor, position_BL: Tensor) -> Tensor:
        """Bool ``[B, 1, L, L]``, True where the position of the third axis sees that of the fourth.

        Unreal columns are seen by nobody but themselves: a softmax over nothing is NaN in some
        attention kernels, and a position always sees itself anyway.
        """
        length = real_BL.shape[1]
        see_BLL = real_BL[:, None, :].expand(-1, length, -1)
        if self.kind == "causal":
            see_BLL = see_BLL & (position_BL[:, None, :] <= position_BL[:, :, None])
        elif self.kind == "block-causal":
            block_BL = position_BL // self.block
            see_BLL = see_BLL & (block_BL[:, None, :] <= block_BL[:, :, None])
        itself_LL = torch.eye(length, dtype=torch.bool, device=real_BL.device)
        return (see_BLL | itself_LL)[:, None]
