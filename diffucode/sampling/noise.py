"""The one random primitive: ``scores + tau * Gumbel``, with noise that is a function, not a stream.

Its argmax draws from softmax(scores / tau); its top-k draws k items without replacement from the same
weights (Plackett-Luce). At tau = 0 it is the argmax.

The noise is counter-based, Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"): no state exists, so a row draws the same numbers alone, in any batch, after its neighbours
retire and after a restart::

    key     = the first 64 bits of BLAKE2b(seed, request id, sample)
    counter = (position, the row's own step, purpose, token id)

Integers are 32-bit words in int64 tensors: products wrap modulo 2**64 on every device, so the bits
are the same everywhere.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

COLD = 1e-5
"""Temperatures below this count as 0."""

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


Words = Tensor | np.ndarray


class Purpose(IntEnum):
    """What a random number is for; part of the counter, so that uses never share a number."""

    TOKEN = 0
    TAIL = 1
    """Whether the draw falls outside the retained top logits."""
    TAIL_TOKEN = 2
    """Which token it then is."""
    ORDER = 3
    """Order temperature."""
    RANK = 4
    """The random order policy's scores, and random tie-breaks."""
    REVEAL = 5
    """Whether a position opens, for schedules that decide position by position."""
    MASK = 6
    """Which positions a likelihood estimate hides."""
    LEVEL = 7
    """How many of them."""
    PROMPT = 8
    """Which positions of the prompt it hides."""
    PERMUTE = 9
    """Which completion gets whose reward, for the control that permutes them."""


def key(seed: int, request: str, sample: int = 0) -> tuple[int, int]:
    """The noise key of one sample of one request: two 32-bit words."""
    digest = hashlib.blake2b(f"{seed}\0{request}\0{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(
    counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]
) -> tuple[Words, ...]:
    """Philox-4x32-10 of broadcastable 32-bit words held in int64, tensors or NumPy arrays."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (p1 >> 32 & _WORD) ^ c1 ^ k0,
            p1 & _WORD,
            (p0 >> 32 & _WORD) ^ c3 ^ k1,
            p0 & _WORD,
        )
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def uniform(
    key_N2: Tensor,
    position_N: Tensor,
    step_N: Tensor,
    purpose: Purpose | Tensor,
    token_NK: Tensor | None,
) -> Tensor:
    """Float64 uniforms strictly inside (0, 1), one per token id: ``[N, K]``; ``[N]`` without ids.

    52 random bits and a half: the extremes are 2**-53 and 1 - 2**-53, never 0 or 1. ``purpose`` may
    differ from column to column (``[K]``).
    """
    if token_NK is None:
        zeros_N1 = torch.zeros_like(position_N)[:, None]
        return uniform(key_N2, position_N, step_N, purpose, zeros_N1)[:, 0]
    if isinstance(purpose, Purpose):
        purpose = torch.full_like(token_NK[0], int(purpose))
    words = [position_N[:, None], step_N[:, None], purpose, token_NK, key_N2[:, :1], key_N2[:, 1:]]
    if token_NK.device.type == "cpu":
        # the same integers; small arrays cost NumPy a fraction of what they cost torch
        bits_NK = torch.from_numpy(_bits([word.numpy() for word in words]))
    else:
        bits_NK = _bits(words)
    return (bits_NK.double() + 0.5) * 2.0**-52


def _bits(words: list[Any]) -> Any:
    """52 random bits from the first two of Philox's four words."""
    high, low, *_ = philox((words[0], words[1], words[2], words[3]), (words[4], words[5]))
    return (high << 20) | (low >> 12)


def gumbel(
    key_N2: Tensor,
    position_N: Tensor,
    step_N: Tensor,
    purpose: Purpose | Tensor,
    token_NK: Tensor | None,
) -> Tensor:
    """Float64 standard Gumbel noise, one per token id: ``[N, K]``; ``[N]`` without ids."""
    return to_gumbel(uniform(key_N2, position_N, step_N, purpose, token_NK))


def to_gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel noise from uniforms inside (0, 1)."""
    return -(-u.log()).log()


def perturb(scores: Tensor, tau: Tensor | float, noise: Tensor) -> Tensor:
    """``scores + tau * noise``, the primitive itself; broadcastable, float64 out.

    Where tau < 1e-5 the scores come back as they are, so that argmax and top-k are those of the
    scores; -inf stays -inf.
    """
    tau = torch.as_tensor(tau, device=scores.device, dtype=torch.float64)
    return scores.double() + torch.where(tau < COLD, 0.0, tau) * noise
