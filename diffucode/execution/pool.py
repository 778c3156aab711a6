"""The workers of a sandbox and the file descriptors that are watched on their account."""

from __future__ import annotations

import contextlib
import selectors
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from diffucode.execution.attempt import Attempt, Limits
from diffucode.execution.seal import Caps
from diffucode.execution.tiers import Tier
from diffucode.execution.worker import Cell, Worker, counts_threads, start

Name = Literal["control", "source", "result", "output", "errors"]


@dataclass(eq=False)
class Run:
    """A job in a cell."""

    attempt: Attempt
    cell: Cell
    pending: bytes | memoryview = b""
    """What the pipe to the program did not take yet."""
    printed: dict[str, bytearray] = field(
        default_factory=lambda: {"output": bytearray(), "errors": bytearray()}
    )
    counted_at: float | None = None
    """When its threads were counted last."""
    ended_at: float | None = None
    """When the worker was told to kill it."""
    lost: bool = False
    """The result channel closed although a question was open; the worker will know how."""


@dataclass(eq=False)
class Seat:
    """A worker, the run in its cell, and runs that it still has to bury."""

    worker: Worker
    run: Run | None = None
    ending: list[Run | Cell] = field(default_factory=list)
    """In the order they were ended. A bare cell: sealed with limits that nobody wanted."""

    @property
    def free(self) -> bool:
        """No job, and the last child is dead or another one is waiting."""
        return self.run is None and (self.worker.cell is not None or not self.ending)

    @property
    def quiet(self) -> bool:
        return self.free and not self.ending


@dataclass(frozen=True)
class Channel:
    """What a file descriptor is."""

    seat: Seat
    name: Name


class Pool:
    """Workers of one tier. Not thread-safe."""

    def __init__(self, tier: Tier, count: int) -> None:
        self.tier = tier
        self.count = count
        self.seats: list[Seat] = []
        self.selector = selectors.DefaultSelector()
        self.closed = False
        # A worker ends with the thread that started it: this one ends with the pool.
        self._keeper = ThreadPoolExecutor(1, "sandbox-keeper")

    def fill(self) -> None:
        """Start the workers that are missing; raises SandboxError."""
        while len(self.seats) < self.count and not self.closed:
            seat = Seat(self._keeper.submit(start, self.tier).result())
            self.seats.append(seat)
            self._watch(seat, seat.worker.control.fileno(), "control")

    def caps(self, limits: Limits) -> Caps:
        return limits.caps(counts_threads(self.tier))

    def prepare(self, seat: Seat, caps: Caps) -> Cell:
        """A new sealed child in this worker."""
        cell = seat.worker.prepare(caps)
        self._watch(seat, cell.result, "result")
        return cell

    def listen(self, seat: Seat, cell: Cell) -> None:
        """Watch what a program prints, from its start on."""
        self._watch(seat, cell.output, "output")
        self._watch(seat, cell.errors, "errors")

    def _watch(self, seat: Seat, handle: int, name: Name) -> None:
        self.selector.register(handle, selectors.EVENT_READ, Channel(seat, name))

    def await_room(self, seat: Seat, cell: Cell, waiting: bool) -> None:
        """Watch for room in the pipe to the program, or stop watching."""
        watched = cell.source in self.selector.get_map()
        if waiting and not watched:
            self.selector.register(cell.source, selectors.EVENT_WRITE, Channel(seat, "source"))
        elif watched and not waiting:
            self.selector.unregister(cell.source)

    def ignore(self, *handles: int) -> None:
        for handle in handles:
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(handle)

    def forget(self, cell: Cell) -> None:
        """Watch nothing of this cell any more; its pipes stay open."""
        self.ignore(cell.source, cell.result, cell.output, cell.errors)

    def discard(self, seat: Seat) -> None:
        """End a worker and everything in it."""
        self.seats.remove(seat)
        self.ignore(seat.worker.control.fileno())
        cells = [ended.cell if isinstance(ended, Run) else ended for ended in seat.ending]
        cells += [seat.run.cell] if seat.run is not None else []
        cells += [seat.worker.cell] if seat.worker.cell is not None else []
        for cell in cells:
            self.forget(cell)
            cell.close()
        seat.worker.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for seat in list(self.seats):
                self.discard(seat)
            self.selector.close()
            self._keeper.shutdown()
