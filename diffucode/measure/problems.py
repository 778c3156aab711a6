"""minicode's problems and their tests, kept on disk: making both takes far longer than running them.

::

    FOLDER/problems/<digest of the generator's source>/<digest of the problem's id>

Any number of processes may share the folder: a file appears whole, and all would write the same.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from diffucode.execution.values import Undecodable, decode, encode
from diffucode.files import write_atomic
from diffucode.progress import Progress, silent
from diffucode.tasks import minicode
from diffucode.tasks.problem import Case, Problem, Reference, Tests
from diffucode.tasks.syntax import canonical

PROCESSES = 2
ONLOOKERS = {"corruption.py", "detect.py", "disjoint.py", "export.py"}
FEW = 8
"""Up to as many are made in this process: others take seconds to start."""


class Known(NamedTuple):
    """A problem with its tests."""

    problem: Problem
    tests: Tests


class Problems:
    """Problems by their ids, made where they are not known yet."""

    def __init__(self, folder: Path, progress: Progress = silent) -> None:
        self.folder = folder / "problems" / generator_digest()
        self._progress = progress
        self._known: dict[str, Known] = {}

    def get(self, ids: Iterable[str]) -> list[Known]:
        """The problems of these ids, each made at most once for all runs of this generator.

        Many are made by processes of their own, so a script has to guard its main. Raises TaskError on
        an id that is not minicode's.
        """
        ids = list(ids)
        missing = []
        for id in dict.fromkeys(ids):
            if id in self._known:
                continue
            if (found := self._read(id)) is None:
                missing.append(id)
            else:
                self._known[id] = found
        if missing:
            self._make(missing)
        return [self._known[id] for id in ids]

    def _make(self, ids: list[str]) -> None:
        with _mapping(len(ids)) as mapped:
            for done, (id, known) in enumerate(zip(ids, mapped(ids), strict=True), start=1):
                write_atomic(self._file(id), to_bytes(known))
                self._known[id] = known
                self._progress("problems", done, len(ids))

    def _file(self, id: str) -> Path:
        return self.folder / hashlib.sha256(id.encode()).hexdigest()[:32]

    def _read(self, id: str) -> Known | None:
        try:
            return from_bytes(self._file(id).read_bytes())
        except (OSError, Undecodable, TypeError, ValueError):
            return None  # not made yet, or broken: it is made again


def made(id: str) -> Known:
    """A problem and its tests, by the generator."""
    return Known(minicode.problem(id), minicode.tests(id))


def ids(split: str, seed: int, n: int) -> list[str]:
    """The ids of ``minicode.problems(split, seed, n)``."""
    return [f"minicode/{split}/{seed}/{index}" for index in range(n)]


def to_bytes(known: Known) -> bytes:
    """Plain data, as it enters the sandbox; ``from_bytes`` gives back the same."""
    sets = (known.tests.reward, known.tests.base, known.tests.plus)
    cases = [[(case.arguments, case.expected) for case in some] for some in sets]
    plain = asdict(known.problem)
    return encode([plain | {"references": [asdict(r) for r in known.problem.references]}, cases])


def from_bytes(data: bytes) -> Known:
    """Raises Undecodable, TypeError or ValueError on anything but what ``to_bytes`` wrote."""
    plain, sets = decode(data)
    references = tuple(Reference(**fields) for fields in plain["references"])
    tests = Tests(*(tuple(Case(*case) for case in cases) for cases in sets))
    return Known(replace(Problem(**plain), references=references), tests)


def generator_digest(package: Path = Path(minicode.__file__).parent) -> str:
    """Of all that decides what the problem and the tests of an id are.

    Remarks, layout and annotations do not, nor do the modules that only look at problems.
    """
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        if file.name not in ONLOOKERS:
            source = file.read_text(encoding="utf-8")
            digest.update(f"{file.relative_to(package).as_posix()}\n{canonical(source)}".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _mapping(count: int) -> Iterator[Callable[[list[str]], Iterable[Known]]]:
    """Maps ids to problems and tests, in this process or in several."""
    if count <= FEW:
        yield lambda ids: map(made, ids)
        return
    # spawn: this process may run torch's threads, which a fork would cut off.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        yield lambda ids: pool.map(made, ids, chunksize=4)
