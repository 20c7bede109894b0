"""Scraping is bounded: in number, in time, in size, and in what one bad pod does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from specdec.engine.scrape import IN_FLIGHT_PER_CLIENT, ScrapeFailure, ScrapeLimits, Scraper, ScrapeReason
from specdec.engine.target import Target
from specdec.tuning.samples import Sample

PAGE = (Path(__file__).parents[2] / "contract" / "pages" / "vllm-0.33.0-dflash-synthetic-live-k.txt").read_bytes()
Handler = Callable[[httpx.Request], httpx.Response]


def answer(
    content: bytes = PAGE, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def targets(*pods: str) -> list[Target]:
    return [Target(pod, f"{pod}-uid/0", f"http://{pod}:8000") for pod in pods]


async def scrape(handler: Handler, *pods: str, limits: ScrapeLimits | None = None) -> list[Sample | ScrapeFailure]:
    async with Scraper(limits, now=lambda: 1_700_000_000.0, transport=httpx.MockTransport(handler)) as scraper:
        return list(await scraper.scrape(targets(*pods)))


async def test_a_sample_says_whose_it_is_and_when() -> None:
    (sample,) = await scrape(lambda _: answer(), "pod-7")
    assert isinstance(sample, Sample)
    assert (sample.pod, sample.incarnation, sample.at) == ("pod-7", "pod-7-uid/0", 1_700_000_000.0)
    assert (sample.stock.drafts, sample.cells, sample.schedule_revision) == (2199, (), None)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def cut_off(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"# more\n" * 10_000
        await asyncio.sleep(0)


async def silent() -> AsyncIterator[bytes]:
    yield b"# wait for it"
    await asyncio.Event().wait()


FAILURES = [
    pytest.param(refuse, ScrapeReason.UNREACHABLE, id="nobody listens"),
    pytest.param(cut_off, ScrapeReason.UNREACHABLE, id="cut off"),
    pytest.param(lambda _: answer(b"draining", 503), ScrapeReason.HTTP_STATUS, id="503"),
    pytest.param(lambda _: answer(b"", 302, {"location": "http://x"}), ScrapeReason.HTTP_STATUS, id="sent elsewhere"),
    pytest.param(lambda _: answer(b"<html>"), ScrapeReason.INVALID_PAGE, id="another server"),
    pytest.param(
        lambda _: answer(headers={"content-encoding": "gzip"}), ScrapeReason.INVALID_PAGE, id="compressed unasked"
    ),
    pytest.param(lambda _: httpx.Response(200, content=endless()), ScrapeReason.TOO_LARGE, id="endless"),
    pytest.param(lambda _: httpx.Response(200, content=silent()), ScrapeReason.TIMED_OUT, id="silent half-way"),
]


@pytest.mark.parametrize(("handler", "reason"), FAILURES)
async def test_a_pod_without_a_sample_says_why(handler: Handler, reason: ScrapeReason) -> None:
    (failure,) = await scrape(handler, "pod-0", limits=ScrapeLimits(timeout_seconds=0.3))
    assert isinstance(failure, ScrapeFailure)
    assert (failure.pod, failure.reason) == ("pod-0", reason)
    assert failure.message


async def test_a_bad_address_is_a_failure_like_any_other() -> None:
    async with Scraper() as scraper:
        (failure,) = await scraper.scrape([Target("pod-0", "1", "::not a url::")])
    assert isinstance(failure, ScrapeFailure)
    assert failure.reason is ScrapeReason.UNREACHABLE


async def test_one_bad_pod_spoils_no_other_and_the_order_is_kept() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return refuse(request) if request.url.host == "b" else answer()

    answers = await scrape(handler, "a", "b", "c")
    assert [(type(a), a.pod) for a in answers] == [(Sample, "a"), (ScrapeFailure, "b"), (Sample, "c")]


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    flying = most = 0

    async def handler(_: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return answer(b"vllm:generation_tokens_total{} 1\n")

    limits = ScrapeLimits(clients=2)
    async with Scraper(limits, transport=httpx.MockTransport(handler)) as scraper:
        samples = await scraper.scrape(targets(*(f"pod-{n}" for n in range(100))))
    assert all(isinstance(sample, Sample) for sample in samples)
    assert most == 2 * IN_FLIGHT_PER_CLIENT


async def test_hanging_pods_hold_up_the_others_for_one_time_limit_at_most() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("hung"):
            await asyncio.Event().wait()
        return answer(b"vllm:generation_tokens_total{} 1\n")

    hung, fine = [f"hung-{n}" for n in range(8)], [f"fine-{n}" for n in range(20)]
    async with Scraper(ScrapeLimits(timeout_seconds=0.2, clients=2), transport=httpx.MockTransport(handler)) as scraper:
        answers = await scraper.scrape(targets(*hung, *fine))
    assert [a.pod for a in answers if isinstance(a, ScrapeFailure)] == hung


def test_a_target_shows_no_secret() -> None:
    target = Target("pod-0", "1", "http://pod-0:8000", control_token="s3cret", api_key="k3y")
    assert "s3cret" not in repr(target)
    assert "k3y" not in repr(target)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (Target("p", "1", "u"), {}),
        (Target("p", "1", "u", control_token="t"), {"X-Speculation-Authorization": "Bearer t"}),
        (
            Target("p", "1", "u", control_token="t", api_key="k"),
            {"X-Speculation-Authorization": "Bearer t", "Authorization": "Bearer k"},
        ),
    ],
)
def test_the_control_token_never_takes_the_place_of_the_api_key(target: Target, headers: dict[str, str]) -> None:
    assert target.control_headers() == headers
