"""Scraping is bounded: in number, in time, in size, and in what one bad pod does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from specdec.engine.scrape import ScrapeFailure, ScrapeLimits, Scraper, ScrapeReason
from specdec.engine.target import Target
from specdec.tuning.samples import Sample

PAGE = (Path(__file__).parents[2] / "contract" / "pages" / "vllm-0.33.0-dflash-synthetic-live-k.txt").read_bytes()
SMALL = b"vllm:generation_tokens_total{} 1\n"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def pods(handler: Handler) -> AsyncIterator[str]:
    """The address of a server that answers for all pods; the pod's name is the first part of the path."""
    app = web.Application()
    app.router.add_get("/{pod}/metrics", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def scrape(handler: Handler, *names: str, limits: ScrapeLimits | None = None) -> list[Sample | ScrapeFailure]:
    async with pods(handler) as url, Scraper(limits, now=lambda: 1_700_000_000.0) as scraper:
        targets = [Target(name, f"{name}-uid/0", f"{url}/{name}") for name in names]
        return list(await scraper.scrape(targets))


def always(response: Callable[[], web.Response]) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return response()

    return handle


async def test_a_sample_says_whose_it_is_and_when() -> None:
    (sample,) = await scrape(always(lambda: web.Response(body=PAGE)), "pod-7")
    assert isinstance(sample, Sample)
    assert (sample.pod, sample.incarnation, sample.at) == ("pod-7", "pod-7-uid/0", 1_700_000_000.0)
    assert (sample.stock.drafts, sample.cells, sample.schedule_revision) == (2199, (), None)


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(SMALL)
    assert request.transport is not None
    request.transport.abort()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"# more\n" * 10_000)


async def silent(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"# wait for it")
    await asyncio.Event().wait()
    return response


def packed() -> web.Response:
    return web.Response(body=PAGE, headers={"Content-Encoding": "gzip"})


FAILURES = [
    pytest.param(cut_off, ScrapeReason.UNREACHABLE, id="cut off"),
    pytest.param(always(lambda: web.Response(status=503)), ScrapeReason.HTTP_STATUS, id="503"),
    pytest.param(
        always(lambda: web.Response(status=302, headers={"Location": "/x"})), ScrapeReason.HTTP_STATUS, id="sent away"
    ),
    pytest.param(always(lambda: web.Response(body=b"<html>")), ScrapeReason.INVALID_PAGE, id="another server"),
    pytest.param(always(packed), ScrapeReason.INVALID_PAGE, id="compressed unasked"),
    pytest.param(endless, ScrapeReason.TOO_LARGE, id="endless"),
    pytest.param(silent, ScrapeReason.TIMED_OUT, id="silent half-way"),
]


@pytest.mark.parametrize(("handler", "reason"), FAILURES)
async def test_a_pod_without_a_sample_says_why(handler: Handler, reason: ScrapeReason) -> None:
    limits = ScrapeLimits(timeout_seconds=0.5 if reason is ScrapeReason.TIMED_OUT else 20)
    (failure,) = await scrape(handler, "pod-0", limits=limits)
    assert isinstance(failure, ScrapeFailure)
    assert (failure.pod, failure.reason) == ("pod-0", reason)
    assert failure.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "::not a url::"])
async def test_where_nobody_listens_is_unreachable(url: str) -> None:
    async with Scraper() as scraper:
        (failure,) = await scraper.scrape([Target("pod-0", "1", url)])
    assert isinstance(failure, ScrapeFailure)
    assert failure.reason is ScrapeReason.UNREACHABLE


async def test_one_bad_pod_spoils_no_other_and_the_order_is_kept() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500) if request.match_info["pod"] == "b" else web.Response(body=SMALL)

    answers = await scrape(handle, "a", "b", "c")
    assert [(type(a), a.pod) for a in answers] == [(Sample, "a"), (ScrapeFailure, "b"), (Sample, "c")]


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    flying = most = 0

    async def handle(_: web.Request) -> web.StreamResponse:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.002)
        flying -= 1
        return web.Response(body=SMALL)

    samples = await scrape(handle, *(f"pod-{n}" for n in range(100)), limits=ScrapeLimits(in_flight=6))
    assert all(isinstance(sample, Sample) for sample in samples)
    assert most <= 6


async def test_hanging_pods_hold_up_the_others_for_one_time_limit_at_most() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.match_info["pod"].startswith("hung"):
            await asyncio.Event().wait()
        return web.Response(body=SMALL)

    hung, fine = [f"hung-{n}" for n in range(8)], [f"fine-{n}" for n in range(20)]
    answers = await scrape(handle, *hung, *fine, limits=ScrapeLimits(timeout_seconds=5, in_flight=8))
    assert [(a.pod, a.reason) for a in answers if isinstance(a, ScrapeFailure)] == [
        (pod, ScrapeReason.TIMED_OUT) for pod in hung
    ]


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
