"""The walls that a job puts around itself before it reads a line of the program.

    own session, dies with its parent -> fresh directory -> Landlock -> limits -> no privileges -> seccomp

In that order, because each takes away what the ones before it need. Every step either holds or raises
OSError; the exceptions are said below (a kernel without Landlock, a fresh mount where none is allowed).
None can be undone by the process, and threads inherit them all.

Standard library only: the sandbox loads this file without the package.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from typing import NamedTuple

from diffucode.execution.syscalls import Architecture, filter_program

TMPFS_BYTES, TMPFS_FILES = 64 << 20, 10_000
"""The size of a job's directory where it is a mount of its own."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def checked(result: int, what: str) -> int:
    """The result of a C call, or OSError with its errno."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A raw system call; -1 on an error."""
    values = (ctypes.c_long(x) if isinstance(x, int) else x for x in arguments)
    result: int = _syscall(ctypes.c_long(number), *values)
    return result


class Caps(NamedTuple):
    """The limits the kernel keeps for a job."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    files: int
    threads: int
    """0: not limited by the kernel, which counts all processes of the user where no namespace is."""

    def pack(self) -> bytes:
        return struct.pack("<5Q", *self)

    @classmethod
    def unpack(cls, data: bytes) -> Caps:
        return cls(*struct.unpack("<5Q", data))


def seal(target: Architecture, caps: Caps, place: str, readable: tuple[str, ...]) -> None:
    """Shut this process in: it may write below ``place`` and read below ``readable``."""
    os.setsid()
    die_with_parent()
    fresh_mount(place)
    os.chdir(place)
    forbid_privileges()
    landlock(target, readable, place)
    limit(caps)
    drop_capabilities(target)
    install_filter(target, filter_program(target, os.getpid()))


# --- processes ---------------------------------------------------------------------------------

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def _prctl(option: int, *arguments: int) -> int:
    values = [ctypes.c_ulong(x) for x in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *values)
    return result


def die_with_parent() -> None:
    checked(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl(PDEATHSIG)")


def forbid_privileges() -> None:
    """No setuid file gives any; also what lets Landlock and seccomp in without privileges."""
    checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl(NO_NEW_PRIVS)")


def drop_capabilities(target: Architecture) -> None:
    """All of them, from every set they could come back from."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)  # fails without CAP_SETPCAP: then the rest holds it
    header = struct.pack("<Ii", 0x20080522, 0)
    checked(call(target.numbers["capset"], header, bytes(24)), "capset")


def limit(caps: Caps) -> None:
    """Both limits of each resource: neither can be raised again."""
    for kind, value in (
        (resource.RLIMIT_AS, caps.memory_bytes),
        (resource.RLIMIT_FSIZE, caps.file_bytes),
        (resource.RLIMIT_NOFILE, caps.files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_CPU, caps.cpu_seconds),
        *([(resource.RLIMIT_NPROC, caps.threads)] if caps.threads else []),
    ):
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


# --- the file system ---------------------------------------------------------------------------

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    *(1, 2, 4, 32, 4096, 16384, 1 << 18),
)
CLONE_NEWNS = 0x00020000


def unshare(flags: int) -> None:
    checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    strings = (os.fsencode(text) for text in (source, target, kind))
    result = _libc.mount(*strings, ctypes.c_ulong(flags), options.encode())
    checked(result, f"mount {target}")


def fresh_mount(place: str) -> bool:
    """An empty tmpfs over ``place`` that nobody else sees and that ends with this process.

    False, and nothing done, where this process may not mount: the directory is then what it was, and
    whoever made it has to empty it.
    """
    try:
        unshare(CLONE_NEWNS)
        mount("none", "/", "none", MS_REC | MS_PRIVATE)  # nobody else may see what follows
        options = f"size={TMPFS_BYTES},nr_inodes={TMPFS_FILES},mode=700"
        mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, options)
    except PermissionError:
        return False
    return True


_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_DEVICES = 1 << 6 | 1 << 11  # character and block
_ALL_ACCESS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}


def landlock(target: Architecture, readable: tuple[str, ...], place: str) -> int:
    """Reading below ``readable``, everything but execution below ``place``, nothing else.

    Newer kernels also refuse TCP, abstract sockets and signals to other processes. Returns the version
    of Landlock, 0 where the kernel has none.
    """
    numbers = target.numbers
    version = call(numbers["landlock_create_ruleset"], None, 0, 1)
    if version <= 0:
        return 0
    access = _ALL_ACCESS[max(known for known in _ALL_ACCESS if known <= version)]
    attributes = struct.pack("<QQQ", access, 3, 3)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = checked(
        call(numbers["landlock_create_ruleset"], attributes, size, 0), "landlock_create_ruleset"
    )
    allowed = [(path, _READ_FILE | _READ_DIR) for path in readable]
    allowed += [
        ("/dev/null", _READ_FILE | _WRITE_FILE),
        (place, access & ~_EXECUTE & ~_MAKE_DEVICES),
    ]
    for path, rights in allowed:
        try:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):
            rights &= _READ_FILE | _WRITE_FILE
        rule = struct.pack("<Qi", rights & access, beneath)
        checked(call(numbers["landlock_add_rule"], rules, 1, rule, 0), f"landlock rule for {path}")
        os.close(beneath)
    checked(call(numbers["landlock_restrict_self"], rules, 0), "landlock_restrict_self")
    os.close(rules)
    return version


def install_filter(target: Architecture, program: bytes) -> None:
    """For all that this process does from now on."""
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    filters = ctypes.create_string_buffer(head, len(head))
    result = call(target.numbers["seccomp"], 1, 0, filters)
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:
        raise OSError(errno.ENOSYS, "this kernel has no seccomp filters")
    checked(result, "seccomp")
