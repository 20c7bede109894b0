"""The http_* families of vLLM's page, and those of the process itself: prometheus_client's, as there."""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, Counter, Histogram, Summary, generate_latest

# vLLM leaves these out.
UNCOUNTED: Final = frozenset({"/health", "/ping", "/load", "/version", "/metrics", "/test/faults"})
_FINE_SECONDS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip

_requests = Counter("http_requests", "Requests by method, status and handler.", ("handler", "method", "status"))
_request_bytes = Summary("http_request_size_bytes", "Content length of incoming requests.", ("handler",))
_response_bytes = Summary("http_response_size_bytes", "Content length of outgoing responses.", ("handler",))
_fine = Histogram("http_request_duration_highr_seconds", "Latency, many buckets.", buckets=_FINE_SECONDS)
_coarse = Histogram(
    "http_request_duration_seconds", "Latency by handler.", ("handler", "method"), buckets=(0.1, 0.5, 1.0)
)


def count(handler: str, method: str, status: int, *, seconds: float, request_bytes: int, response_bytes: int) -> None:
    """One answered request. handler: the route's path, or "none". Sizes: of the header, 0 without one."""
    if handler in UNCOUNTED:
        return
    _requests.labels(handler, method, f"{status // 100}xx").inc()
    _request_bytes.labels(handler).observe(request_bytes)
    _response_bytes.labels(handler).observe(response_bytes)
    _fine.observe(seconds)
    _coarse.labels(handler, method).observe(seconds)


def families() -> bytes:
    return generate_latest(REGISTRY)
