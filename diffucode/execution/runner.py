"""A job from the inside: read a program, call its function, write what came back.

Messages on file descriptor 3 (in) and frames on 4 (out) have the same head: a kind, eight bytes that
name the call, and the size of what follows. The supervisor sends the next call only after the frame of
the last, each under a new random name. Whatever the program does to this process, it can therefore only
say what *its own current call* returned, and it never learns what should have been returned.

Standard library only: the sandbox loads this file without the package.
"""

from __future__ import annotations

import os
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

from diffucode.execution.values import Limit, Unencodable, decode, encode

IN, OUT = 3, 4
HEAD = struct.Struct("<B8sQ")
NO_CALL = bytes(8)
"""The name under which a job says that it is sealed."""
PROGRAM, CALL = range(2)
READY, UNSEALED, RETURNED, RAISED, UNENCODABLE, OUTPUT_LIMIT = range(6)


def serve() -> None:
    """Until the input ends. The first message is the program; it is answered like a call."""
    send(READY, NO_CALL)
    function: Callable[..., Any] | None = None
    while (message := _receive()) is not None:
        kind, name, data = message
        try:
            if kind == PROGRAM:
                limit, function = _load(data)
                payload = encode(None, limit)
            else:
                assert function is not None
                payload = encode(function(*decode(data)), limit)
            answer = RETURNED
        except Unencodable as error:
            too_much = str(error).startswith("more than")
            answer, payload = (OUTPUT_LIMIT if too_much else UNENCODABLE), b""
        except BaseException as error:  # also SystemExit: a program that leaves has not returned
            answer, payload = RAISED, _class_of(error)
        del data
        _flush()
        send(answer, name, payload)


def send(kind: int, name: bytes, payload: bytes = b"") -> None:
    """One frame."""
    rest = memoryview(HEAD.pack(kind, name, len(payload)) + payload)
    while rest:
        rest = rest[os.write(OUT, rest) :]


def program_message(entry_point: str, program: str, frame_bytes: int) -> bytes:
    """What ``_load`` reads."""
    name = entry_point.encode("utf-8", "surrogatepass")
    head = struct.pack("<QI", frame_bytes, len(name))
    return head + name + program.encode("utf-8", "surrogatepass")


def _load(data: bytes) -> tuple[Limit, Callable[..., Any]]:
    frame_bytes, size = struct.unpack_from("<QI", data)
    entry_point = data[12 : 12 + size].decode("utf-8", "surrogatepass")
    source = data[12 + size :].decode("utf-8", "surrogatepass")
    module = types.ModuleType("program")
    sys.modules["program"] = module  # dataclasses and typing look a class's module up
    exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
    try:
        function = module.__dict__[entry_point]
    except KeyError:
        raise NameError(entry_point) from None
    return Limit(size=frame_bytes), function


def _receive() -> tuple[int, bytes, bytes] | None:
    head = _exactly(HEAD.size)
    if head is None:
        return None
    kind, name, size = HEAD.unpack(head)
    data = _exactly(size)
    return None if data is None else (kind, name, data)


def _exactly(size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(IN, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _class_of(error: BaseException) -> bytes:
    try:
        return str(type(error).__name__)[:100].encode("utf-8", "replace")
    except BaseException:
        return b"Exception"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # the program may have put anything there
            continue
