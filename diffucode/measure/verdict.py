"""What a scorer says of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Of a sample. None: the sandbox could not do its work, which is no failure of the program."""

    task: str
    sample: int
    base: bool | None
    plus: bool | None
    why: str = ""
    """What the first test that failed ended with."""

    def to_json(self) -> dict[str, Any]:
        return {
            "task_id": self.task,
            "sample": self.sample,
            "base": self.base,
            "plus": self.plus,
            "why": self.why,
        }
