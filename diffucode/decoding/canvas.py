"""The canvas: what is given, what is open, what has been committed.

Rows are left-aligned requests of unequal length; columns beyond a row's end are not ``real``::

    column     0  1  2  3  4  5  6  7
    row 0      p  p  p  _  _  _  _  .      p given, _ open, . not real
    row 1      p  p  p  p  p  _  _  _

"Open" is stored, not derived from ``tokens == mask``: a prompt may talk about the mask token, and an
autoregressive canvas has no mask at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from diffucode.errors import CanvasError


def once_each(contents: Iterable[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Where each content stands first, ``[U]``, and for every one given which of these it is, ``[B]``.

    For who holds rows on the host; ``Canvas.distinct`` does the same on the device.
    """
    first: dict[bytes, int] = {}
    kept: list[int] = []
    place: list[int] = []
    for b, content in enumerate(contents):
        place.append(first.setdefault(content, len(kept)))
        if place[-1] == len(kept):
            kept.append(b)
    return np.array(kept, dtype=np.int64), np.array(place, dtype=np.int64)


@dataclass(frozen=True)
class Canvas:
    """B rows of L columns, a value: every change makes a new one.

    tokens_BL int64; given_BL, open_BL, real_BL bool; position_BL int64 (0 at the first real column,
    the model's position ids and the noise's counters); region_BL int64 labels or None; key_B2 int64,
    the two 32-bit words of each row's noise key; start_B int64, the first column of the answer.
    """

    tokens_BL: Tensor
    given_BL: Tensor
    open_BL: Tensor
    real_BL: Tensor
    position_BL: Tensor
    key_B2: Tensor
    start_B: Tensor
    region_BL: Tensor | None = None

    @classmethod
    def of(
        cls,
        tokens: Sequence[Sequence[int]],
        opened: Sequence[Sequence[bool]],
        keys: Sequence[tuple[int, int]],
        *,
        fill: int,
        regions: Sequence[Sequence[int]] | None = None,
        device: torch.device | str = "cpu",
    ) -> Canvas:
        """Rows from lists of unequal length; ``fill`` is the id in open and unreal columns."""
        rows, length = len(tokens), max(map(len, tokens))
        tokens_BL = torch.full((rows, length), fill, dtype=torch.long)
        open_BL = torch.zeros(rows, length, dtype=torch.bool)
        real_BL = torch.zeros(rows, length, dtype=torch.bool)
        region_BL = None if regions is None else torch.zeros(rows, length, dtype=torch.long)
        for b, (row, row_open) in enumerate(zip(tokens, opened, strict=True)):
            if len(row) != len(row_open) or not any(row_open):
                raise CanvasError(
                    f"row {b}: {len(row)} tokens, {len(row_open)} open flags, {sum(row_open)} of them "
                    "set; expected equal lengths and at least one open position"
                )
            tokens_BL[b, : len(row)] = torch.tensor(row)
            open_BL[b, : len(row)] = torch.tensor(row_open)
            real_BL[b, : len(row)] = True
            if regions is not None and region_BL is not None:
                region_BL[b, : len(row)] = torch.tensor(regions[b])
        tokens_BL[open_BL] = fill
        position_BL = torch.arange(length).expand(rows, length).contiguous()
        canvas = cls(
            tokens_BL=tokens_BL,
            given_BL=real_BL & ~open_BL,
            open_BL=open_BL,
            real_BL=real_BL,
            position_BL=position_BL,
            key_B2=torch.tensor(keys, dtype=torch.long).reshape(rows, 2),
            start_B=open_BL.int().argmax(1),
            region_BL=region_BL,
        )
        return canvas.to(device)

    @property
    def device(self) -> torch.device:
        return self.tokens_BL.device

    @property
    def shape(self) -> tuple[int, int]:
        rows, length = self.tokens_BL.shape
        return rows, length

    def to(self, device: torch.device | str) -> Canvas:
        """The same canvas on another device."""
        return self._map(lambda _, x: x.to(device, non_blocking=True))

    def commit(self, tokens_BL: Tensor, where_BL: Tensor) -> Canvas:
        """Write ``tokens_BL`` where ``where_BL``; raises CanvasError where a position is not open.

        The check costs no host synchronisation: off the CPU it is an asynchronous device assertion.
        """
        try:
            torch._assert_async((self.open_BL | ~where_BL).all())
        except RuntimeError:
            row, col = (where_BL & ~self.open_BL).nonzero()[0].tolist()
            raise CanvasError(
                f"commit to row {row}, column {col}, which is not open: a position is written once"
            ) from None
        return replace(
            self,
            tokens_BL=torch.where(where_BL, tokens_BL, self.tokens_BL),
            open_BL=self.open_BL & ~where_BL,
        )

    def take(self, rows_B: Tensor, columns: int | None = None) -> Canvas:
        """These rows, in this order, optionally cut to the first ``columns`` columns."""
        taken = self._map(lambda _, x: x[rows_B])
        if columns is None or columns == self.shape[1]:
            return taken
        return taken._map(lambda name, x: x[:, :columns] if name.endswith("BL") else x)

    def distinct(self) -> tuple[Canvas, Tensor]:
        """The rows that differ in what a model sees, and for each row which of them it is, int64 ``[B]``.

        Regions, keys and what stands in open columns are not seen. Waits for the device.
        """
        seen_BL = torch.where(self.open_BL, -1, self.tokens_BL).where(self.real_BL, -2)
        _, place_B, count_U = torch.unique(seen_BL, dim=0, return_inverse=True, return_counts=True)
        if len(count_U) == len(place_B):
            return self, torch.arange(len(place_B), device=self.device)
        first_U = place_B.argsort(stable=True)[count_U.cumsum(0) - count_U]
        return self.take(first_U), place_B

    def cat(self, other: Canvas, *, fill: int) -> Canvas:
        """This canvas's rows followed by the other's, padded on the right to the longer one."""
        length = max(self.shape[1], other.shape[1])
        a, b = self._widen(length, fill), other._widen(length, fill)
        if (a.region_BL is None) != (b.region_BL is None):
            a, b = (
                c
                if c.region_BL is not None
                else replace(c, region_BL=torch.zeros_like(c.tokens_BL))
                for c in (a, b)
            )
        return a._map(lambda name, x: torch.cat([x, getattr(b, name)]))

    def _widen(self, length: int, fill: int) -> Canvas:
        extra = length - self.shape[1]
        if not extra:
            return self

        def pad(x: Tensor, value: int) -> Tensor:
            return torch.nn.functional.pad(x, (0, extra), value=value)

        return replace(
            self,
            tokens_BL=pad(self.tokens_BL, fill),
            given_BL=pad(self.given_BL, 0),
            open_BL=pad(self.open_BL, 0),
            real_BL=pad(self.real_BL, 0),
            position_BL=torch.arange(length, device=self.device).expand(self.shape[0], length),
            region_BL=None if self.region_BL is None else pad(self.region_BL, 0),
        )

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> Canvas:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: change(n, v) for n, v in values.items() if v is not None})
