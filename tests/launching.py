"""Runs of the scripts with accelerate that end before their time, or take two processes."""

import json
import multiprocessing
import os
import pickle
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from running import as_module, forget


class Killed(BaseException):
    """Like a signal: no ``except Exception`` holds it up."""


@contextmanager
def killed_after(owner: type, method: str, point: Callable[..., bool]) -> Iterator[None]:
    """What runs in here ends right after the first call of the method for which ``point`` is true."""
    original = getattr(owner, method)

    def dying(*arguments: Any) -> None:
        original(*arguments)
        if point(*arguments):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, dying)
        with pytest.raises(Killed):
            yield
    forget()


Moment = tuple[str, str, int]
"""An audit event of Python (``os.rename``, ``open``, ...), a pattern of its arguments, and which of the
calls that fit it is meant, from 1. The call itself does not happen any more."""

# Its processes are forked from one that has imported what they need and has no threads.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["accelerate", "diffucode.rl.rollout", "diffucode.models.load"])


def die_at(moment: Moment, script: str, settings: Any, job: str = "train") -> None:
    """Run a function of a script in a process that a signal kills at a moment."""
    process = _started(_dying, moment, script, job, settings)
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{moment}: status {process.exitcode}"


def in_two_processes(script: str, settings: Any, job: str = "train") -> None:
    """Run a function of a script as ``accelerate launch`` with two processes would, on the CPU."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [_started(_together, rank, port, script, job, settings) for rank in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def _started(start: Callable[..., None], *arguments: Any) -> BaseProcess:
    *others, settings = arguments
    # The class of the settings is known there only after the script is.
    process = CONTEXT.Process(target=start, args=(*others, pickle.dumps(settings)))
    process.start()
    return process


def _dying(moment: Moment, script: str, job: str, settings: bytes) -> None:
    event, pattern, left = moment

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name == event and re.search(pattern, " ".join(map(str, arguments))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    run = getattr(as_module(script), job)
    sys.addaudithook(hook)
    run(pickle.loads(settings))


def _together(rank: int, port: int, script: str, job: str, settings: bytes) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank}
    environment = {**place, "WORLD_SIZE": 2, "ACCELERATE_USE_CPU": "true"}
    os.environ |= {name: str(value) for name, value in environment.items()}
    getattr(as_module(script), job)(pickle.loads(settings))
    assert Accelerator().num_processes == 2


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Logged figures without what depends on the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found]
