"""Work that several processes share: each part is claimed by one at a time, and freed when that is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process may work in the folder. The system forgets the claim of one that is killed, and
    keeps it as long as a process lives that it started."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            os.set_inheritable(lock.fileno(), True)
            yield True
