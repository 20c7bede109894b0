"""Read and change the schedule of a running engine: the client side of docs/engine-contract.md."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from specdec.api.schedule import Schedule
from specdec.engine.errors import REFUSALS, EngineUnreachable, ProtocolError, Refused
from specdec.engine.speculation import API_VERSION, ErrorAnswer, ScheduleInForce, Speculation
from specdec.engine.target import Target

SPECULATION_PATH: Final = "/v1/speculation"
SCHEDULE_PATH: Final = "/v1/speculation/schedule"
MAX_ANSWER_BYTES: Final = 256 * 1024
IN_FLIGHT: Final = 8

Answer = TypeVar("Answer", bound=BaseModel)


class LiveClient:
    """Speaks to many engines; keep one for the life of the process and close it at the end.

    timeout_seconds: for one whole exchange. Errors: see `specdec.engine.errors`.
    """

    def __init__(self, *, timeout_seconds: float = 5.0) -> None:
        self._timeout_seconds = timeout_seconds
        limits = httpx.Limits(max_connections=IN_FLIGHT, keepalive_expiry=3.0)
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(limits=limits, retries=1),
            timeout=timeout_seconds,
            headers={"Accept-Encoding": "identity", "User-Agent": "specdec"},
            follow_redirects=False,
        )
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def get(self, target: Target) -> Speculation:
        """What the engine can do and the schedule in force."""
        answer = self._checked(Speculation, target, await self._exchange("GET", SPECULATION_PATH, target))
        if answer.api_version != API_VERSION:
            raise ProtocolError(target.pod, f"speaks {answer.api_version}, this operator speaks {API_VERSION}")
        return answer

    async def put(
        self, target: Target, schedule: Schedule, *, revision: int, if_revision: int | None = None
    ) -> ScheduleInForce:
        """Put `schedule` in force as `revision`, all of it or nothing; safe to repeat with the same revision.

        if_revision: refuse with RevisionConflict unless this one is in force.
        """
        body = json.dumps(_request(schedule, revision, if_revision)).encode()
        answer = self._checked(ScheduleInForce, target, await self._exchange("PUT", SCHEDULE_PATH, target, body))
        if answer.revision != revision:
            raise ProtocolError(target.pod, f"accepted revision {revision} but reports {answer.revision}")
        return answer

    async def aclose(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _exchange(self, method: str, path: str, target: Target, body: bytes | None = None) -> bytes:
        headers = target.control_headers() | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            async with self._in_flight, asyncio.timeout(self._timeout_seconds):
                return await self._send(method, path, target, headers, body)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{method} {path}: no answer within {self._timeout_seconds:g} s"
            raise EngineUnreachable(target.pod, message, timed_out=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EngineUnreachable(target.pod, f"{method} {path}: {type(error).__name__}: {error}") from error

    async def _send(self, method: str, path: str, target: Target, headers: dict[str, str], body: bytes | None) -> bytes:
        content = bytearray()
        async with self._client.stream(method, target.url + path, headers=headers, content=body) as response:
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise ProtocolError(target.pod, f"{method} {path}: the answer exceeds {MAX_ANSWER_BYTES} bytes")
        if response.status_code != httpx.codes.OK:
            raise _refusal(target, response.status_code, bytes(content))
        return bytes(content)

    def _checked(self, kind: type[Answer], target: Target, content: bytes) -> Answer:
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ProtocolError(target.pod, f"unexpected answer at {where or 'its start'}: {first['msg']}") from error


def _request(schedule: Schedule, revision: int, if_revision: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"revision": revision, "off": schedule.off}
    if if_revision is not None:
        body["ifRevision"] = if_revision
    if not schedule.off:
        body["entries"] = [
            {"fromBatch": t.from_batch, "toBatch": t.to_batch, "numSpeculativeTokens": t.num_speculative_tokens}
            for t in schedule.tiers
        ]
    return body


def _refusal(target: Target, status: int, content: bytes) -> Refused | ProtocolError:
    kind = REFUSALS.get(status)
    if kind is None:
        return ProtocolError(target.pod, f"answered {status}, which the contract does not know")
    try:
        said = ErrorAnswer.model_validate_json(content).error
    except ValidationError:
        # A server in between, or an engine without the endpoint, answers in its own words.
        return kind(target.pod, f"refused with status {status}", reason=kind.__name__)
    return kind(target.pod, said.message[:1000], reason=said.reason[:100], field=said.field)
