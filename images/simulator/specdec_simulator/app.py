"""The routes. Completions go straight from the ASGI call to the engine; everything else is a plain Starlette app."""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specdec_simulator import VLLM_VERSION, web_metrics
from specdec_simulator.answers import Message, Send, Shape, StreamedAnswer, WholeAnswer
from specdec_simulator.faults import Faults
from specdec_simulator.openai import Generation, RequestRefused, bad_request, parse
from specdec_simulator.simulator import Simulator
from specdec_simulator.speculation import speculation_routes

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
GUARDED: Final = ("/v1", "/v2", "/inference", "/cohere")
MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
DOMAIN_HEADER: Final = b"x-specdec-domain"


class Exchange:
    """One request and how it was answered, for the http_* families. unwatched: the server's own `send`."""

    __slots__ = ("_began", "_scope", "response_bytes", "status", "unwatched")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._began = time.perf_counter()
        self.unwatched = send
        self.status: int | None = None
        self.response_bytes = 0

    async def send(self, message: Message) -> None:
        """Pass on, and note what the answer is."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.response_bytes = _length(message["headers"])
        await self.unwatched(message)

    def count(self, paths: frozenset[str]) -> None:
        """paths: the handlers that exist; all others count as one."""
        if self.status is None:
            return
        path = self._scope["path"]
        web_metrics.count(
            path if path in paths else "none",
            self._scope["method"],
            self.status,
            seconds=time.perf_counter() - self._began,
            request_bytes=_length(self._scope["headers"]),
            response_bytes=self.response_bytes,
        )


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


class App:
    """The ASGI application of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._faults = Faults(simulator)
        routes = [*_routes(simulator, self._faults), *speculation_routes(simulator)]
        self._rest = Starlette(routes=routes)
        self._paths = frozenset({CHAT, COMPLETIONS} | {route.path for route in routes})
        self._keys = [key.encode() for key in simulator.options.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, send)
        try:
            await self._answer(scope, receive, exchange)
        finally:
            exchange.count(self._paths)

    async def _answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        path = scope["path"]
        if self._keys and scope["method"] != "OPTIONS" and path.startswith(GUARDED) and not self._opens(scope):
            await JSONResponse({"error": "Unauthorized"}, HTTPStatus.UNAUTHORIZED)(scope, receive, exchange.send)
        elif path in (CHAT, COMPLETIONS) and scope["method"] == "POST":
            await self._complete(scope, receive, exchange, chat=path == CHAT)
        else:
            await self._rest(scope, receive, exchange.send)

    def _opens(self, scope: Scope) -> bool:
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        return kind.lower() == b"bearer" and any(matches)

    async def _complete(self, scope: Scope, receive: Receive, exchange: Exchange, *, chat: bool) -> None:
        simulator = self._simulator
        simulator.in_flight += 1
        try:
            generation = await self._read(scope, receive, chat=chat)
            if simulator.draining:
                raise RequestRefused(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", "the engine is shutting down"
                )
            await self._serve(generation, receive, exchange, chat=chat)
        except RequestRefused as refused:
            await JSONResponse(refused.body, refused.status)(scope, receive, exchange.send)
        except ConnectionError:
            return
        finally:
            simulator.in_flight -= 1

    async def _read(self, scope: Scope, receive: Receive, *, chat: bool) -> Generation:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_REQUEST_BYTES:
                raise bad_request(f"the body exceeds {MAX_REQUEST_BYTES} bytes")
        options = self._simulator.options
        domain = dict(scope["headers"]).get(DOMAIN_HEADER, b"").decode("latin-1") or None
        return parse(bytes(body), chat=chat, models=options.names, max_model_len=options.max_model_len, domain=domain)

    async def _serve(self, generation: Generation, receive: Receive, exchange: Exchange, *, chat: bool) -> None:
        simulator, send = self._simulator, exchange.unwatched
        key = simulator.next_key()
        shape = Shape(
            chat=chat,
            answer_id=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            model=simulator.options.names[0],
            created=int(time.time()),
        )
        sink: StreamedAnswer | WholeAnswer
        prompt_tokens, first_word = generation.prompt_tokens, 131 * int(key)
        if generation.stream:
            sink = StreamedAnswer(
                send,
                shape,
                prompt_tokens=prompt_tokens,
                first_word=first_word,
                include_usage=generation.include_usage,
                continuous_usage=generation.continuous_usage,
            )
        else:
            sink = WholeAnswer(send, shape, prompt_tokens=prompt_tokens, first_word=first_word)
        request = simulator.submit(generation, sink, key)
        # Returns when the answer is complete and when the client has left: the engine writes without this coroutine.
        while (await receive())["type"] != "http.disconnect":
            pass
        simulator.engine.abort(request)
        exchange.status, exchange.response_bytes = sink.status, sink.content_length


def _routes(simulator: Simulator, faults: Faults) -> list[Route]:
    async def healthy(_: Request) -> Response:
        return Response()

    async def version(_: Request) -> Response:
        return JSONResponse({"version": VLLM_VERSION})

    async def load(_: Request) -> Response:
        return JSONResponse({"server_load": simulator.in_flight})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(simulator, name) for name in simulator.options.names]})

    routes = [
        Route("/health", healthy),
        Route("/ping", healthy, methods=["GET", "POST"]),
        Route("/version", version),
        Route("/load", load),
        Route("/v1/models", models),
        Route("/metrics", faults.metrics),
    ]
    return [*routes, *faults.routes()] if simulator.settings.faults else routes


def _model(simulator: Simulator, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(simulator.engine.counters.created),
        "owned_by": "vllm",
        "root": simulator.options.model,
        "parent": None,
        "max_model_len": simulator.options.max_model_len,
    }
