"""Programs whose algorithm is known: written by hand, three algorithms to a problem, each spelled four times.

A problem is a Markdown file: its name, what is asked, cases, and for each algorithm a section with a block
of Python for each program. ``tuning`` is for choosing features and thresholds, ``test`` only for reporting
what they are worth; no problem stands in both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffucode.errors import TaskError
from diffucode.tasks.problem import Case

Half = Literal["tuning", "test"]
FOLDER = Path(__file__).parent / "handwritten"
ALGORITHMS, SPELLINGS = 3, 4

_PROBLEM = re.compile(r"# (\w+)\n\n(.+?)\n\n```cases\n(.+?)```\n", re.DOTALL)
_PROGRAM = re.compile(r"```python\n(.+?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Labelled:
    """A problem and its programs, with the algorithm of each."""

    name: str
    """Also the name of the function that is asked for."""
    statement: str
    cases: tuple[Case, ...]
    programs: tuple[str, ...]
    algorithms: tuple[str, ...]

    @property
    def inputs(self) -> list[tuple[object, ...]]:
        """The arguments of the cases."""
        return [case.arguments for case in self.cases]


def labelled(half: Half, folder: Path = FOLDER) -> list[Labelled]:
    """The problems of a half, by name. Raises TaskError where a file is not as the module says."""
    files = sorted((folder / half).glob("*.md"))
    if not files:
        raise TaskError(
            f"{folder / half}: expected problems (*.md), found none; install diffucode again"
        )
    return [_read(file) for file in files]


def _read(file: Path) -> Labelled:
    head, *sections = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = _PROBLEM.match(head)
    if found is None or found[1] != file.stem:
        raise TaskError(f"{file}: expected '# {file.stem}', a statement and a block of cases first")
    programs: list[str] = []
    algorithms: list[str] = []
    for section in sections:
        algorithm, _, text = section.partition("\n")
        spellings = _PROGRAM.findall(text)
        if len(spellings) != SPELLINGS:
            raise TaskError(
                f"{file}: {algorithm}: expected {SPELLINGS} programs, got {len(spellings)}"
            )
        programs += spellings
        algorithms += [algorithm] * SPELLINGS
    if len(sections) != ALGORITHMS:
        raise TaskError(f"{file}: expected {ALGORITHMS} algorithms, got {len(sections)}")
    cases = _cases(file, found[3].splitlines())
    return Labelled(found[1], found[2], cases, tuple(programs), tuple(algorithms))


def _cases(file: Path, lines: Sequence[str]) -> tuple[Case, ...]:
    cases = []
    for line in lines:
        arguments, _, expected = line.partition(" -> ")
        try:
            cases.append(Case(ast.literal_eval(arguments), ast.literal_eval(expected)))
        except (SyntaxError, ValueError):
            raise TaskError(f"{file}: {line}: expected '(arguments,) -> value'") from None
    return tuple(cases)
