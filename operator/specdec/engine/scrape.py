"""Read the metrics pages of many pods at once, bounded in number, time and size."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import httpx

from specdec.engine.page import InvalidPage, parse
from specdec.engine.target import Target
from specdec.tuning.samples import Sample

METRICS_PATH: Final = "/metrics"
# With many requests in flight an httpx pool spends most of its time on itself: 6.2 ms each at 64, 0.9 ms at 8.
IN_FLIGHT_PER_CLIENT: Final = 8
# An engine may close an idle connection after five seconds; a request must not meet it half closed.
KEEPALIVE_SECONDS: Final = 3.0


class ScrapeReason(StrEnum):
    """Why a pod gave no sample."""

    UNREACHABLE = "Unreachable"
    TIMED_OUT = "TimedOut"
    HTTP_STATUS = "HttpStatus"
    TOO_LARGE = "TooLarge"
    INVALID_PAGE = "InvalidPage"


@dataclass(frozen=True, slots=True)
class ScrapeFailure:
    """No sample from `pod` this time; `message` is for humans and holds no secret."""

    pod: str
    reason: ScrapeReason
    message: str


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """timeout_seconds: for one page, connection included. clients: each carries up to IN_FLIGHT_PER_CLIENT requests."""

    timeout_seconds: float = 5.0
    page_bytes: int = 2 * 1024 * 1024
    clients: int = 4


class _Failed(Exception):
    """Ends one scrape; never leaves this module."""

    def __init__(self, reason: ScrapeReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Scraper:
    """Scrapes pods concurrently; keep one for the life of the process and close it at the end.

    now: seconds since the epoch, the `at` of the samples.
    """

    def __init__(
        self,
        limits: ScrapeLimits | None = None,
        *,
        now: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or ScrapeLimits()
        self._now = now
        context = ssl.create_default_context()
        self._clients = [_client(context, transport, self._limits) for _ in range(self._limits.clients)]
        self._free: asyncio.Queue[httpx.AsyncClient] = asyncio.Queue()
        for _ in range(IN_FLIGHT_PER_CLIENT):
            for client in self._clients:
                self._free.put_nowait(client)

    async def scrape(self, targets: Sequence[Target]) -> tuple[Sample | ScrapeFailure, ...]:
        """One answer per target, in their order. Never raises for what a pod does."""
        return tuple(await asyncio.gather(*(self._scrape_one(target) for target in targets)))

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _scrape_one(self, target: Target) -> Sample | ScrapeFailure:
        client = await self._free.get()
        try:
            async with asyncio.timeout(self._limits.timeout_seconds):
                body = await self._read(client, target)
            return self._sample(target, body)
        except _Failed as failed:
            return ScrapeFailure(target.pod, failed.reason, str(failed))
        except InvalidPage as error:
            return ScrapeFailure(target.pod, ScrapeReason.INVALID_PAGE, str(error))
        except (TimeoutError, httpx.TimeoutException):
            message = f"no complete metrics page within {self._limits.timeout_seconds:g} s"
            return ScrapeFailure(target.pod, ScrapeReason.TIMED_OUT, message)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return ScrapeFailure(target.pod, ScrapeReason.UNREACHABLE, f"{type(error).__name__}: {error}")
        finally:
            self._free.put_nowait(client)

    async def _read(self, client: httpx.AsyncClient, target: Target) -> bytes:
        body = bytearray()
        async with client.stream("GET", target.url + METRICS_PATH) as response:
            if response.status_code != httpx.codes.OK:
                raise _Failed(ScrapeReason.HTTP_STATUS, f"{METRICS_PATH} answered {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _Failed(ScrapeReason.INVALID_PAGE, "the page is compressed though that was not asked for")
            # Raw, so that nothing is unpacked before its size is known.
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._limits.page_bytes:
                    raise _Failed(ScrapeReason.TOO_LARGE, f"the page exceeds {self._limits.page_bytes} bytes")
        return bytes(body)

    def _sample(self, target: Target, body: bytes) -> Sample:
        at = self._now()
        page = parse(body)
        return Sample(
            pod=target.pod,
            incarnation=target.incarnation,
            at=at,
            stock=page.stock,
            cells=page.cells,
            schedule_revision=page.schedule_revision,
        )


def _client(
    context: ssl.SSLContext, transport: httpx.AsyncBaseTransport | None, limits: ScrapeLimits
) -> httpx.AsyncClient:
    pool = httpx.Limits(max_connections=IN_FLIGHT_PER_CLIENT, keepalive_expiry=KEEPALIVE_SECONDS)
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=context, limits=pool, retries=1),
        timeout=limits.timeout_seconds,
        headers={"Accept-Encoding": "identity", "User-Agent": "specdec"},
        follow_redirects=False,
    )
