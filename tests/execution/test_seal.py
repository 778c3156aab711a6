"""Walls that others stand in front of, each alone, in a child of this process."""

import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from diffucode.execution import seal, syscalls, zygote


def in_child(check: Callable[[], None]) -> None:
    """Run a check in a forked process, which it may seal; its failure is ours."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, since 3.12
        pid = os.fork()
    if pid == 0:
        try:
            check()
            os.write(write, b"ok")
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    assert said == "ok", said


def refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except PermissionError:
        return True
    return False


def test_landlock_alone(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "file").write_text("x")

    def check() -> None:
        seal.forbid_privileges()
        if not seal.landlock(syscalls.architecture(), (os.path.dirname(os.__file__),), str(inside)):
            return  # a kernel without it
        (inside / "file").write_text("x")
        (inside / "file").rename(inside / "renamed")
        Path(os.__file__).read_bytes()
        assert refused(Path("/etc/passwd").read_text)
        assert refused(lambda: (outside / "file").read_text())
        assert refused(lambda: (outside / "new").write_text("x"))
        assert refused(lambda: os.listdir("/"))
        assert refused(lambda: os.open(os.__file__, os.O_RDWR))
        assert refused(lambda: os.execv("/bin/true", ["true"]))

    in_child(check)


def test_no_capability_stays():
    def check() -> None:
        seal.drop_capabilities(syscalls.architecture())
        with open("/proc/self/status") as file:
            held = {line.split()[0]: line.split()[1] for line in file if line.startswith("Cap")}
        for kind in ("CapEff:", "CapPrm:", "CapInh:", "CapAmb:"):
            assert int(held[kind], 16) == 0, held

    in_child(check)


def test_the_filter_alone():
    def check() -> None:
        target = syscalls.architecture()
        seal.forbid_privileges()
        seal.install_filter(target, syscalls.filter_program(target, os.getpid()))
        assert refused(os.fork)
        assert refused(lambda: os.kill(os.getppid(), 0))
        assert refused(lambda: os.execv("/bin/true", ["true"]))
        os.kill(os.getpid(), 0)

    in_child(check)


def test_emptying_follows_no_link(tmp_path):
    place, kept = tmp_path / "place", tmp_path / "kept"
    (place / "a" / "b").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").write_text("x")
    (place / "a" / "link").symlink_to(kept)
    (place / "a" / "b" / "file").write_text("x")
    (place / "a").chmod(0)
    zygote.empty(str(place))
    assert list(place.iterdir()) == []
    assert (kept / "file").exists()


def test_an_unknown_machine_has_no_filter(monkeypatch):
    monkeypatch.setattr(syscalls.platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        syscalls.architecture()
