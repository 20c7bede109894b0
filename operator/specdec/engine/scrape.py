"""Read the metrics pages of many pods at once, bounded in number, time and size.

By aiohttp, which needs a seventh of the CPU that httpx needs for a page (0.12 against 0.89 ms).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import aiohttp

from specdec.engine.page import InvalidPage, parse
from specdec.engine.target import Target
from specdec.tuning.samples import Sample

METRICS_PATH: Final = "/metrics"
# An engine may close an idle connection after five seconds; a request must not meet it half closed.
KEEPALIVE_SECONDS: Final = 3.0
HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "specdec"}


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
    """timeout_seconds: for one page, connection included. in_flight: pages read at the same time."""

    timeout_seconds: float = 5.0
    page_bytes: int = 2 * 1024 * 1024
    in_flight: int = 32


class _Failed(Exception):
    """Ends one scrape; never leaves this module."""

    def __init__(self, reason: ScrapeReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Scraper:
    """Scrapes pods concurrently; keep one for the life of the process and close it at the end.

    now: seconds since the epoch, the `at` of the samples.
    """

    def __init__(self, limits: ScrapeLimits | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._limits = limits or ScrapeLimits()
        self._now = now
        self._free = asyncio.Semaphore(self._limits.in_flight)
        self._session: aiohttp.ClientSession | None = None

    async def scrape(self, targets: Sequence[Target]) -> tuple[Sample | ScrapeFailure, ...]:
        """One answer per target, in their order. Never raises for what a pod does."""
        session = self._opened()
        return tuple(await asyncio.gather(*(self._scrape_one(session, target) for target in targets)))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _opened(self) -> aiohttp.ClientSession:
        """Opened on first use: a session belongs to a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.in_flight, keepalive_timeout=KEEPALIVE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds),
                headers=HEADERS,
                # What nobody asked to be packed is not unpacked: its size would show too late.
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def _scrape_one(self, session: aiohttp.ClientSession, target: Target) -> Sample | ScrapeFailure:
        async with self._free:
            try:
                return self._sample(target, await self._read(session, target))
            except _Failed as failed:
                return ScrapeFailure(target.pod, failed.reason, str(failed))
            except InvalidPage as error:
                return ScrapeFailure(target.pod, ScrapeReason.INVALID_PAGE, str(error))
            except TimeoutError:
                message = f"no complete metrics page within {self._limits.timeout_seconds:g} s"
                return ScrapeFailure(target.pod, ScrapeReason.TIMED_OUT, message)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                return ScrapeFailure(target.pod, ScrapeReason.UNREACHABLE, f"{type(error).__name__}: {error}"[:500])

    async def _read(self, session: aiohttp.ClientSession, target: Target) -> bytes:
        body = bytearray()
        async with session.get(target.url + METRICS_PATH, allow_redirects=False) as response:
            if response.status != 200:
                raise _Failed(ScrapeReason.HTTP_STATUS, f"{METRICS_PATH} answered {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise _Failed(ScrapeReason.INVALID_PAGE, "the page is compressed though that was not asked for")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._limits.page_bytes:
                    # Closed, not drained: the rest may never end.
                    response.close()
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
