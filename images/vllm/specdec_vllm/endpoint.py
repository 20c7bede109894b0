"""The endpoint plugin: the live speculation routes and the exact counters, in each API server."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.registry import REGISTRY
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specdec_vllm.authentication import authenticate, control_token
from specdec_vllm.counters import CounterReader, Snapshot
from specdec_vllm.exposition import ExactCounters
from specdec_vllm.schedule import MAX_BODY_BYTES, Refusal, decode, unavailable

SPECULATION_PATH: Final = "/v1/speculation"
SCHEDULE_PATH: Final = "/v1/speculation/schedule"
ENGINE_TIMEOUT_VARIABLE: Final = "SPECDEC_ENGINE_TIMEOUT_SECONDS"
ENGINE_TIMEOUT_SECONDS: Final = 4.0
IN_TIME: Final = 0.8  # share of it after which the engine loop changes nothing: its answer would come too late

logger = logging.getLogger("vllm.specdec")

Answer = Callable[[Request], Awaitable[dict[str, Any]]]


class SpeculationEndpoint:
    """vLLM calls `attach_router` while it builds its application and `init_state` once the engine runs."""

    name = "specdec_http"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._seconds = _engine_timeout(os.environ)
        self._engine: Any = None
        self._collector: ExactCounters | None = None

    def attach_router(self, app: Any) -> None:
        routes = [
            Route(SPECULATION_PATH, self._route(self._get), methods=["GET"]),
            Route(SCHEDULE_PATH, self._route(self._put), methods=["PUT"]),
        ]
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # With several API servers vLLM gathers its page from files, past any collector of one process.
            app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", None) != "/metrics"]
            routes.append(Route("/metrics", self._gathered_page, methods=["GET"]))
        app.router.routes[:0] = routes

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        del state, args
        self._engine = engine_client.engine_core
        described = await self._engine.call_utility_all_async("specdec_describe")
        readers = {d["engine"]: CounterReader(Path(d["counters"])) for d in described if d["counters"] is not None}
        model_name = engine_client.vllm_config.model_config.served_model_name

        def read() -> Mapping[str, Snapshot]:
            return {engine: reader.read() for engine, reader in readers.items()}

        self._collector = ExactCounters(model_name, read)
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            REGISTRY.register(self._collector)
        logger.info("live speculation endpoint at %s for %d engine(s)", SPECULATION_PATH, len(described))

    async def _get(self, request: Request) -> dict[str, Any]:
        del request
        described = await self._call("specdec_describe")
        return dict(described["speculation"])

    async def _put(self, request: Request) -> dict[str, Any]:
        # A call that is given up still reaches the engine loop, so it carries the time after which it is void.
        wanted = decode(await _body(request))
        result = await self._call("specdec_put", wanted, time.monotonic() + IN_TIME * self._seconds)
        if "refusal" in result:
            error = result["refusal"]["error"]
            raise Refusal(result["status"], error["reason"], error["message"], error.get("field"))
        return dict(result["schedule"])

    async def _call(self, method: str, *arguments: object) -> dict[str, Any]:
        try:
            return dict(await asyncio.wait_for(self._engine.call_utility_async(method, *arguments), self._seconds))
        except asyncio.TimeoutError:
            raise unavailable(f"the engine loop did not answer within {self._seconds:g} s; try again") from None
        except Exception as error:
            logger.exception("speculation: %s failed", method)
            raise unavailable(f"the engine loop failed: {type(error).__name__}") from error

    def _route(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                authenticate(request.headers, control_token())
                return JSONResponse(await answer(request))
            except Refusal as refusal:
                return JSONResponse(refusal.body(), status_code=refusal.status)
            except ClientDisconnect:
                return Response(status_code=499)

        return handle

    async def _gathered_page(self, request: Request) -> Response:
        del request
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        if self._collector is not None:
            registry.register(self._collector)
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _engine_timeout(environment: Mapping[str, str]) -> float:
    text = environment.get(ENGINE_TIMEOUT_VARIABLE, str(ENGINE_TIMEOUT_SECONDS))
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{ENGINE_TIMEOUT_VARIABLE} must be a number of seconds, not {text!r}") from None


async def _body(request: Request) -> bytes:
    """The body, read no further than the contract allows."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise Refusal(413, "TooLarge", f"the body exceeds {MAX_BODY_BYTES} bytes")
    return bytes(content)
