"""The operator's process: what runs beside what, who starts and stops whom."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog

from specdec import __version__
from specdec.controllers.children import Children
from specdec.controllers.engines import Engines
from specdec.controllers.loops import Loops
from specdec.controllers.metrics import Metrics
from specdec.controllers.reconcile import Reconciler
from specdec.controllers.records import Records
from specdec.controllers.settings import Settings
from specdec.controllers.statuses import Statuses
from specdec.controllers.tokens import Tokens
from specdec.controllers.tuner import Tuner
from specdec.engine.live import LiveClient
from specdec.engine.scrape import Scraper
from specdec.kube import credentials, errors
from specdec.kube.cache import Cache
from specdec.kube.client import KubeClient
from specdec.kube.events import Recorder
from specdec.kube.kinds import CONFIG_MAP, RESOURCE, Name
from specdec.kube.lease import Election
from specdec.kube.watches import Watches

log = structlog.get_logger(__name__)

FIRST_LIST_PAUSE_SECONDS: Final = 2.0


async def run(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Until `stop` is set or a signal arrives; then hand the lease back and end."""
    async with AsyncExitStack() as stack:
        operator = await Operator.assembled(settings, stack)
        await operator.run(stop or asyncio.Event())


class Operator:
    """Joins watches, election, loops and the reconciler."""

    def __init__(self, settings: Settings, client: KubeClient, watched: KubeClient, engines: Engines) -> None:
        self.settings, self.client, self.metrics = settings, client, Metrics()
        self.cache = Cache(changed=self._changed)
        self.election = Election(
            watched,
            Name(settings.lease_namespace, settings.lease_name),
            settings.identity,
            started=self._lead,
            stopped=self._follow,
        )
        if settings.leader_election:
            self.client.write_seconds = self.election.write_seconds
        self.client.observer = watched.observer = self.metrics.request
        self.reconciler = self._reconciler(engines)
        self.loops = Loops(self.reconciler.work, failed=self._failed)
        self.watches = Watches(
            watched,
            client.api.configuration,
            self.cache,
            settings.namespaces,
            health_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz" if settings.health_port else None,
            probes=(("leading", lambda: self.metrics.leads), ("version", lambda: __version__)),
        )
        self._taking_over: asyncio.Task[None] | None = None

    @classmethod
    async def assembled(
        cls, settings: Settings, stack: AsyncExitStack, client: type[KubeClient] = KubeClient
    ) -> Operator:
        """With real clients, which `stack` closes. Reads, and the lease, have connections of their own."""
        found = await credentials.configuration(settings.kubeconfig, settings.context)
        clients = [made(credentials.client(found)) for made in (client, KubeClient)]
        for each in clients:
            stack.push_async_callback(each.api.close)
        scraper, live = await stack.enter_async_context(Scraper()), await stack.enter_async_context(LiveClient())
        return cls(settings, clients[0], clients[1], Engines(scraper, live))

    def may_act(self) -> bool:
        """Whether this replica may change anything now."""
        return self.election.may_write() if self.settings.leader_election else True

    async def run(self, stop: asyncio.Event) -> None:
        """Run all parts; when one of them ends, end the others."""
        if self.settings.metrics_port:
            self.metrics.serve(self.settings.metrics_port)
        log.info("starting", version=__version__, identity=self.settings.identity, namespaces=self.settings.namespaces)
        end_watches = asyncio.Event()
        parts: list[asyncio.Task[Any]] = [
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(self._prime_then_elect(), name="election"),
            asyncio.create_task(self.watches.keep_sweeping(), name="sweeps"),
        ]
        watching = asyncio.create_task(self.watches.run(end_watches, lambda: _on_signals(stop)), name="watches")
        try:
            ended, _ = await asyncio.wait([*parts, watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._shut_down(parts)
            end_watches.set()
            await asyncio.gather(watching, return_exceptions=True)
        for task in ended:
            task.result()

    async def _shut_down(self, parts: Sequence[asyncio.Task[Any]]) -> None:
        log.info("stopping", identity=self.settings.identity)
        self._cease()
        for task in parts:
            task.cancel()
        await asyncio.gather(self.loops.stopped(), *parts, return_exceptions=True)
        self.reconciler.forget_all()
        with contextlib.suppress(errors.KubeError):
            await self.election.release()

    async def _prime_then_elect(self) -> None:
        while True:
            try:
                await self.watches.prime()
                break
            except errors.KubeError as error:
                log.warning("first lists failed, will try again", error=str(error))
                await asyncio.sleep(FIRST_LIST_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        if not self.settings.leader_election:
            self._lead()
            await asyncio.Event().wait()
        await self.election.run()

    def _lead(self) -> None:
        self.metrics.leading.set(1)
        self._taking_over = asyncio.get_running_loop().create_task(self._take_over(), name="take over")

    async def _take_over(self) -> None:
        """Act once the records of who acted before are read as they are now, not as a watch last showed them.

        Specs come after records: a spec older than the one that a record was made from would look like an edit.
        Until cancelled: a renewal that is late but succeeds is no new beginning, so nobody would start this again.
        """
        while True:
            try:
                for kind in (CONFIG_MAP, RESOURCE):
                    await self.watches.sweep(kind)
                break
            except Exception as error:
                trace = None if isinstance(error, errors.KubeError) else error
                log.warning("records and specs not read, will try again", error=str(error), exc_info=trace)
                await asyncio.sleep(FIRST_LIST_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        self.loops.start()

    def _follow(self) -> None:
        self.metrics.leading.set(0)
        self._cease()
        self.reconciler.forget_all()

    def _cease(self) -> None:
        if self._taking_over is not None:
            self._taking_over.cancel()
        self.loops.stop()

    def _changed(self, name: Name) -> None:
        self.loops.wake(name)
        self.metrics.resources.set(self.loops.known)

    def _failed(self, name: Name, error: Exception) -> None:
        self.metrics.failures.labels(name.namespace, name.name, type(error).__name__).inc()

    def _reconciler(self, engines: Engines) -> Reconciler:
        children = Children(self.client, self.cache)
        tokens = Tokens(self.client, children)
        return Reconciler(
            cache=self.cache,
            children=children,
            records=Records(children),
            tokens=tokens,
            tuner=Tuner(engines, tokens, self.cache, self.metrics, self._changed, self.may_act),
            statuses=Statuses(self.client, self.cache, Recorder(self.client, self.settings.identity)),
            metrics=self.metrics,
            now=time.time,
        )


def _on_signals(stop: asyncio.Event) -> None:
    """Take the signals over from kopf: the lease is handed back before the watches end."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
