"""The live speculation endpoint of docs/engine-contract.md."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specdec_simulator.schedule import MAX_BODY_BYTES, ScheduleRefused, parse_put
from specdec_simulator.simulator import Simulator


def speculation_routes(simulator: Simulator) -> list[Route]:
    """Both routes; none when the simulator plays stock vLLM."""
    if not simulator.settings.contract:
        return []

    async def show(request: Request) -> Response:
        try:
            _authorise(request, simulator)
        except ScheduleRefused as refused:
            return _refusal(refused)
        return JSONResponse(simulator.speculation())

    async def put(request: Request) -> Response:
        try:
            _authorise(request, simulator)
            simulator.check_live()
            limits = simulator.engine.limits
            body = await _body(request)
            return JSONResponse(
                await simulator.put_schedule(parse_put(body, max_batch=limits.max_num_seqs, max_k=limits.start_k))
            )
        except ScheduleRefused as refused:
            return _refusal(refused)

    return [
        Route("/v1/speculation", show, methods=["GET"]),
        Route("/v1/speculation/schedule", put, methods=["PUT"]),
    ]


def _refusal(refused: ScheduleRefused) -> Response:
    error = {"reason": refused.reason, "message": refused.message}
    if refused.field is not None:
        error["field"] = refused.field
    return JSONResponse({"error": error}, refused.status)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return bytes(body)


def _authorise(request: Request, simulator: Simulator) -> None:
    """Read the token anew at each request: a mounted Secret changes under a running engine."""
    given = request.headers.get("x-speculation-authorization")
    if given is None and not simulator.options.api_keys:
        given = request.headers.get("authorization")
    kind, _, token = (given or "").partition(" ")
    expected = _token(simulator.settings.token_file)
    matches = hmac.compare_digest(token.strip().encode(), expected)
    if not expected or kind.lower() != "bearer" or not matches:
        message = "the control token is missing or wrong" if expected else "this engine has no control token"
        raise ScheduleRefused(HTTPStatus.UNAUTHORIZED, "Unauthorized", message)


def _token(file: Path | None) -> bytes:
    """Empty when there is none."""
    try:
        return file.read_bytes().strip() if file else b""
    except OSError:
        return b""
