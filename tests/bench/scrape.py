"""What a scrape costs the operator: reading, parsing, many pods at once, beside figures measured elsewhere."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
import timeit
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Final

from specdec.engine.page import parse
from specdec.engine.scrape import Scraper
from specdec.engine.target import Target
from specdec.tuning.samples import Sample
from tests.bench.figures import Figure, publish

PAGE: Final = Path(__file__).parents[1] / "contract" / "pages" / "vllm-0.33.0-dflash-synthetic-live-k.txt"
ELSEWHERE: Final = "measured elsewhere, 2-core EPYC"
PODS: Final = 64
ROUNDS: Final = 10


def main() -> None:
    stock = PAGE.read_bytes()
    full = stock + exact_counters(cells=60)
    figures = [
        Figure("parse a 56 KB page of vLLM", parse_ms(stock), "ms", 0.26, f"one pattern alone; {ELSEWHERE}"),
        Figure("parse it with 60 cells of exact counters", parse_ms(full), "ms"),
    ]
    figures += asyncio.run(scraped(stock))
    publish("scrape", figures)


def parse_ms(page: bytes) -> float:
    times = timeit.repeat(lambda: parse(page), timer=time.process_time, number=20, repeat=7)
    return 1000 * median(times) / 20


def exact_counters(cells: int) -> bytes:
    """A page's worth of cells: every family of the contract with every position."""
    lines = []
    for number in range(cells):
        labels = f'model_name="m",engine="0",k="7",batch="{number % 2 + 1}",phase="decode",n="{number}"'
        lines += [f"specdec:{name}_total{{{labels}}} {number}.0" for name in SCALARS]
        lines += [f'specdec:{name}_total{{{labels},position="{p}"}} 1.0' for name in POSITIONS for p in range(7)]
    return "\n".join(["", *lines, ""]).encode()


SCALARS: Final = ("steps", "step_seconds", "step_requests", "step_prefill_tokens", "drafts", "generated_tokens")
POSITIONS: Final = ("verified_tokens", "accepted_tokens")


async def scraped(page: bytes) -> list[Figure]:
    """PODS pods at once from one server on this machine, which shares its cores."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, page))
    process.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}"
        targets = [Target(f"pod-{n}", "1", url) for n in range(PODS)]
        async with Scraper() as scraper:
            await scraper.scrape(targets)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(ROUNDS):
                answers = await scraper.scrape(targets)
                assert all(isinstance(answer, Sample) for answer in answers)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        process.terminate()
        process.join(10)
    pages = ROUNDS * PODS
    bare = f"aiohttp, without parsing; {ELSEWHERE}"
    return [
        Figure(f"scrape {PODS} pods at once, parsed", pages / wall, "pages/s", 8141, bare),
        Figure("CPU for each", 1000 * cpu / pages, "ms", 0.12, bare),
        Figure("1,000 pods every 15 s", 100 * 1000 * cpu / pages / 15, "% of a core"),
    ]


def serve(port: Connection, page: bytes) -> None:
    """The cheapest server there is: the same answer to whatever is asked."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(page) + page

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if data.endswith(b"\r\n\r\n"):
                self.transport.write(answer)

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


if __name__ == "__main__":
    main()
