"""Life of the process: start with the port closed, serve, drain on SIGTERM as vLLM does, end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
import uvloop

from specdec_simulator.app import App
from specdec_simulator.options import ServeOptions
from specdec_simulator.settings import Settings
from specdec_simulator.simulator import Simulator

log = logging.getLogger("specdec_simulator")

CLOSE_SECONDS: Final = 1
DRAIN_POLL_SECONDS: Final = 0.05


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would stop accepting before the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(options: ServeOptions, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(asctime)s %(message)s")
    # Before the loop: a start that fails exits at once, like vLLM's, and never opens the port.
    simulator = Simulator(options, settings)
    uvloop.run(_serve(simulator))
    return 0


async def _serve(simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if await _stopped_within(stop, simulator.settings.start_seconds):
        return
    simulator.start()
    # What lives until the end need not be looked at again: a collection then takes no step's time.
    gc.collect()
    gc.freeze()
    server = _Server(_config(simulator))
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        await _drain(simulator)
        server.should_exit = True
    await serving


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    if seconds:
        log.info("loading (simulated): the port opens in %g s", seconds)
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _drain(simulator: Simulator) -> None:
    """Refuse new requests and wait for those in flight, at most `--shutdown-timeout`; then give the rest up."""
    simulator.draining = True
    engine = simulator.engine
    deadline = asyncio.get_running_loop().time() + simulator.options.shutdown_timeout
    log.info("stopping: %d requests in flight", len(engine.running) + len(engine.waiting))
    while (engine.running or engine.waiting) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(DRAIN_POLL_SECONDS)
    engine.abort_all("the engine was shut down before the request was done")


def _config(simulator: Simulator) -> uvicorn.Config:
    app: Any = App(simulator)
    return uvicorn.Config(
        app,
        host=simulator.options.host,
        port=simulator.options.port,
        http="httptools",
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=CLOSE_SECONDS,
        timeout_keep_alive=5,
        backlog=2048,
    )
