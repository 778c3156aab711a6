"""A server of this process on a socket of its own, and models that a test holds up."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI
from scripted import TOKENIZER

from diffucode.generate.model import decoder_of
from diffucode.generate.settings import GenerateConfig
from diffucode.models.families.spec import Usual
from diffucode.protocols import Tree
from diffucode.serve.app import Service
from diffucode.serve.batcher import Batcher
from diffucode.serve.limits import Limits
from diffucode.serve.server import Server, listen, server_of

PATIENCE = 60
"""Seconds after which a test that hangs has failed."""


@dataclass(frozen=True)
class Toy:
    """A loaded model around a denoiser of the byte-level tokenizer, to those who ask no more."""

    denoiser: Any
    name: str = "toy"
    family: str = "toy"
    tokenizer: Any = TOKENIZER
    usual: Usual = field(default_factory=Usual)
    limit: int = 2000

    @property
    def decoder(self) -> str:
        return "ar" if self.denoiser.causal else "diffusion"


def toy(denoiser: Any) -> Any:
    return Toy(denoiser)


class Held:
    """A denoiser that makes no call unless it is let."""

    def __init__(self, denoiser: Any) -> None:
        self._denoiser = denoiser
        self._let = threading.Semaphore(0)
        self._asked = threading.Semaphore(0)
        self.rows: list[int] = []
        """Rows of each call."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def let(self, calls: int) -> None:
        self._let.release(calls)

    def await_call(self) -> None:
        """Wait until a call is asked for that was not waited for yet."""
        assert self._asked.acquire(timeout=PATIENCE), "no call"

    def __call__(self, canvas: Any, ask: Any, readout: Any, **more: Any) -> Tree:
        self._asked.release()
        assert self._let.acquire(timeout=PATIENCE), "nobody let it"
        self.rows.append(canvas.shape[0])
        tree: Tree = self._denoiser(canvas, ask, readout, **more)
        return tree


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    url: str
    client: OpenAI
    batcher: Batcher
    server: Server


@contextmanager
def running(
    loaded: Any, config: GenerateConfig | None = None, limits: Limits | None = None
) -> Iterator[Running]:
    """A server while the block lasts, which has to end with it."""
    config, limits = config or GenerateConfig(), limits or Limits()
    decoder = decoder_of(loaded, config)
    with (
        listen("127.0.0.1", 0) as listening,
        Batcher(loaded, decoder, config.batch_size, limits) as batcher,
        ThreadPoolExecutor(1) as preparing,
    ):
        server = server_of(Service.of(loaded, decoder, config, limits, batcher, preparing))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE) as client:
            yield Running(url, client, batcher, server)
        server.should_exit = True
        batcher.abandon()
        thread.join(PATIENCE)
        assert not thread.is_alive()
