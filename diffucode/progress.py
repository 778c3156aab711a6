"""How far a long job is: told to a function that the caller brings."""

from __future__ import annotations

from collections.abc import Callable

import rich.progress
from rich.console import Console

Progress = Callable[[str, int, int], None]
"""``progress(title, done, total)``; the last call of a title has done == total."""


def silent(title: str, done: int, total: int) -> None:
    """Tells nobody."""


class Bars:
    """Progress bars on stderr, one title after the other: a ``Progress``, and a context manager.

    ``watched``: only where somebody looks, at a terminal.
    """

    def __init__(self, *, watched: bool = False) -> None:
        self._watched = watched
        self._title = ""
        self._bar: rich.progress.Progress | None = None
        self._task = rich.progress.TaskID(0)

    def __enter__(self) -> Bars:
        return self

    def __call__(self, title: str, done: int, total: int) -> None:
        if self._bar is None or title != self._title:
            self.__exit__()
            columns = (
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TimeRemainingColumn(),
            )
            console = Console(stderr=True)
            hidden = self._watched and not console.is_terminal
            self._bar = rich.progress.Progress(*columns, console=console, disable=hidden)
            self._title, self._task = title, self._bar.add_task(title, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)
        if done == total:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
