"""A server process: a socket, a model, and an end that lets requests finish.

::

    first signal (SIGTERM, Ctrl-C)   new requests get 503, running ones finish, /health says "ending"
    ``Limits.drain`` seconds later,  what still runs gets 503, and the process ends with 0
    or a second signal
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from diffucode.decoding.engine import Decoder
from diffucode.errors import ServeError
from diffucode.generate.settings import GenerateConfig
from diffucode.serve.app import Service, make_app
from diffucode.serve.ask import check_alone
from diffucode.serve.batcher import Batcher
from diffucode.serve.limits import Limits

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

LAST_WORDS = 5
"""Seconds that connections get to take in their last answer."""


class Server(uvicorn.Server):
    """A uvicorn server that goes on answering while it ends."""

    def __init__(self, config: uvicorn.Config, batcher: Batcher, drain: float) -> None:
        super().__init__(config)
        self._batcher = batcher
        self._drain = drain
        self._ending_since: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        if self._ending_since is not None:
            self._drain = 0.0
            return
        self._ending_since = time.monotonic()
        self._batcher.refuse_new()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn asks ten times a second whether to end."""
        if self._ending_since is not None and not self.should_exit:
            if time.monotonic() - self._ending_since >= self._drain:
                self._batcher.abandon()
                self.should_exit = True
            elif self._batcher.load == (0, 0):
                self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ServeError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}, port {port}: {error}") from None


def serve(
    loaded: Loaded,
    decoder: Decoder,
    config: GenerateConfig,
    limits: Limits,
    listening: socket.socket,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer until a signal ends it. ``ready`` is called once requests can come. Raises ConfigError."""
    check_alone(config)
    with (
        Batcher(loaded, decoder, config.batch_size, limits) as batcher,
        ThreadPoolExecutor(1, "preparing") as thread,
    ):
        server = server_of(Service.of(loaded, decoder, config, limits, batcher, thread))
        ready()
        server.run(sockets=[listening])


def server_of(service: Service) -> Server:
    """The server of these routes; ``run`` answers until it is told to end."""
    settings = uvicorn.Config(
        make_app(service),
        log_level="warning",
        access_log=False,
        lifespan="off",
        http="h11",
        ws="none",
        timeout_graceful_shutdown=LAST_WORDS,
    )
    return Server(settings, service.batcher, service.limits.drain)
