"""One streaming request over HTTP, on gevent's sockets: sent, read line by line, each line stamped on arrival."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse

from loadtests.failures import Kind, RequestError, of_exception, of_status
from loadtests.stream import Answer, Measured

CONNECT_SECONDS: Final = 10.0
_ERROR_BODY_BYTES: Final = 16_384


class StreamClient:
    """Keeps connections to one server and measures streamed answers."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout_seconds: float,
        connections: int,
        ca_file: str | None = None,
        insecure: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        self._timeout = timeout_seconds
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        options: dict[str, Any] = {}
        if parts.scheme == "https":
            options = {"ssl_context_factory": lambda: _context(ca_file, insecure), "insecure": insecure}
        self._http = HTTPClient(
            parts.hostname or "",
            parts.port or (443 if parts.scheme == "https" else 80),
            ssl=parts.scheme == "https",
            concurrency=connections,
            connection_timeout=CONNECT_SECONDS,
            network_timeout=timeout_seconds,
            **options,
        )

    def stream(self, route: str, body: bytes, headers: Mapping[str, str]) -> Measured:
        """Post `body` and read the stream to its end. Raises RequestError, whatever goes wrong."""
        limit = gevent.Timeout(self._timeout)
        limit.start()
        try:
            return self._stream(route, body, {**self._headers, **headers})
        except RequestError:
            raise
        except gevent.Timeout as error:
            if error is not limit:
                raise
            raise RequestError(Kind.TIMEOUT, f"no end within {self._timeout:g} s") from error
        except HTTPParseError as error:
            raise RequestError(Kind.CLOSED, str(error) or "connection closed") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise of_exception(error) from error
        finally:
            limit.close()

    def _stream(self, route: str, body: bytes, headers: dict[str, str]) -> Measured:
        answer = Answer(sent=time.perf_counter())
        response = self._http.request("POST", f"{self._path}/v1/{route}", body=body, headers=headers)
        try:
            if response.status_code != 200:
                raise of_status(response.status_code, _message(response))
            try:
                while line := response.readline(b"\n"):
                    answer.feed(line, time.perf_counter())
            except HTTPParseError:
                # the parser says so only when the body was cut off; what is missing decides how it is counted
                if answer.done:
                    return answer.measured()
                raise
            return answer.measured()
        finally:
            response.release()


def _context(ca_file: str | None, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _message(response: HTTPSocketPoolResponse) -> str:
    """What the server says, out of OpenAI's error object where there is one."""
    try:
        text = bytes(response.read(_ERROR_BODY_BYTES)).decode(errors="replace")
    except (OSError, HTTPParseError):
        return ""
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return text
