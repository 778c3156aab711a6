"""The attacks are refused inside, and are real: most of them get through where nothing is sealed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diffucode.errors import SandboxError
from diffucode.execution import probes
from diffucode.execution.probes import PROBES, probe
from diffucode.execution.sandbox import Sandbox
from diffucode.execution.tiers import ISOLATING, bubblewraps

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tier", ISOLATING)
def test_every_attack_is_refused(tier):
    try:
        opened = Sandbox(2, tier)
    except SandboxError as error:
        pytest.skip(str(error))
    with opened:
        held = probe(opened)
    assert list(held) == list(PROBES)
    assert [name for name, refused in held.items() if not refused] == []
    assert len(held) > 60


UNSEALED = """
import json, os, sys
from diffucode.execution.probes import PROBES
through = []
for name in sys.argv[1:]:
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        if child := os.fork():  # the parent that an attack may hit
            os.waitpid(child, 0)
            os._exit(0)
        module = {"__name__": "program"}
        try:
            exec(PROBES[name].program, module)
            os.write(write, b"1" if module["attack"]() else b"0")
        finally:
            os._exit(0)
    os.close(write)
    if os.read(read, 1) == b"1":
        through.append(name)
    os.waitpid(pid, 0)
    os.close(read)
print(json.dumps(through))
"""

# Not here: what runs for ever, what needs two jobs, what depends on the machine (home, network,
# installed packages, keyrings) and what its kernel may refuse to anybody. kill_* would end the test.
REAL = (
    *("tcp_listen", "unix_socket", "netlink", "raw_socket"),
    *("read_passwd", "read_package", "read_proc", "read_parent", "environment"),
    *("fork", "fork_bomb", "subprocess", "spawn", "signal_by_owner", "limits_of_parent"),
    *("read_memory", "user_namespace", "mount_namespace", "memory_file"),
    *("shared_segment", "semaphore", "message_queue", "host_name", "setuid", "chroot"),
    "raise_limits",
)


def test_the_attacks_are_real():
    """In namespaces of their own, as root there and unsealed, so that nothing reaches this machine."""
    try:
        Sandbox(1).close()
    except SandboxError as error:
        pytest.skip(str(error))
    files = "--ro-bind / / --dev /dev --proc /proc --tmpfs /tmp"
    for needed in (ROOT, sys.prefix):  # they may lie in /tmp themselves
        files += f" --ro-bind {needed} {needed}"
    alone = (
        "--die-with-parent --unshare-all --unshare-user --uid 0 --gid 0 --cap-add ALL --chdir /tmp"
    )
    done = subprocess.run(
        [
            *(bubblewraps()[-1], *files.split(), *alone.split()),
            *("--setenv", "PYTHONPATH", str(ROOT), "--", sys.executable, "-c", UNSEALED, *REAL),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    through = json.loads(done.stdout)
    assert [name for name in REAL if name not in through] == []


def test_a_probe_that_is_broken_does_not_hold(monkeypatch):
    try:
        opened = Sandbox(1)
    except SandboxError as error:
        pytest.skip(str(error))
    broken = {
        "misspelt": replace(PROBES["fork"], program="def attack(): return os.fork()"),
        "through": replace(PROBES["fork"], program="def attack(): return True"),
        "slow": replace(PROBES["loop"], program="def attack(): return True"),
        "silent": replace(PROBES["fork"], program="import os\nos._exit(0)"),
        "refused": PROBES["fork"],
    }
    monkeypatch.setattr(probes, "PROBES", broken)
    with opened:
        assert [name for name, held in probe(opened).items() if held] == ["refused"]
