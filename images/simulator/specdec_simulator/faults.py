"""Faults on demand, for tests: GET, PUT and DELETE /test/faults when SPECDEC_SIM_FAULTS is on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specdec_simulator.acceptance import ProfileError
from specdec_simulator.exposition import CONTENT_TYPE
from specdec_simulator.simulator import Simulator

METRICS_FAULTS: Final = frozenset({"lost", "hang", "garbage", "huge", "negative"})
CRASH_EXIT_CODE: Final = 139
_HUGE: Final = b'vllm:generation_tokens_total{engine="0",model_name="x"} 1\n' * 65536
_GARBAGE: Final = bytes(range(256)) * 64 + b"\nvllm:generation_tokens_total{ 1\nvllm:num_requests_running NaN\n"
_NEGATIVE: Final = b'vllm:generation_tokens_total{engine="0",model_name="x"} -5\n'
_FIELDS: Final = frozenset({"slow", "hang", "crash", "metrics", "resetCounters", "mismatchedDrafter", "drift"})


class FaultError(ValueError):
    """The body asks for a fault that does not exist."""


class Faults:
    """What is wrong at the moment with `simulator`, and its metrics route, which may be wrong as well."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._metrics: str | None = None
        self._drift: asyncio.TimerHandle | None = None
        self._present: dict[str, Any] = {}

    def routes(self) -> list[Route]:
        return [Route("/test/faults", self._handle, methods=["GET", "PUT", "DELETE"])]

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        if self._metrics == "lost":
            return Response("Internal Server Error", 500)
        if self._metrics == "hang":
            await asyncio.Event().wait()
        page = {"garbage": _GARBAGE, "huge": _HUGE, "negative": _NEGATIVE}.get(self._metrics or "")
        return Response(page or self._simulator.metrics(), headers={"content-type": CONTENT_TYPE})

    async def _handle(self, request: Request) -> Response:
        try:
            if request.method == "PUT":
                self._put(_checked(await request.json()))
            elif request.method == "DELETE":
                self._clear()
        except (FaultError, ProfileError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self._present)

    def _put(self, faults: Mapping[str, Any]) -> None:
        clock = self._simulator.clock
        if faults.get("crash"):
            os._exit(CRASH_EXIT_CODE)
        if "slow" in faults:
            clock.slow = float(faults["slow"])
        if "hang" in faults:
            self._hang(bool(faults["hang"]))
        if "metrics" in faults:
            self._metrics = faults["metrics"]
        if faults.get("resetCounters"):
            self._simulator.reset_counters()
        if faults.get("mismatchedDrafter"):
            self._simulator.acceptance.mismatch()
        if "drift" in faults:
            self._set_drift(faults["drift"])
        self._present |= {name: value for name, value in faults.items() if name != "resetCounters"}

    def _hang(self, hang: bool) -> None:
        clock = self._simulator.clock
        if hang:
            clock.hung = True
        elif clock.hung:
            clock.resume()

    def _set_drift(self, drift: Mapping[str, Any]) -> None:
        """{"afterSeconds": 30, "domains": {"chat": "hard"}}: then, requests of one domain behave like another."""
        if self._drift is not None:
            self._drift.cancel()
        domains = dict(drift["domains"])
        self._simulator.acceptance.check_domains(domains)
        after = float(drift.get("afterSeconds", 0))
        self._drift = asyncio.get_running_loop().call_later(after, self._drift_now, domains)

    def _drift_now(self, domains: Mapping[str, str]) -> None:
        self._simulator.acceptance.replace(domains)
        self._present["drifted"] = True

    def _clear(self) -> None:
        if self._drift is not None:
            self._drift.cancel()
        self._simulator.clock.slow = 1.0
        self._hang(False)
        self._metrics = None
        self._simulator.acceptance.replace({})
        self._present.clear()


def _checked(faults: Any) -> Mapping[str, Any]:
    if not isinstance(faults, dict) or not set(faults) <= _FIELDS:
        raise FaultError(f"a JSON object with some of {', '.join(sorted(_FIELDS))}")
    slow = faults.get("slow", 1.0)
    if type(slow) not in (int, float) or not 0 < slow < 1000:
        raise FaultError("slow: a factor above 0")
    if faults.get("metrics") not in (None, *METRICS_FAULTS):
        raise FaultError(f"metrics: null or one of {', '.join(sorted(METRICS_FAULTS))}")
    drift = faults.get("drift", {"domains": {}})
    if not isinstance(drift, dict) or not isinstance(drift.get("domains"), dict):
        raise FaultError('drift: {"afterSeconds": seconds, "domains": {"chat": "hard"}}')
    return faults
