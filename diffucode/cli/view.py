"""A canvas in the terminal: what is given, what is written, what is still open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from diffucode.generate.tokenizer import Tokenizer, piece_of

if TYPE_CHECKING:
    from diffucode.decoding.engine import Step
    from diffucode.decoding.plan import Request

OPEN, SPECIAL = "░", "∎"
GIVEN = "dim"
FRESH = "bold black on green"
RECENT = "green"
ROWS = 4
"""Rows that the live view shows at once."""
FRAME_SECONDS = 0.05

Piece = Callable[[int], str]


def canvas_text(
    token: np.ndarray, given: np.ndarray, step: np.ndarray, now: int, piece: Piece
) -> Text:
    """The row after step ``now``, the tokens of this step marked and those of the last few coloured.

    Arrays of length L; ``step`` is -1 where nothing was written. Special tokens that were written
    are one sign each: a canvas is mostly the padding after its answer.
    """
    text = Text(overflow="fold")
    for i in range(len(token)):
        age = now - int(step[i])
        if given[i]:
            text.append(piece(int(token[i])), GIVEN)
        elif step[i] < 0 or age < 0:
            text.append(OPEN, GIVEN)
        else:
            style = FRESH if age == 0 else RECENT if age < 4 else ""
            text.append(_shown(piece(int(token[i]))), style)
    return text


def _shown(piece: str) -> str:
    return SPECIAL if piece.startswith("<|") and piece.endswith("|>") else piece


def canvas_panel(
    name: str, token: np.ndarray, given: np.ndarray, step: np.ndarray, now: int, piece: Piece
) -> Panel:
    """The row in a frame that says where it stands."""
    left = int((~given & ((step < 0) | (step > now))).sum())
    return Panel(
        canvas_text(token, given, step, now, piece),
        title=f"{name}   step {now}   {left} open",
        title_align="left",
        border_style="dim",
    )


class _Row:
    """A row that is being filled."""

    def __init__(self, request: Request) -> None:
        self.name = f"{request.id} {request.sample}"
        self.token = np.array(request.tokens)
        self.given = ~np.array(request.open)
        self.step = np.full(len(self.token), -1)
        self.now = 0

    def panel(self, piece: Piece) -> Panel:
        return canvas_panel(self.name, self.token, self.given, self.step, self.now, piece)


class LiveView:
    """Rows filling, on stderr: the first few that are not finished."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}
        self._rows: dict[tuple[str, int], _Row] = {}
        self._live = Live(
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._shown = 0.0

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def open(self, request: Request) -> None:
        """A row that will be decoded."""
        self._rows[request.id, request.sample] = _Row(request)

    def show(self, step: Step) -> None:
        """Write a step's commits and draw, at most every ``FRAME_SECONDS``."""
        for row in step.rows:
            seen = self._rows[row.id, row.sample]
            seen.token[row.positions] = row.tokens
            seen.step[row.positions] = seen.now = row.step
        if step.finished or time.monotonic() - self._shown > FRAME_SECONDS:
            self._shown = time.monotonic()
            panels = [row.panel(self._piece) for row in list(self._rows.values())[:ROWS]]
            self._live.update(Group(*panels), refresh=True)
        for finished in step.finished:
            del self._rows[finished.request.id, finished.request.sample]

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = piece_of(self._tokenizer, token)
        return self._pieces[token]
