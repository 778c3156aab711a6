"""How much of a text that is still being written cannot change any more.

A committed token is final, so the text of a gapless beginning is, but for its end: the bytes of an
unfinished character, and what may turn out to be the beginning of a stop string::

    written   ret  urn  a  +  b  \\n  \\n  d          stop "\\n\\ndef"
    settled   ret  urn  a  +  b                    the rest may be cut
"""

from __future__ import annotations

from collections.abc import Sequence

from diffucode.tasks.extract import cut_at_stops

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What bytes that are no whole character decode to."""


def settled(text: str, stops: Sequence[str]) -> str:
    """The part of ``text`` that every longer text begins with, cut at its stop strings."""
    text = text.rstrip(UNFINISHED)
    kept, _ = cut_at_stops(text, stops)
    # also behind a whole stop string: a longer one may have begun before it
    held = max((_overlap(text, stop) for stop in stops), default=0)
    return kept[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
