"""The routes: bodies in, answers out, and a request that is hung up on is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial, wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from diffucode.decoding.engine import Decoder
from diffucode.errors import DiffucodeError
from diffucode.generate.prompted import speaker_of
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.sampling.noise import key
from diffucode.serve.answers import END_OF_STREAM, Answers, event
from diffucode.serve.ask import Body, ChatBody, CompletionBody, parse, read
from diffucode.serve.batcher import Batcher, Done, Event, Failed, Piece, Ticket
from diffucode.serve.failures import Failure, ending
from diffucode.serve.limits import Limits
from diffucode.serve.prepared import Prepared, Preparer

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

log = logging.getLogger("diffucode.serve")

Kind = Literal["completion", "chat"]
Route = Callable[[Request], Awaitable[Response]]

HUNG_UP = Response(status_code=499)  # nobody reads it; nginx' number for it


class Inbox:
    """Events of a ticket, carried from the decoding thread to the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # a closed loop: the server has gone
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self, count: int) -> AsyncIterator[Piece | Done]:
        """Until ``count`` completions are done. Raises Failure."""
        while count:
            event = await self._events.get()
            if isinstance(event, Failed):
                raise event.failure
            count -= isinstance(event, Done)
            yield event


@dataclass
class Service:
    """What the routes share."""

    loaded: Loaded
    config: GenerateConfig
    limits: Limits
    batcher: Batcher
    preparer: Preparer
    thread: ThreadPoolExecutor
    """Of one thread: where requests are prepared, one at a time."""
    arrivals: itertools.count[int]

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        decoder: Decoder,
        config: GenerateConfig,
        limits: Limits,
        batcher: Batcher,
        thread: ThreadPoolExecutor,
    ) -> Service:
        # Tokenizers are not made for several threads; the batcher has the other one.
        own = replace(loaded, tokenizer=deepcopy(loaded.tokenizer))
        preparer = Preparer(own, decoder, speaker_of(own))
        return cls(loaded, config, limits, batcher, preparer, thread, itertools.count(1))

    async def answer(self, kind: Kind, request: Request) -> Response:
        """Answer a request of either kind. Raises DiffucodeError and ClientDisconnect."""
        if self.batcher.refusing:
            raise ending()
        data = parse(await self._body(request))
        arrival = next(self.arrivals)
        id = f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{arrival}"
        seed = key(self.config.seed, "arrival", arrival)[0]
        loop = asyncio.get_running_loop()
        body, prepared, stops = await loop.run_in_executor(
            self.thread, partial(self._prepare, kind, id, data, seed)
        )
        inbox = Inbox()
        ticket = self.batcher.submit(prepared.jobs, inbox, stops if body.stream else None)
        answers = Answers(
            kind,
            id,
            self.loaded.name,
            int(time.time()),
            prepared.prompt_tokens,
            prepared.before,
            prepared.after,
        )
        if body.stream:
            told = self._told(answers, inbox, len(prepared.jobs), body.stream_options.include_usage)
            return Stream(told, self.batcher, ticket)
        return await self._whole(request, answers, inbox, len(prepared.jobs), ticket)

    def _prepare(
        self, kind: Kind, id: str, data: dict[str, Any], seed: int
    ) -> tuple[Body, Prepared, tuple[str, ...]]:
        body: Body
        if kind == "chat":
            body, sampling = chat, _ = read(ChatBody, data, self.config, seed)
            self.check_model(body.model)
            prepared = self.preparer.chat(id, chat.messages, sampling)
        else:
            body, sampling = asked, _ = read(CompletionBody, data, self.config, seed)
            self.check_model(body.model)
            prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
            prepared = self.preparer.completions(id, prompts, asked.suffix, sampling)
        return body, prepared, sampling.config.stop

    def check_model(self, name: str) -> None:
        if name != self.loaded.name:
            raise Failure(
                f"model {name!r}: this server has {self.loaded.name!r} only",
                HTTPStatus.NOT_FOUND,
                param="model",
                code="model_not_found",
            )

    async def _body(self, request: Request) -> bytes:
        """The body, read no further than the limit."""
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > self.limits.body:
                raise Failure(
                    f"the body is over the limit of {self.limits.body} bytes", code="body_too_large"
                )
        return bytes(data)

    async def _whole(
        self, request: Request, answers: Answers, inbox: Inbox, count: int, ticket: Ticket
    ) -> Response:
        async def collect() -> list[Completion]:
            done = {e.index: e.completion async for e in inbox.events(count) if isinstance(e, Done)}
            return [done[index] for index in range(count)]

        collecting = asyncio.create_task(collect())
        leaving = asyncio.create_task(_hung_up(request))
        try:
            await asyncio.wait((collecting, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not collecting.done():
                raise ClientDisconnect
            return JSONResponse(answers.whole(collecting.result()))
        finally:
            self.batcher.cancel(ticket)
            collecting.cancel()
            leaving.cancel()

    @staticmethod
    async def _told(
        answers: Answers, inbox: Inbox, count: int, with_usage: bool
    ) -> AsyncIterator[str]:
        """The events of a stream. An error ends it with an event of its own."""
        begun: set[int] = set()
        done: list[Completion] = []
        try:
            async for e in inbox.events(count):
                text = e.text if isinstance(e, Piece) else answers.after
                if e.index not in begun:
                    begun.add(e.index)
                    if (opening := answers.opening(e.index)) is not None:
                        yield event(opening)
                if isinstance(e, Piece):
                    yield event(answers.piece(e.index, text))
                else:
                    done.append(e.completion)
                    yield event(answers.piece(e.index, text, e.completion))
            if with_usage:
                yield event(answers.counted(done))
            yield END_OF_STREAM
        except Failure as failure:
            yield event(failure.to_json())


class Stream(StreamingResponse):
    """Server-sent events of a ticket, which is cancelled when the response ends, however it does."""

    def __init__(self, events: AsyncIterator[str], batcher: Batcher, ticket: Ticket) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )
        self._end = partial(batcher.cancel, ticket)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _hung_up(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_app(service: Service) -> FastAPI:
    """The application. Its batcher must be running."""
    app = FastAPI(title="diffucode", openapi_url=None)
    created = int(time.time())
    model = {
        "id": service.loaded.name,
        "object": "model",
        "created": created,
        "owned_by": "diffucode",
    }

    @app.post("/v1/completions")
    @answering
    async def completions(request: Request) -> Response:
        return await service.answer("completion", request)

    @app.post("/v1/chat/completions")
    @answering
    async def chat(request: Request) -> Response:
        return await service.answer("chat", request)

    @app.get("/v1/models")
    async def models() -> Any:
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name:path}")
    @answering
    async def one_model(request: Request) -> Response:
        service.check_model(request.path_params["name"])
        return JSONResponse(model)

    @app.get("/health")
    async def health() -> Any:
        decoding, waiting = service.batcher.load
        status = "ending" if service.batcher.refusing else "ok"
        return JSONResponse(
            {"status": status, "decoding": decoding, "waiting": waiting},
            HTTPStatus.SERVICE_UNAVAILABLE if service.batcher.refusing else HTTPStatus.OK,
        )

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = f"{request.method} {request.url.path}: {error.detail}"
        return _failed(Failure(what, error.status_code))

    return app


def answering(route: Route) -> Route:
    """A route whose errors are answers too."""

    @wraps(route)
    async def guarded(request: Request) -> Response:
        try:
            return await route(request)
        except ClientDisconnect:
            return HUNG_UP
        except Failure as failure:
            return _failed(failure)
        except DiffucodeError as error:
            return _failed(Failure(str(error)))
        except Exception as error:  # a fault of ours must not end in a traceback
            log.error("%s: %s: %s", request.url.path, type(error).__name__, error)
            return _failed(Failure("internal error", HTTPStatus.INTERNAL_SERVER_ERROR))

    return guarded


def _failed(failure: Failure) -> Response:
    return JSONResponse(failure.to_json(), failure.status, failure.headers)
