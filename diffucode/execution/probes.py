"""Attacks on the machine, each a small program, to see whether a sandbox refuses them.

``attack()`` returns True when it got what it wanted and False when the system said no. A probe holds when
its job ends in one of the ways that it names; a mistake in the attack itself (a NameError, a call with
bad arguments) is none of them, so it cannot pass for a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from diffucode.execution.attempt import Job, Limits, Returned
from diffucode.execution.sandbox import Sandbox
from diffucode.execution.supervisor import Done
from diffucode.execution.tiers import interpreter
from diffucode.execution.values import encode

_REFUSED = encode(False)
_LIMITS = Limits(seconds=20.0, job_seconds=30.0)
_BRIEF = replace(_LIMITS, seconds=0.7)


@dataclass(frozen=True)
class Probe:
    """One attack."""

    program: str
    ends: tuple[str, ...] = ("refused",)
    """``refused`` (it returned False), or a status of the call."""
    before: str = ""
    """A program that runs first, as another job on the same worker."""
    limits: Limits = _LIMITS


def probe(sandbox: Sandbox) -> dict[str, bool]:
    """Every attack by name: True when it was refused."""
    alone = {name: one for name, one in PROBES.items() if not one.before}
    held = dict(zip(alone, _held(sandbox, list(alone.values())), strict=True))
    for name, one in PROBES.items():
        if one.before:
            _held(sandbox, [replace(one, program=one.before)])
            held[name] = _held(sandbox, [one])[0]
    return {name: held[name] for name in PROBES}


def _held(sandbox: Sandbox, probes: list[Probe]) -> list[bool]:
    jobs = [Job(one.program, "attack", [encode(())], one.limits) for one in probes]
    results: dict[int, Returned] = {}
    held = [False] * len(probes)
    for done in sandbox.run(jobs, results.__setitem__):
        held[done.job] = _holds(probes[done.job], results.get(done.job), done)
    return held


def _holds(one: Probe, returned: Returned | None, done: Done) -> bool:
    if returned is None or done.infrastructure is not None:
        return False
    if max(len(done.stdout), len(done.stderr)) > one.limits.stdout_bytes:
        return False
    end = "refused" if returned.value == _REFUSED else returned.status
    return end in one.ends


def _tried(attack: str, prelude: str = "") -> str:
    """An attack that raises OSError when it is refused, and got through when it does not."""
    lines = "\n".join(f"        {line}" for line in attack.splitlines())
    return f"""\
import os, socket
{prelude}
def attack():
    try:
{lines}
    except OSError:
        return False
    return True
"""


def _called(x86_64: str, aarch64: str = "") -> str:
    """An attack by a C call, refused when it fails for want of permission and not for another reason."""
    return f"""\
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(4096)
def attack():
    ctypes.set_errno(0)
    result = {x86_64!s} if os.uname().machine == "x86_64" else {aarch64 or x86_64!s}
    return result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""


def _system_call(x86_64: int, aarch64: int, arguments: str) -> str:
    return _called(f"libc.syscall({x86_64}, {arguments})", f"libc.syscall({aarch64}, {arguments})")


def _reads(path: str) -> str:
    """Reads a file, or lists a directory."""
    read = f"os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}, 'rb').read(1)"
    return _tried(read)


def _lists(folder: Path) -> str:
    """Sees more of a directory than the way to the interpreter, which may lie in it."""
    python = Path(interpreter())
    way = [python.relative_to(folder).parts[0]] if python.is_relative_to(folder) else []
    return _tried(f"return bool(set(os.listdir({str(folder)!r})) - set({way!r}))")


def _writes(path: str) -> str:
    return _tried(f"open({path!r}, 'wb').write(b'x')")


PROBES: dict[str, Probe] = {
    # --- network ---
    "tcp_connect": Probe(_tried("socket.create_connection(('127.0.0.1', 22), 1)")),
    "tcp_listen": Probe(_tried("socket.create_server(('127.0.0.1', 0))")),
    "udp_send": Probe(
        _tried("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))")
    ),
    "dns": Probe(_tried("socket.getaddrinfo('example.org', 80)")),
    "unix_socket": Probe(_tried("socket.socket(socket.AF_UNIX).bind('\\0name')")),
    "raw_socket": Probe(_tried("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")),
    "netlink": Probe(_tried("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")),
    # --- files of the machine ---
    "read_passwd": Probe(_reads("/etc/passwd")),
    "read_home": Probe(_lists(Path.home())),
    "read_package": Probe(_reads(str(Path(__file__).parents[1] / "errors.py"))),
    "read_proc": Probe(_reads("/proc/self/environ")),
    "read_parent": Probe(_tried("open(f'/proc/{os.getppid()}/environ', 'rb').read()")),
    "environment": Probe("import os\ndef attack(): return bool(os.environ)"),
    "site_packages": Probe(
        "import os, sys\n"
        "def attack():\n"
        "    for path in sys.path:\n"
        "        for name in ('site-packages', 'dist-packages'):\n"
        "            if os.path.isdir(f'{path}/{name}') and os.listdir(f'{path}/{name}'):\n"
        "                return True\n"
        "    return False\n"
    ),
    "write_root": Probe(_writes("/written")),
    "write_library": Probe(_tried("open(os.path.dirname(os.__file__) + '/x.py', 'w').write('x')")),
    "write_runner": Probe(
        _tried("open(sys.modules['diffucode.execution.runner'].__file__, 'r+b')", "import sys")
    ),
    "write_device": Probe(_writes("/dev/written")),
    "make_device": Probe(_tried("os.mknod('zero', 0o20666, os.makedev(1, 5))")),
    "chroot": Probe(_tried("os.chroot('/tmp')")),
    # --- other processes ---
    "fork": Probe(_tried("if os.fork() == 0: os._exit(0)")),
    "fork_bomb": Probe(
        "import os\n"
        "def attack():\n"
        "    made = 0\n"
        "    for _ in range(100):\n"
        "        try:\n"
        "            if os.fork() == 0:\n"
        "                os._exit(0)\n"
        "            made += 1\n"
        "        except OSError:\n"
        "            pass\n"
        "    return made > 0\n"
    ),
    "exec": Probe(_tried("os.execv(sys.executable, ['python'])", "import sys")),
    "subprocess": Probe(_tried("subprocess.run([sys.executable])", "import subprocess, sys")),
    "spawn": Probe(_tried("os.posix_spawn(sys.executable, ['python'], {})", "import sys")),
    "kill_parent": Probe(_tried("os.kill(os.getppid(), 9)")),
    "kill_first": Probe(_tried("os.kill(1, 9)")),
    "kill_all": Probe(_tried("os.kill(-1, 9)")),
    "signal_by_owner": Probe(
        _tried("fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid() or 1)", "import fcntl")
    ),
    "limits_of_parent": Probe(
        _tried(
            "resource.prlimit(os.getppid() or 1, resource.RLIMIT_NOFILE, (0, 0))", "import resource"
        )
    ),
    "ptrace": Probe(_called("libc.ptrace(16, os.getppid() or 1, 0, 0)")),
    "read_memory": Probe(_called("libc.process_vm_readv(os.getppid() or 1, room, 1, room, 1, 0)")),
    "take_handle": Probe(_system_call(438, 438, "0, 0, 0")),
    # --- privileges and the kernel ---
    "setuid": Probe(_tried("os.setuid(0)")),
    "user_namespace": Probe(_called("libc.unshare(0x10000000)")),
    "mount_namespace": Probe(_called("libc.unshare(0x00020000)")),
    "setns": Probe(_called("libc.setns(0, 0)")),
    "mount": Probe(_called("libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)")),
    "io_uring": Probe(_system_call(425, 425, "8, room")),
    "bpf": Probe(_system_call(321, 280, "0, room, 64")),
    "perf": Probe(_system_call(298, 241, "room, 0, -1, -1, 0")),
    "keyring": Probe(_system_call(250, 219, "0, -3, 1")),
    "userfaultfd": Probe(_system_call(323, 282, "1")),
    "module": Probe(_system_call(175, 105, "room, 4096, room")),
    "clock": Probe(_called("libc.clock_settime(0, room)")),
    "host_name": Probe(_called("libc.sethostname(b'x', 1)")),
    "memory_file": Probe(_called("libc.memfd_create(b'x', 0)")),
    "shared_segment": Probe(_called("libc.shmget(0, 4096, 0o1600)")),
    "semaphore": Probe(_called("libc.semget(0, 1, 0o1600)")),
    "message_queue": Probe(_called("libc.msgget(0, 0o1600)")),
    # --- more than its share ---
    "memory": Probe(
        "def attack():\n"
        "    try:\n"
        "        return len(bytearray(3 << 30)) > 0\n"
        "    except MemoryError:\n"
        "        return False\n"
    ),
    "file_size": Probe(
        _tried(
            "with open('big', 'wb') as file:\n    for _ in range(200): file.write(bytes(1 << 20))"
        )
    ),
    "disk": Probe(
        _tried(
            "for i in range(40):\n    with open(f'{i}', 'wb') as file: file.write(bytes(10 << 20))"
        )
    ),
    "inodes": Probe(_tried("for i in range(20_000): open(f'{i}', 'wb').close()")),
    "handles": Probe(_tried("held = [open('/dev/null') for _ in range(2_000)]")),
    "threads": Probe(
        "import threading, time\n"
        "def attack():\n"
        "    threading.stack_size(1 << 16)\n"
        "    try:\n"
        "        for _ in range(3_000):\n"
        "            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    except RuntimeError:\n"
        "        return False\n"
        "    time.sleep(1)\n"
        "    return True\n",
        ends=("refused", "died"),
    ),
    "loop": Probe("def attack():\n    while True: pass", ends=("timeout",), limits=_BRIEF),
    "sleep": Probe(
        "import time\ndef attack():\n    time.sleep(60)\n    return True",
        ends=("timeout",),
        limits=_BRIEF,
    ),
    "stubborn": Probe(
        "import signal\n"
        "for number in range(1, 32):\n"
        "    if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
        "def attack():\n"
        "    while True:\n"
        "        try:\n"
        "            while True: pass\n"
        "        except BaseException: pass\n",
        ends=("timeout",),
        limits=_BRIEF,
    ),
    "endless_output": Probe(
        "def attack():\n    while True: print('x' * 100_000)", ends=("timeout",), limits=_BRIEF
    ),
    "huge_value": Probe("def attack(): return 'x' * (100 << 20)", ends=("output_limit",)),
    "raise_limits": Probe(
        "import resource\n"
        "def attack():\n"
        "    try:\n"
        "        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "    except (OSError, ValueError):\n"
        "        return False\n"
        "    return True\n"
    ),
    # --- what is left for the next job ---
    "left_file": Probe(
        "import os\ndef attack(): return os.path.exists('left')",
        before="import os\ndef attack(): os.makedirs('left/deep'); os.chmod('left', 0); return True",
    ),
    "left_in_tmp": Probe(
        "import os, tempfile\ndef attack(): return bool(os.listdir(tempfile.gettempdir()))",
        before="import tempfile\ndef attack(): tempfile.mkdtemp(); return True",
    ),
    "left_link": Probe(
        "import os\ndef attack(): return os.path.islink('link')",
        before="import os\ndef attack(): os.symlink('/etc/passwd', 'link'); return True",
    ),
    "left_shared_memory": Probe(
        _tried("shared_memory.SharedMemory('left')", "from multiprocessing import shared_memory"),
        before=_tried(
            "shared_memory.SharedMemory('left', create=True, size=64)",
            "from multiprocessing import shared_memory",
        ),
    ),
    "left_module": Probe(
        "import sys\ndef attack(): return 'left' in sys.modules",
        before="import sys\nsys.modules['left'] = sys\ndef attack(): return True",
    ),
}
