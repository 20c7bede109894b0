"""Probes and the way a pod stops, for engines that load for minutes and answer nothing meanwhile."""

from __future__ import annotations

import math
from typing import Any, Final

from specdec.api import names
from specdec.api.engine import Engine
from specdec.api.manifest import Json

# Endpoints and gateways forget a stopping pod within this time; until then it must serve.
PRE_STOP_SECONDS: Final = 10
# What an engine needs after its drain to write its last words and exit.
EXIT_SECONDS: Final = 20

_HEALTH: Final[Json] = {"httpGet": {"path": "/health", "port": names.HTTP_PORT_NAME}}


def probes(engine: Engine) -> dict[str, Any]:
    """startupProbe, readinessProbe and livenessProbe.

    The port is closed until the engine is ready, so only the startup probe may judge that time.
    """
    period = startup_period_seconds(engine)
    return {
        "startupProbe": _probe(period, math.ceil(engine.startup_timeout_seconds / period), timeout=5),
        "readinessProbe": _probe(5, 2, timeout=5),
        "livenessProbe": _probe(10, 6, timeout=10),
    }


def startup_period_seconds(engine: Engine) -> int:
    """Short for engines that start quickly, so that a pod serves as soon as it can."""
    return min(max(engine.startup_timeout_seconds // 240, 1), 10)


def grace_period_seconds(engine: Engine) -> int:
    """terminationGracePeriodSeconds: the preStop sleep, the drain, the exit."""
    return PRE_STOP_SECONDS + engine.drain_seconds + EXIT_SECONDS


def lifecycle() -> Json:
    """While an engine drains it refuses new requests, so it is told to stop only when no new ones can come."""
    return {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}}


def _probe(period: int, failures: int, *, timeout: int) -> Json:
    return {**_HEALTH, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": timeout}
