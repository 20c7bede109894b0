"""Measure step times of one running engine over K and the number of requests, with traffic of our own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import BaseModel, PositiveInt, ValidationError

from specdec.api.schedule import Schedule, constant
from specdec.engine.errors import EngineUnreachable
from specdec.engine.live import LiveClient
from specdec.engine.patience import LONGEST_WAIT_SECONDS, Patience
from specdec.engine.scrape import ScrapeFailure, Scraper, ScrapeReason
from specdec.engine.speculation import Speculation
from specdec.engine.target import Target
from specdec.tuning.cost_fit import MeasuredSteps
from specdec.tuning.samples import Sample

POLL_SECONDS: Final = 0.2
SETTLE_STEPS: Final = 5
LEAST_STEPS: Final = 5
REQUEST_SECONDS: Final = 3600.0
LISTING_SECONDS: Final = 30.0


class CalibrationError(RuntimeError):
    """The engine cannot be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What to measure.

    seconds: for all of it. steps: enough for one K at one batch size. max_tokens: of a request; the shorter, the more
    steps carry a prefill and do not count, and the shorter the contexts.
    """

    ks: tuple[int, ...]
    batches: tuple[int, ...]
    seconds: float
    max_tokens: int
    steps: int = 150

    @property
    def cells(self) -> int:
        return len(self.ks) * len(self.batches)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """missing: (K, requests) for which the time held too few decode steps."""

    measured: tuple[MeasuredSteps, ...]
    missing: tuple[tuple[int, int], ...]


class Calibration:
    """Drives one engine through a plan, in time from where it is made. Make it inside the event loop.

    progress: called after each of `plan.cells` measurements. patience: with an engine that is busy for a while.
    """

    def __init__(
        self, target: Target, model: str, plan: CalibrationPlan, *, live: LiveClient, scraper: Scraper,
        patience: Patience, progress: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._target, self._model, self._plan, self._progress = target, model, plan, progress
        self._live, self._scraper, self._patience = live, scraper, patience
        self._deadline = _clock() + plan.seconds
        self._left = plan.cells

    async def run(self, before: Speculation) -> Calibrated:
        """All measurements, the schedule found before put back in force. Raises CalibrationError, EngineError.

        A busy engine is waited for up to LONGEST_WAIT_SECONDS past the plan's time, and as long again to put back.
        """
        found: dict[tuple[int, int], MeasuredSteps | None] = {}
        try:
            for batch in self._plan.batches:
                async with self._traffic(batch):
                    for k in self._plan.ks:
                        found[k, batch] = await self._measure(k, before.limits.max_batch)
        finally:
            await self._put(before.schedule.schedule(before.limits.max_batch))
        measured = tuple(steps for steps in found.values() if steps is not None)
        return Calibrated(measured, tuple(cell for cell, steps in found.items() if steps is None))

    async def sample(self) -> Sample:
        return await self._patience.answer(self._scrape, until=self._overdue)

    @property
    def _overdue(self) -> float:
        return self._deadline + LONGEST_WAIT_SECONDS

    async def _scrape(self) -> Sample:
        (answer,) = await self._scraper.scrape([self._target])
        if isinstance(answer, ScrapeFailure) and answer.reason is ScrapeReason.TIMED_OUT:
            raise EngineUnreachable(answer.pod, answer.message, timed_out=True)
        if isinstance(answer, ScrapeFailure):
            raise CalibrationError(f"{answer.pod}: {answer.message}")
        return answer

    async def _put(self, schedule: Schedule, *, until: float = math.inf) -> None:
        async def put() -> None:
            seen = await self._live.get(self._target)
            await self._live.put(self._target, schedule, revision=seen.schedule.revision + 1)

        await self._patience.answer(put, until=until)

    async def _measure(self, k: int, max_batch: int) -> MeasuredSteps | None:
        await self._put(constant(k, max_batch), until=self._overdue)
        seconds = max(0.0, self._deadline - _clock()) / max(self._left, 1)
        self._left -= 1
        before = await self._after(await self.sample(), k, SETTLE_STEPS, seconds / 2)
        after = await self._after(before, k, self._plan.steps, seconds / 2)
        self._progress()
        steps, step_seconds, requests = (a - b for a, b in zip(_decode(after, k), _decode(before, k), strict=True))
        if steps < LEAST_STEPS:
            return None
        return MeasuredSteps(k, requests / steps, step_seconds / steps * 1e3, steps)

    async def _after(self, since: Sample, k: int, steps: int, seconds: float) -> Sample:
        """The counters once `steps` more were made, or `seconds` are over."""
        deadline = _clock() + seconds
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = await self.sample()
            if _decode(now, k)[0] - _decode(since, k)[0] >= steps or _clock() > deadline:
                return now

    @contextlib.asynccontextmanager
    async def _traffic(self, requests: int) -> AsyncIterator[None]:
        """`requests` under way at any time, until the block ends."""
        clients = [asyncio.create_task(self._client(number)) for number in range(requests)]
        try:
            yield
            for client in clients:
                if client.done():
                    client.result()
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, number: int) -> None:
        async with _http(self._target, REQUEST_SECONDS) as http:
            for turn in itertools.count():
                prompt = f"Request {number}, turn {turn}: tell a long story about the number {number * 1009 + turn}."
                body = {"model": self._model, "prompt": prompt, "max_tokens": self._plan.max_tokens, "temperature": 0}
                answer = await http.post("/v1/completions", json=body | {"ignore_eos": True})
                if answer.status_code != httpx.codes.OK:
                    raise CalibrationError(f"a request was answered with {answer.status_code}: {answer.text[:200]}")


class _Listed(BaseModel):
    id: str
    max_model_len: PositiveInt | None = None


class _Listing(BaseModel):
    data: tuple[_Listed, ...]


async def longest_sequence(target: Target, model: str) -> int | None:
    """Tokens that a request to `model` may take, prompt included; None where the engine does not tell."""
    try:
        async with _http(target, LISTING_SECONDS) as http:
            answer = await http.get("/v1/models")
    except httpx.HTTPError as error:
        raise CalibrationError(f"/v1/models could not be read: {error!r}") from error
    if answer.status_code != httpx.codes.OK:
        raise CalibrationError(f"/v1/models was answered with {answer.status_code}: {answer.text[:200]}")
    try:
        lengths = {listed.id: listed.max_model_len for listed in _Listing.model_validate_json(answer.content).data}
    except ValidationError as error:
        raise CalibrationError(f"/v1/models does not list models as vLLM does: {answer.text[:200]}") from error
    if model not in lengths:
        raise CalibrationError(f"the engine does not serve {model}, but {', '.join(lengths)}")
    return lengths[model]


def _http(target: Target, seconds: float) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    return httpx.AsyncClient(base_url=target.url, timeout=seconds, headers=headers)


def _decode(sample: Sample, k: int) -> tuple[float, float, float]:
    """Steps, their seconds and requests, of decode steps under `k`."""
    cells = [cell for cell in sample.cells if cell.k == k and not cell.mixed]
    return sum(c.steps for c in cells), sum(c.step_seconds for c in cells), sum(c.requests for c in cells)


def _clock() -> float:
    return asyncio.get_running_loop().time()
