"""What a server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from diffucode.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Beyond these a request is refused, with an error that says which."""

    queue: int = 64
    """Completions that may wait for a row."""
    body: int = 1 << 20
    """Bytes of a request."""
    drain: float = 30.0
    """Seconds that running requests get to finish when the server is told to end."""

    def __post_init__(self) -> None:
        if self.queue < 0:
            raise ConfigError(f"queue {self.queue}: expected a number of completions >= 0")
        if self.body < 1:
            raise ConfigError(f"max_body {self.body}: expected at least 1 byte")
        if not self.drain >= 0:
            raise ConfigError(f"drain {self.drain}: expected seconds >= 0")
