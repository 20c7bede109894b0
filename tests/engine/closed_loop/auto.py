"""The operator's tuner, scraper and live client, joined as the operator joins them, beside one engine."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from specdec import tuning
from specdec.engine.live import LiveClient
from specdec.engine.scrape import Scraper
from specdec.engine.target import Target
from specdec.tuning.samples import Sample
from tests.engine.closed_loop.phases import MAX_K, MAX_NUM_SEQS
from tests.engine.servers import CONTROL_TOKEN, Server

LIVE_KINDS: Final = frozenset(set(tuning.Kind) - {tuning.Kind.RESTART})


class AutoTuner:
    """Learns and acts until told to stop. log: (seconds since the epoch, what was decided and why)."""

    def __init__(self, server: Server, scrape_seconds: float, seed: int = 7) -> None:
        environment = tuning.Environment(model="closed-loop", start_k=MAX_K, max_num_seqs=MAX_NUM_SEQS)
        self._state = tuning.new_state(environment, tuning.estimated_prior())
        self._target = Target("engine", "1", server.url, control_token=CONTROL_TOKEN)
        self._seconds, self._chance = scrape_seconds, random.Random(seed)
        self._stop = threading.Event()
        self.log: list[tuple[float, str]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(self._loop())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(60)
        if failures:
            raise failures[0]

    async def _loop(self) -> None:
        async with Scraper() as scraper, LiveClient(timeout_seconds=20) as live:
            while not self._stop.is_set():
                (answer,) = await scraper.scrape([self._target])
                if isinstance(answer, Sample):
                    await self._tick(live, answer)
                await asyncio.sleep(self._seconds)

    async def _tick(self, live: LiveClient, sample: Sample) -> None:
        now = time.time()
        self._state = tuning.observe(self._state, (sample,), now)
        limits = tuning.Limits(max_num_seqs=MAX_NUM_SEQS, metrics_age_seconds=now - sample.at)
        answer = tuning.recommend(self._state, limits, now, self._chance.random())
        if not isinstance(answer, tuning.Decision) or answer.kind not in LIVE_KINDS:
            return
        seen = await live.get(self._target)
        await live.put(self._target, answer.schedule, revision=seen.schedule.revision + 1)
        self._state = tuning.acted(self._state, answer, now)
        tiers = ", ".join(f"{t.from_batch}-{t.to_batch}: {t.num_speculative_tokens}" for t in answer.schedule.tiers)
        self.log.append((now, f"{answer.kind} {answer.reason} [{tiers}]"))
