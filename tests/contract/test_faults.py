"""What the simulator breaks on demand, and what the operator's scraper and client make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from specdec.engine.scrape import ScrapeFailure, ScrapeLimits, Scraper, ScrapeReason
from specdec.tuning.samples import Sample
from tests.support.chat import chat_at_once
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simulator import SimulatedEngine, simulators


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[SimulatedEngine]:
    with simulators(settings={"FAULTS": "1", "SEED": "5", "MIX": "math"}) as (engine,):
        yield engine


@pytest.fixture
def engine(shared_engine: SimulatedEngine) -> Iterator[SimulatedEngine]:
    yield shared_engine
    shared_engine.heal()


@pytest.fixture
async def client(engine: SimulatedEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
        yield client


async def scrape(engine: SimulatedEngine, timeout_seconds: float = PATIENCE_SECONDS) -> Sample | ScrapeFailure:
    async with Scraper(ScrapeLimits(timeout_seconds=timeout_seconds)) as scraper:
        (answer,) = await scraper.scrape([engine.target()])
    return answer


async def sample(engine: SimulatedEngine) -> Sample:
    answer = await scrape(engine)
    assert isinstance(answer, Sample), answer
    return answer


def accepted_per_draft(before: Sample, after: Sample) -> float:
    drafts = sum(cell.drafts for cell in after.cells) - sum(cell.drafts for cell in before.cells)
    accepted = sum(sum(cell.accepted) for cell in after.cells) - sum(sum(cell.accepted) for cell in before.cells)
    return accepted / drafts


async def test_faults_are_off_by_default() -> None:
    with simulators() as (engine,):
        async with httpx.AsyncClient(base_url=engine.url) as client:
            assert (await client.put("/test/faults", json={"crash": True})).status_code == 404
        assert engine.healthy()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("lost", ScrapeReason.HTTP_STATUS),
        ("hang", ScrapeReason.TIMED_OUT),
        ("garbage", ScrapeReason.INVALID_PAGE),
        ("negative", ScrapeReason.INVALID_PAGE),
        ("huge", ScrapeReason.TOO_LARGE),
    ],
)
async def test_a_broken_page_costs_one_sample_and_says_why(
    engine: SimulatedEngine, fault: str, reason: ScrapeReason
) -> None:
    engine.fault(metrics=fault)
    failed = await scrape(engine, 0.5 if reason is ScrapeReason.TIMED_OUT else PATIENCE_SECONDS)
    assert isinstance(failed, ScrapeFailure)
    assert failed.reason is reason
    engine.heal()
    assert isinstance(await scrape(engine), Sample)


async def test_a_crash_closes_the_port() -> None:
    with simulators(settings={"FAULTS": "1"}) as (engine,):
        with pytest.raises(OSError, match=r"."):
            engine.fault(crash=True)
        assert await asyncio.to_thread(engine.wait) != 0
        failed = await scrape(engine)
    assert isinstance(failed, ScrapeFailure)
    assert failed.reason is ScrapeReason.UNREACHABLE


async def test_a_counter_reset_shows_in_created(engine: SimulatedEngine, client: httpx.AsyncClient) -> None:
    await chat_at_once(client, engine.model, 2)
    before = await sample(engine)
    engine.fault(resetCounters=True)
    after = await sample(engine)
    assert before.stock.generated_tokens
    assert (after.stock.generated_tokens, after.cells) == (0, ())
    assert before.stock.created is not None
    assert after.stock.created is not None
    assert after.stock.created > before.stock.created


async def test_a_slow_engine_takes_longer_steps(engine: SimulatedEngine, client: httpx.AsyncClient) -> None:
    async def seconds_per_step() -> float:
        before = await sample(engine)
        await chat_at_once(client, engine.model, 1, max_tokens=40)
        after = await sample(engine)
        steps = sum(c.steps for c in after.cells) - sum(c.steps for c in before.cells)
        return (sum(c.step_seconds for c in after.cells) - sum(c.step_seconds for c in before.cells)) / steps

    usual = await seconds_per_step()
    engine.fault(slow=4)
    assert await seconds_per_step() == pytest.approx(4 * usual, rel=0.1)


async def test_a_mismatched_drafter_accepts_next_to_nothing(engine: SimulatedEngine, client: httpx.AsyncClient) -> None:
    before = await sample(engine)
    await chat_at_once(client, engine.model, 6, max_tokens=200)
    matched = await sample(engine)
    assert accepted_per_draft(before, matched) > 3
    engine.fault(mismatchedDrafter=True)
    await chat_at_once(client, engine.model, 6, max_tokens=200)
    assert accepted_per_draft(matched, await sample(engine)) < 0.3


async def test_drift_comes_when_it_was_told_to(engine: SimulatedEngine, client: httpx.AsyncClient) -> None:
    before = await sample(engine)
    await chat_at_once(client, engine.model, 6, max_tokens=200)
    easy = await sample(engine)
    assert accepted_per_draft(before, easy) > 3
    engine.fault(drift={"afterSeconds": 0.05, "domains": {"math": "hard"}})
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "drifted" not in await asyncio.to_thread(engine.faults):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await chat_at_once(client, engine.model, 6, max_tokens=200)
    assert accepted_per_draft(easy, await sample(engine)) < 1.5


async def test_a_request_names_its_domain_by_header_or_metadata(
    engine: SimulatedEngine, client: httpx.AsyncClient
) -> None:
    before = await sample(engine)
    await chat_at_once(client, engine.model, 6, max_tokens=200, headers={"X-Specdec-Domain": "hard"})
    header = await sample(engine)
    await chat_at_once(client, engine.model, 6, max_tokens=200, metadata={"domain": "hard"})
    metadata = await sample(engine)
    await chat_at_once(client, engine.model, 6, max_tokens=200)
    mix = await sample(engine)
    assert accepted_per_draft(before, header) < 1.5
    assert accepted_per_draft(header, metadata) < 1.5
    assert accepted_per_draft(metadata, mix) > 3


async def test_a_hung_engine_goes_on_where_it_stopped(engine: SimulatedEngine, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(engine.fault, slow=100)  # so that it cannot be done before it is hung
    traffic = asyncio.create_task(chat_at_once(client, engine.model, 2, max_tokens=2000))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await sample(engine)).stock.running_requests != 2:
            assert not traffic.done()
    await asyncio.to_thread(engine.fault, hang=True)
    first = await sample(engine)
    second = await sample(engine)
    assert first.stock == second.stock
    assert engine.healthy()
    await asyncio.to_thread(engine.heal)
    assert [a.usage["completion_tokens"] for a in await traffic] == [2000, 2000]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"slow": 0}', b'{"metrics": "odd"}', b'{"drift": 3}', b'{"luck": 1}'])
async def test_a_fault_that_does_not_exist_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.put("/test/faults", content=body)).status_code == 400
