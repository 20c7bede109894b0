"""A closed loop of chat completions for tests: a fixed number of requests under way, and what became of them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp

REQUEST_SECONDS: Final = 60.0
ERROR_PAUSE_SECONDS: Final = 0.2


@dataclass(slots=True)
class Traffic:
    """`with Traffic(url, users=16, domain="hard"): ...` keeps `users` requests under way.

    url: of the engine, or what names it for each request. outcomes: counts of "ok", an HTTP status as text, or the name
    of the exception.
    """

    url: str | Callable[[], str]
    users: int
    domain: str = "chat"
    model: str = "deepseek-v4-flash"
    max_tokens: int = 64
    outcomes: Counter[str] = field(default_factory=Counter)
    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(REQUEST_SECONDS + 10)

    @property
    def failures(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "ok"}

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=self.users, force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(self._user(session, number) for number in range(self.users)))

    async def _user(self, session: aiohttp.ClientSession, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            outcome = await self._ask(session, f"user {number} asks for the {turn}th time")
            self.outcomes[outcome] += 1
            if outcome != "ok":
                await asyncio.sleep(ERROR_PAUSE_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, text: str) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.max_tokens,
            "ignore_eos": True,
        }
        try:
            url = self.url if isinstance(self.url, str) else self.url()
            async with session.post(
                f"{url}/v1/chat/completions", json=body, headers={"X-Specdec-Domain": self.domain}
            ) as answer:
                await answer.read()
                return "ok" if answer.status == 200 else str(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
