"""Namespaces and a root of its own, without bubblewrap: the same picture by direct system calls.

    user, mount, process, network, IPC, host name namespaces -> an empty tmpfs as root
    -> read-only copies of the listed paths -> pivot -> no further user namespaces -> fork: process 1

Needs what bubblewrap needs of the kernel (unprivileged user namespaces) and Linux 5.12 for read-only
mounts of whole trees. Raises OSError at the step that is refused.

Standard library only: the sandbox loads this file before it has a root of its own.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence

from diffucode.execution import seal
from diffucode.execution.syscalls import architecture

_NEW = {"user": 0x10000000, "ipc": 0x08000000, "pid": 0x20000000, "net": 0x40000000}
_NEW |= {"mount": seal.CLONE_NEWNS, "uts": 0x04000000, "cgroup": 0x02000000}
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2
_MNT_DETACH = 2


Pairs = Sequence[tuple[str, str]]


def enter(root: str, binds: Pairs, links: Pairs, hidden: Sequence[str]) -> None:
    """Return in process 1 of a new set of namespaces, whose files are ``binds`` alone.

    ``root`` is an empty directory to mount on; ``binds`` are (source, path inside), ``links`` (target,
    path inside), ``hidden`` directories that shall appear empty. The calling process stays behind and
    ends with its child.
    """
    uid, gid = os.getuid(), os.getgid()
    seal.die_with_parent()
    seal.unshare(sum(_NEW.values()))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"65534 {uid} 1")
    _write("/proc/self/gid_map", f"65534 {gid} 1")
    seal.mount("none", "/", "none", seal.MS_REC | seal.MS_PRIVATE)
    with contextlib.suppress(OSError):  # a read-only /proc/sys: the filter refuses them as well
        _write("/proc/sys/user/max_user_namespaces", "0")
    _build(root, binds, links, hidden)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    seal.die_with_parent()


def _build(root: str, binds: Pairs, links: Pairs, hidden: Sequence[str]) -> None:
    size = f"size={seal.TMPFS_BYTES},nr_inodes={seal.TMPFS_FILES},mode=755"
    seal.mount("tmpfs", root, "tmpfs", seal.MS_NOSUID | seal.MS_NODEV, size)
    for source, path in binds:
        _bind(source, root + path)
    for path in hidden:
        seal.mount("tmpfs", root + path, "tmpfs", seal.MS_RDONLY, "size=4k,nr_inodes=1,mode=755")
    for target, path in links:
        os.symlink(target, root + path)
    os.makedirs(root + "/tmp", exist_ok=True)  # an environment that lies in /tmp has made it
    os.chdir(root)
    numbers = architecture().numbers
    seal.checked(seal.call(numbers["pivot_root"], b".", b"."), "pivot_root")
    seal.checked(seal.call(numbers["umount2"], b".", _MNT_DETACH), "umount the old root")
    os.chdir("/")
    seal.mount("tmpfs", "/tmp", "tmpfs", seal.MS_NOSUID | seal.MS_NODEV, size)
    flags = seal.MS_REMOUNT | seal.MS_RDONLY | seal.MS_NOSUID | seal.MS_NODEV
    seal.mount("tmpfs", "/", "tmpfs", flags, size)


def _bind(source: str, target: str) -> None:
    """``source`` at ``target``; read-only but for devices, which are what they are."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    seal.mount(source, target, "none", seal.MS_BIND | seal.MS_REC)
    if source.startswith("/dev/"):
        return
    attributes = struct.pack("<QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    number = architecture().numbers["mount_setattr"]
    seal.checked(
        seal.call(number, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, 32),
        f"read-only {target}",
    )


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
