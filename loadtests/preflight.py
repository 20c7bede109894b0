"""Is the target there, is it an OpenAI-compatible server, and what does it serve? Asked before any load."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from loadtests.failures import REMEDY, Kind, of_exception, of_status

REQUEST_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0


class TargetError(Exception):
    """A target that cannot be tested; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach targets. api_key is read from the environment by whoever makes this, never from an argument."""

    api_key: str | None = None
    ca_file: str | None = None
    insecure: bool = False

    def client(self) -> httpx.Client:
        """Raises TargetError when the authority's certificate cannot be read."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return httpx.Client(headers=headers, timeout=REQUEST_SECONDS, verify=self._trust())

    def _trust(self) -> ssl.SSLContext | bool:
        if self.insecure:
            return False
        try:
            return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        except OSError as error:
            raise TargetError(f"cannot use --ca-file {self.ca_file}: {error.strerror or error}") from error


def base_url(url: str) -> str:
    """`http://host:port`, without the `/v1` that users copy from other tools. Raises TargetError."""
    if not url.startswith(("http://", "https://")):
        raise TargetError(f"{url!r} is not a URL: it must begin with http:// or https://")
    try:
        parts = urlsplit(url)
        wrong = "it names no host" if not parts.hostname else "its port is 0" if parts.port == 0 else ""
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise TargetError(f"{url!r} is not a URL: {wrong}")
    return url.rstrip("/").removesuffix("/v1")


def served_model(url: str, wanted: str | None, access: Access, wait_seconds: float = 0.0) -> str:
    """The model to ask for: `wanted` when the target serves it, else its first. Raises TargetError.

    wait_seconds: go on asking for that long while nothing listens or the server is not ready.
    """
    end = time.monotonic() + wait_seconds
    with access.client() as client:
        while True:
            try:
                return _model(client, base_url(url), wanted)
            except _NotYet as error:
                if time.monotonic() + RETRY_SECONDS > end:
                    raise TargetError(str(error)) from error
                time.sleep(RETRY_SECONDS)


class _NotYet(TargetError):
    """May pass by itself."""


def _model(client: httpx.Client, url: str, wanted: str | None) -> str:
    page = f"{url}/v1/models"
    try:
        answer = client.get(page)
    except (httpx.HTTPError, OSError) as error:
        kind = _kind_of(error)
        failed = f"cannot reach {page}: {error}\n       Remedy: {REMEDY[kind]}"
        raise (_NotYet if kind in {Kind.REFUSED, Kind.TIMEOUT, Kind.CLOSED} else TargetError)(failed) from error
    if answer.status_code != 200:
        wrong = of_status(answer.status_code, answer.text)
        said = f"{page} answered {wrong.detail}\n       Remedy: {REMEDY[wrong.kind]}"
        raise (_NotYet if wrong.kind is Kind.SERVER_ERROR else TargetError)(said)
    try:
        models = [str(entry["id"]) for entry in answer.json()["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise TargetError(f"{page} is not an OpenAI model list\n       Remedy: {REMEDY[Kind.NOT_OPENAI]}") from error
    return _chosen(models, wanted, page)


def _kind_of(error: BaseException) -> Kind:
    """By the system's own error, which lies some causes below the one of the HTTP library."""
    if isinstance(error, httpx.TimeoutException):
        return Kind.TIMEOUT
    below: BaseException | None = error
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
    return Kind.OTHER if below is None else of_exception(below).kind


def _chosen(models: list[str], wanted: str | None, page: str) -> str:
    if not models:
        raise TargetError(f"{page} lists no model: the server serves nothing")
    if wanted is not None and wanted not in models:
        raise TargetError(
            f"the plan asks for model {wanted!r}, but {page} lists {', '.join(models)}\n"
            "       Set the plan's model to one of these, or leave it out"
        )
    return wanted or models[0]
