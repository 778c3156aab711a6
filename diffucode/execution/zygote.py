"""The process that jobs are forked from. It starts once, small and without a model in its memory.

It forks, kills and reaps, and reads no job's data: programs, calls and results go through pipes that
the supervisor makes for each job and hands to the child. So nothing of one job, not even in memory that
was freed, is there to be found by the next.

    supervisor -> zygote    FORK caps [in, out, stdout, stderr]     one child at a time, sealed at once
                            BEGIN seconds                           the job may run this long, at the most
                            END [1]                                 kill it, reap it; with 1, first
                                                                    give it time to end by itself
    zygote -> supervisor    HELLO                                   started
                            FORKED [pidfd]
                            ENDED status cpu-seconds cause

It ends when the supervisor does: its end of the socket closes, and this is the first process of its
namespace, so everything in it ends too.

Standard library only: the sandbox loads this file without the package.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import stat
import struct
import time
from typing import NoReturn

from diffucode.execution import runner, seal
from diffucode.execution.syscalls import architecture

FORK, BEGIN, END = b"F", b"B", b"E"
HELLO, FORKED, ENDED = b"h", b"f", b"e"
EXIT = struct.Struct("<idB")
"""Wait status, CPU seconds, and one of the causes below."""
BY_ITSELF, OVERDUE, TOLD = range(3)

DYING_SECONDS = 0.5
"""Between the end of a process's files and its own."""

PRELOADED = (
    *("bisect", "collections", "copy", "dataclasses", "functools", "heapq", "itertools"),
    *("json", "math", "operator", "random", "re", "string", "typing"),
)
"""What programs import most; a fork has it for nothing."""


def main(control: int, place: str, readable: tuple[str, ...]) -> None:
    """Serve the supervisor behind ``control``. Jobs write below ``place`` and read ``readable``."""
    for name in PRELOADED:
        __import__(name)
    os.environ.clear()
    sock = socket.socket(fileno=control)
    sock.send(HELLO)
    gc.collect()
    gc.freeze()  # a collection in a job must not write to pages that it shares with this process
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    child, deadline, overdue = 0, float("inf"), False
    while True:
        left = deadline - time.monotonic()
        if not poll.poll(None if left == float("inf") else max(0, left * 1000)):
            os.kill(child, signal.SIGKILL)  # the supervisor is late; END will reap it
            deadline, overdue = float("inf"), True
            continue
        message, handles, _, _ = socket.recv_fds(sock, 4096, 4)
        kind, rest = message[:1], message[1:]
        if kind == FORK:
            child = _fork(sock, handles, seal.Caps.unpack(rest), place, readable)
        elif kind == BEGIN:
            deadline = time.monotonic() + struct.unpack("<d", rest)[0]
        elif kind == END:
            if rest:
                _await(child)
            ended = _reap(child, overdue)
            deadline, overdue = float("inf"), False
            empty(place)
            sock.send(ENDED + ended)
        else:  # nothing: the supervisor is gone
            return


def _fork(
    sock: socket.socket, handles: list[int], caps: seal.Caps, place: str, readable: tuple[str, ...]
) -> int:
    child = os.fork()
    if child == 0:
        _job(handles, caps, place, readable)
    for handle in handles:
        os.close(handle)
    pidfd = os.pidfd_open(child)
    socket.send_fds(sock, [FORKED], [pidfd])
    os.close(pidfd)
    return child


def _job(handles: list[int], caps: seal.Caps, place: str, readable: tuple[str, ...]) -> NoReturn:
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        source, result, output, errors = handles
        clear = 64  # above every number in use, so that no copy lands on another
        for number, handle in enumerate((null, output, errors, source, result)):
            os.dup2(handle, clear + number)
        for number in range(5):
            os.dup2(clear + number, number)
        os.closerange(5, 1 << 16)
        try:
            seal.seal(architecture(), caps, place, readable)
        except Exception as error:
            runner.send(runner.UNSEALED, runner.NO_CALL, str(error).encode())
        else:
            runner.serve()
    finally:
        os._exit(0)


def _await(child: int) -> None:
    """A dying process closes its files before it can be waited for: how it died would be lost."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(DYING_SECONDS * 1000)
    os.close(pidfd)


def _reap(child: int, overdue: bool) -> bytes:
    """Kill the child if it still runs; when this returns, nothing of it does."""
    pid, status, usage = os.wait4(child, os.WNOHANG)
    cause = OVERDUE if overdue else BY_ITSELF
    if pid == 0:
        cause = TOLD
        os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    return EXIT.pack(status, usage.ru_utime + usage.ru_stime, cause)


def empty(place: str) -> None:
    """Remove what a job left in ``place``: nothing, where the job had a mount of its own."""
    for entry in os.scandir(place):
        if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
            os.chmod(entry.path, 0o700)
            empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
