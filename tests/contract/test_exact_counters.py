"""docs/engine-contract.md, 'Exact counters', held against whatever engine the fixtures name."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from specdec.api.schedule import Schedule, Tier, constant
from specdec.engine.live import LiveClient
from specdec.engine.scrape import Scraper
from specdec.engine.target import Target
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample
from tests.support.chat import chat_at_once
from tests.support.metrics import MetricsPage, parse_page, rise
from tests.support.patience import PATIENCE_SECONDS

BUCKETS = (
    "1", "2", "3-4", "5-8", "9-12", "13-16", "17-24", "25-32", "33-48", "49-64", "65-96", "97-128", "129-192",
    "193-256", "257-384", "385-512", "513+",
)  # fmt: skip
COUNTERS = ("steps", "step_seconds", "step_requests", "step_prefill_tokens", "drafts", "generated_tokens")
PER_POSITION = ("verified_tokens", "accepted_tokens")
SAME_TOTALS = {
    "specdec:drafts_total": "vllm:spec_decode_num_drafts_total",
    "specdec:verified_tokens_total": "vllm:spec_decode_num_draft_tokens_total",
    "specdec:accepted_tokens_total": "vllm:spec_decode_num_accepted_tokens_total",
    "specdec:generated_tokens_total": "vllm:generation_tokens_total",
    "specdec:step_prefill_tokens_total": "vllm:prompt_tokens_total",
    "specdec:steps_total": "vllm:iteration_tokens_total_count",
}
CELL = {"model_name", "engine", "k", "batch", "phase"}


class Engine:
    """The engine under test, its K and its page."""

    def __init__(self, http: httpx.AsyncClient, live: LiveClient, target: Target, model: str) -> None:
        self.http, self.live, self.target, self.model = http, live, target, model

    async def page(self) -> MetricsPage:
        return parse_page((await self.http.get("/metrics")).text)

    async def quiet_page(self) -> MetricsPage:
        """Once nothing runs any more and the last step has been counted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                first = await self.page()
                if first.total("vllm:num_requests_running") + first.total("vllm:num_requests_waiting") == 0:
                    second = await self.page()
                    if first.samples["specdec:steps_total"] == second.samples["specdec:steps_total"]:
                        return second
                await asyncio.sleep(0.05)

    async def put(self, schedule: Schedule) -> None:
        seen = await self.live.get(self.target)
        await self.live.put(self.target, schedule, revision=seen.schedule.revision + 1)

    async def set_k(self, k: int) -> None:
        seen = await self.live.get(self.target)
        await self.put(constant(k, seen.limits.max_batch))

    async def traffic(self, count: int, max_tokens: int = 48) -> None:
        answers = await chat_at_once(self.http, self.model, count, max_tokens=max_tokens)
        assert [a.usage.get("completion_tokens") for a in answers] == [max_tokens] * count, answers


@pytest.fixture
async def engine(http: httpx.AsyncClient, live: LiveClient, target: Target, engine_model: str) -> Engine:
    engine = Engine(http, live, target, engine_model)
    await engine.traffic(1)
    return engine


async def test_families_labels_and_types_are_the_contracts(engine: Engine) -> None:
    await engine.set_k(3)
    await engine.traffic(3)
    page = await engine.quiet_page()
    for name in (*COUNTERS, *PER_POSITION):
        assert page.types[f"specdec:{name}"] == "counter"
        assert page.label_names(f"specdec:{name}_total") == (CELL | {"position"} if name in PER_POSITION else CELL)
        assert page.label_values(f"specdec:{name}_total", "batch") <= set(BUCKETS)
        assert page.label_values(f"specdec:{name}_total", "phase") <= {"decode", "mixed"}
        assert all(re.fullmatch("[0-7]", k) for k in page.label_values(f"specdec:{name}_total", "k"))
        assert page.label_values(f"specdec:{name}_total", "position") <= set("0123456")
    for name in ("specdec:schedule_revision", "specdec:schedule_changed_timestamp_seconds"):
        assert page.types[name] == "gauge"
        assert page.label_names(name) == {"engine"}


async def test_totals_equal_vllms_own(engine: Engine) -> None:
    before = await engine.quiet_page()
    for k in (7, 2):
        await engine.set_k(k)
        await engine.traffic(4)
    after = await engine.quiet_page()
    for ours, vllms in SAME_TOTALS.items():
        assert rise(before, after, ours) == rise(before, after, vllms) > 0, ours
    for position in "0123456":
        accepted = rise(before, after, "specdec:accepted_tokens_total", position=position)
        assert accepted == rise(before, after, "vllm:spec_decode_num_accepted_tokens_per_pos_total", position=position)


@pytest.mark.parametrize("k", [1, 4, 7])
async def test_the_k_of_the_schedule_is_the_k_of_the_cells(engine: Engine, k: int) -> None:
    await engine.set_k(k)
    before = await engine.quiet_page()
    await engine.traffic(2)
    after = await engine.quiet_page()
    steps = {str(other): rise(before, after, "specdec:steps_total", k=str(other)) for other in range(8)}
    assert steps.pop(str(k)) > 0
    assert not any(steps.values())
    verified = [rise(before, after, "specdec:verified_tokens_total", position=str(p)) for p in range(7)]
    drafts = rise(before, after, "specdec:drafts_total")
    # The first position is verified in every draft, no position at or beyond K in any.
    assert verified[0] == drafts
    assert not any(verified[k:])
    accepted = [rise(before, after, "specdec:accepted_tokens_total", position=str(p)) for p in range(7)]
    assert all(a <= v for a, v in zip(accepted, verified, strict=True))
    assert accepted == sorted(accepted, reverse=True)


async def test_off_drafts_nothing_and_still_counts_steps(engine: Engine) -> None:
    await engine.set_k(0)
    before = await engine.quiet_page()
    await engine.traffic(2, max_tokens=16)
    after = await engine.quiet_page()
    await engine.set_k(7)
    assert rise(before, after, "specdec:drafts_total") == 0
    assert rise(before, after, "specdec:steps_total", k="0") >= 16
    assert rise(before, after, "specdec:generated_tokens_total", k="0") == 32


async def test_each_batch_size_has_the_k_of_its_tier(engine: Engine) -> None:
    limits = (await engine.live.get(engine.target)).limits
    await engine.put(Schedule((Tier(1, 2, 6), Tier(3, limits.max_batch, 2))))
    before = await engine.quiet_page()
    await engine.traffic(1)
    await engine.traffic(6)
    after = await engine.quiet_page()

    def steps(batch: str, k: str) -> float:
        return rise(before, after, "specdec:steps_total", batch=batch, k=k)

    assert steps("1", "6") > 0
    assert steps("5-8", "2") > 0
    assert not any(steps(batch, "2") for batch in ("1", "2"))
    assert not any(steps(batch, "6") for batch in ("3-4", "5-8"))


async def test_the_mean_batch_of_a_cell_lies_in_its_bucket(engine: Engine) -> None:
    before = await engine.quiet_page()
    for count in (1, 2, 6):
        await engine.traffic(count)
    after = await engine.quiet_page()
    starts = (1, *(end + 1 for end in BATCH_BUCKET_ENDS))
    occurred = 0
    for label, low, high in zip(BUCKETS, starts, (*BATCH_BUCKET_ENDS, float("inf")), strict=True):
        steps = rise(before, after, "specdec:steps_total", batch=label)
        if steps:
            occurred += 1
            assert low <= rise(before, after, "specdec:step_requests_total", batch=label) / steps <= high
    assert occurred >= 2


async def test_prompt_tokens_belong_to_mixed_steps_only(engine: Engine) -> None:
    page = await engine.quiet_page()
    assert page.total("specdec:step_prefill_tokens_total", phase="decode") == 0
    assert page.total("specdec:step_prefill_tokens_total", phase="mixed") > 0


async def test_step_time_is_wall_time(engine: Engine) -> None:
    before, began = await engine.quiet_page(), asyncio.get_running_loop().time()
    await engine.traffic(2, max_tokens=64)
    after, elapsed = await engine.quiet_page(), asyncio.get_running_loop().time() - began
    seconds = rise(before, after, "specdec:step_seconds_total")
    assert 0 < seconds <= elapsed
    # One observation per request and step, none for the first token: its sum over two requests is twice the time.
    latencies = rise(before, after, "vllm:inter_token_latency_seconds_sum")
    assert latencies <= 2.5 * seconds


async def test_the_gauges_follow_the_schedule(engine: Engine) -> None:
    await engine.set_k(5)
    page, seen = await engine.page(), await engine.live.get(engine.target)
    assert page.total("specdec:schedule_revision") == seen.schedule.revision
    assert seen.schedule.changed_at is not None
    changed = page.total("specdec:schedule_changed_timestamp_seconds")
    assert changed == pytest.approx(seen.schedule.changed_at.timestamp(), abs=0.01)


async def test_the_operators_scraper_reads_the_same(engine: Engine) -> None:
    page = await engine.quiet_page()
    async with Scraper() as scraper:
        (sample,) = await scraper.scrape([engine.target])
    assert isinstance(sample, Sample)
    assert sample.schedule_revision == page.total("specdec:schedule_revision")
    assert sum(cell.steps for cell in sample.cells) == page.total("specdec:steps_total")
    assert sum(cell.step_seconds for cell in sample.cells) == pytest.approx(page.total("specdec:step_seconds_total"))
    assert sum(cell.drafts for cell in sample.cells) == sample.stock.drafts == page.total("specdec:drafts_total")
    assert sum(sum(cell.verified) for cell in sample.cells) == sample.stock.draft_tokens
    assert sum(sum(cell.accepted) for cell in sample.cells) == sample.stock.accepted_tokens
    assert sum(cell.generated_tokens for cell in sample.cells) == sample.stock.generated_tokens
    assert {(str(c.k), BUCKETS[c.bucket], "mixed" if c.mixed else "decode") for c in sample.cells} == {
        tuple(dict(labels)[name] for name in ("k", "batch", "phase")) for labels in page.samples["specdec:steps_total"]
    }
