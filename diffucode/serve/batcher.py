"""One thread that decodes: rows of all requests in one batch, which they join and leave between steps.

::

    any thread                                 the decoding thread
    submit ──> waiting ──────── room ────────> Batch ──step──> Piece, Done, Failed ──> listener
    cancel ──> ticket.over ── before a step ──> row freed

A row never depends on its neighbours (see ``decoding.engine``), so an answer is what it would be alone.
Rows start in the order in which they were submitted. If a step fails, its requests start again one by
one, so that the failure is that of the request which causes it; their draws being keyed, the others end
as if nothing had been.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Self

from diffucode.decoding.engine import Decoder
from diffucode.errors import PlanError
from diffucode.generate.job import Job
from diffucode.generate.stream import Batch, Completion, Frame
from diffucode.generate.tokenizer import text_of
from diffucode.serve.failures import Failure, ending
from diffucode.serve.limits import Limits
from diffucode.serve.settled import settled

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

log = logging.getLogger("diffucode.serve")


@dataclass(frozen=True)
class Piece:
    """More text of one completion. It is never taken back."""

    index: int
    text: str


@dataclass(frozen=True)
class Done:
    """A completion that ended."""

    index: int
    completion: Completion


@dataclass(frozen=True)
class Failed:
    """The end of a request that gets no answer."""

    failure: Failure


Event = Piece | Done | Failed
Listener = Callable[[Event], None]
"""Called on the decoding thread, so it must not wait."""


@dataclass(eq=False)
class Ticket:
    """A request in the batcher's hands."""

    listener: Listener
    stops: tuple[str, ...] | None
    """The stop strings of its text where pieces are wanted, else None."""
    left: int
    """Completions that have not ended."""
    over: bool = False
    """Ended, cancelled or failed: nobody listens."""
    alone: bool = False
    """Was in a step that failed, and decodes with nobody now."""


@dataclass(eq=False)
class _Seat:
    """One completion of a ticket, waiting or being decoded."""

    ticket: Ticket
    index: int
    job: Job
    sent: int = 0
    """Characters that went out in pieces."""

    @property
    def key(self) -> tuple[str, int]:
        return self.job.request.id, self.job.request.sample


class Batcher:
    """Decodes what is submitted until it is closed; a context manager."""

    def __init__(self, loaded: Loaded, decoder: Decoder, capacity: int, limits: Limits) -> None:
        self._loaded = loaded
        self._decoder = decoder
        self._capacity = capacity
        self._queue = limits.queue
        self._changed = threading.Condition()
        self._waiting: deque[_Seat] = deque()
        self._seats: dict[tuple[str, int], _Seat] = {}
        """What is being decoded. Written by the decoding thread alone, and under the lock."""
        self._refusing = False
        self._closed = False
        self._thread = threading.Thread(target=self._decode, name="decoding", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abandon()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    # --- from any thread -------------------------------------------------------------------------

    @property
    def refusing(self) -> bool:
        """Whether nothing new is taken."""
        return self._refusing

    @property
    def load(self) -> tuple[int, int]:
        """Completions being decoded, and waiting."""
        with self._changed:
            return len(self._seats), len(self._waiting)

    def submit(
        self, jobs: Sequence[Job], listener: Listener, stops: tuple[str, ...] | None = None
    ) -> Ticket:
        """Decode jobs of ids that no other request has. The listener gets a ``Done`` for each, or ``Failed``
        once; with ``stops``, those of the jobs, the text in pieces before that.

        Raises Failure: 400 for more than ever fits, 429 for more than fits now, 503 at the end.
        """
        ticket = Ticket(listener, stops, len(jobs))
        places = self._capacity + self._queue
        with self._changed:
            if self._refusing:
                raise ending()
            if len(jobs) > places:
                raise Failure(
                    f"{len(jobs)} completions in one request; this server takes at most {places}, "
                    "ask for fewer at a time",
                    param="n",
                )
            if len(self._seats) + len(self._waiting) + len(jobs) > places:
                raise Failure(
                    f"{len(self._seats)} completions are being decoded and {len(self._waiting)} wait; "
                    f"there is no place for {len(jobs)} more, try again later",
                    HTTPStatus.TOO_MANY_REQUESTS,
                    code="queue_full",
                )
            self._waiting.extend(_Seat(ticket, i, job) for i, job in enumerate(jobs))
            self._changed.notify_all()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request: what waits is gone at once, its rows are free at the next step."""
        with self._changed:
            ticket.over = True
            self._waiting = deque(seat for seat in self._waiting if seat.ticket is not ticket)
            self._changed.notify_all()

    def refuse_new(self) -> None:
        """Take nothing new and finish what there is. Takes no lock: signal handlers may call it."""
        self._refusing = True

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is decoded and nothing waits; whether that came to be."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._seats or self._waiting), timeout)

    def abandon(self) -> None:
        """Fail whatever has not ended."""
        self._refusing = True
        with self._changed:
            seats = [*self._seats.values(), *self._waiting]
        self._fail(seats, ending())

    # --- the decoding thread -----------------------------------------------------------------------

    def _decode(self) -> None:
        batch = self._new_batch()
        while self._await_work():
            try:
                self._step(batch)
            except Exception as error:
                # Whatever it was, the request must hear of it and the thread live on.
                self._dissolve(error)
                batch = self._new_batch()

    def _new_batch(self) -> Batch:
        return Batch(self._loaded, decoder=self._decoder, capacity=self._capacity)

    def _await_work(self) -> bool:
        """Wait until there is something to decode; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._seats or self._waiting or self._closed)
            return not self._closed

    def _step(self, batch: Batch) -> None:
        batch.cancel(key for key, seat in self._seats.items() if seat.ticket.over)
        joining: list[_Seat] = []
        room = batch.room
        with self._changed:
            while self._waiting and len(joining) < room and self._may_join(self._waiting[0]):
                seat = self._waiting.popleft()
                self._seats[seat.key] = seat
                joining.append(seat)
        batch.admit(seat.job for seat in joining)
        self._hand_out(batch, batch.step())

    def _may_join(self, seat: _Seat) -> bool:
        others = [s.ticket for s in self._seats.values() if s.ticket is not seat.ticket]
        return not others or not any(ticket.alone for ticket in (seat.ticket, *others))

    def _dissolve(self, error: Exception) -> None:
        """End a batch whose step failed: one request hears of it, several start again one by one."""
        seats = [seat for seat in self._seats.values() if not seat.ticket.over]
        if len({id(seat.ticket) for seat in seats}) > 1:
            for seat in seats:
                seat.ticket.alone = True
            with self._changed:
                self._waiting.extendleft(reversed(seats))
        else:
            asked_for_it = isinstance(error, PlanError)
            if not asked_for_it:
                log.error("a step failed: %s: %s", type(error).__name__, error)
            self._fail(
                seats,
                Failure(
                    f"decoding failed: {error}",
                    HTTPStatus.BAD_REQUEST if asked_for_it else HTTPStatus.INTERNAL_SERVER_ERROR,
                    code="decoding_failed",
                ),
            )
        self._leave(list(self._seats))

    def _hand_out(self, batch: Batch, frame: Frame) -> None:
        """What a step brought, to those who listen."""
        ended = [(done.id, done.sample) for done in frame.completions]
        for key, completion in zip(ended, frame.completions, strict=True):
            seat = self._seats[key]
            if seat.ticket.over:
                continue
            if seat.ticket.stops is not None:
                self._tell_more(seat, completion.text)
            seat.ticket.left -= 1
            seat.ticket.over = not seat.ticket.left
            seat.ticket.listener(Done(seat.index, completion))
        self._leave(ended)
        for record in frame.step.rows:
            row = self._seats.get((record.id, record.sample))
            if row is not None and row.ticket.stops is not None and not row.ticket.over:
                beginning = batch.beginning(*row.key)
                text = text_of(self._loaded.tokenizer, beginning)
                self._tell_more(row, settled(text, row.ticket.stops))

    @staticmethod
    def _tell_more(seat: _Seat, text: str) -> None:
        if len(text) > seat.sent:
            seat.ticket.listener(Piece(seat.index, text[seat.sent :]))
            seat.sent = len(text)

    def _leave(self, keys: Iterable[tuple[str, int]]) -> None:
        with self._changed:
            for key in keys:
                del self._seats[key]
            self._changed.notify_all()

    def _fail(self, seats: Iterable[_Seat], failure: Failure) -> None:
        """Tell each of their requests once."""
        for ticket in {
            id(seat.ticket): seat.ticket for seat in seats if not seat.ticket.over
        }.values():
            self.cancel(ticket)
            ticket.listener(Failed(failure))
