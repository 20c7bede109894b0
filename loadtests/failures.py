"""Kinds of failure: what happened to a request that did not succeed, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The kinds that are counted, in the order of a request's life."""

    NOT_SENT = "notSent"
    NAME = "nameNotFound"
    REFUSED = "connectionRefused"
    TLS = "tls"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "notFound"
    BAD_REQUEST = "badRequest"
    TOO_MANY = "tooManyRequests"
    SERVER_ERROR = "serverError"
    CLOSED = "closedMidStream"
    STREAM_ERROR = "errorInStream"
    NOT_OPENAI = "notOpenAI"
    NO_USAGE = "noUsage"
    UNFINISHED = "unfinished"
    OTHER = "other"


REMEDY: Final[dict[Kind, str]] = {
    Kind.NOT_SENT: "the bound on requests in flight was reached: lower the rate, or raise maxInFlight in the plan",
    Kind.NAME: "the host name does not resolve: check the target's URL",
    Kind.REFUSED: "nothing listens there (an engine that still loads keeps its port closed): check URL and readiness",
    Kind.TLS: "the TLS handshake failed: check http/https, or name the authority's certificate with --ca-file",
    Kind.TIMEOUT: "no end within timeoutSeconds: the server hangs or is overloaded; lower the load or raise the limit",
    Kind.UNAUTHORIZED: "the server wants another API key: put it into the variable named by --api-key-env",
    Kind.NOT_FOUND: "no such route or model: check the URL and the plan's model against GET /v1/models",
    Kind.BAD_REQUEST: "the server refused the request: see its message; non-vLLM servers need vllmExtensions: false",
    Kind.TOO_MANY: "the server or a gateway limits the rate: lower the load or raise the limit there",
    Kind.SERVER_ERROR: "the server failed: see its log",
    Kind.CLOSED: "the connection closed in mid-answer: look for restarts and for proxies with short timeouts",
    Kind.STREAM_ERROR: "the server sent an error inside the stream: see its message and the server's log",
    Kind.NOT_OPENAI: "the answer is not an OpenAI event stream: check that the URL is the API and not a web page",
    Kind.NO_USAGE: "no usage in the stream, so no token counts: the server must honour stream_options.include_usage",
    Kind.UNFINISHED: "still under way when the run ended: raise drainSeconds, or the server is over-saturated",
    Kind.OTHER: "see the detail",
}


GO_ON: Final = "Mend that, and the same command goes on from here"


class RequestError(Exception):
    """A request that failed for a known kind of reason; status: HTTP status where there was one."""

    def __init__(self, kind: Kind, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail[:300]
        self.status = status


def of_status(status: int, detail: str) -> RequestError:
    """The error for an HTTP answer other than 200."""
    if status in {401, 403}:
        kind = Kind.UNAUTHORIZED
    elif status == 404:
        kind = Kind.NOT_FOUND
    elif status == 429:
        kind = Kind.TOO_MANY
    elif status >= 500:
        kind = Kind.SERVER_ERROR
    elif status >= 400:
        kind = Kind.BAD_REQUEST
    else:
        kind = Kind.NOT_OPENAI
    return RequestError(kind, f"HTTP {status}: {detail.strip()[:200]}", status)


def of_exception(error: BaseException) -> RequestError:
    """The error for what a socket or the standard library raised before or while reading the answer."""
    return RequestError(_kind_of(error), f"{type(error).__name__}: {error}")


def _kind_of(error: BaseException) -> Kind:
    if isinstance(error, ssl.SSLError):
        return Kind.TLS
    if isinstance(error, socket.gaierror):
        return Kind.NAME
    if isinstance(error, ConnectionRefusedError):
        return Kind.REFUSED
    if isinstance(error, TimeoutError):
        return Kind.TIMEOUT
    if isinstance(error, OSError):
        refused = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED}
        return Kind.REFUSED if error.errno in refused else Kind.CLOSED
    return Kind.OTHER
