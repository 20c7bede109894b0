"""Feeds the cache: a first full list, kopf's watches from then on, and now and then a list for what a watch missed.

kopf's handlers put what they saw into the cache, which wakes the loop of its owner; nothing is decided in them, and
nothing of kopf's (finalizers, annotations, events) reaches the users' objects.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import kopf
import structlog
from kubernetes.aio.client import Configuration

from specdec.api.names import LABEL_MANAGED_BY, MANAGED_BY
from specdec.backoff import pause_seconds
from specdec.kube import credentials, errors
from specdec.kube.cache import Cache
from specdec.kube.client import PAGE_SIZE, KubeClient
from specdec.kube.kinds import RESOURCE, WATCHED, Kind

log = structlog.get_logger(__name__)

OURS: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
SETTLING_SECONDS: Final = 0.05
SERVER_TIMEOUT_SECONDS: Final = 290
CLIENT_TIMEOUT_SECONDS: Final = 310
SILENCE_SECONDS: Final = 75
CONNECT_SECONDS: Final = 5
REQUEST_SECONDS: Final = 60
# A watch that was cut for longer than the server's memory misses deletions, and kopf does not tell; a list shows them.
SWEEP_EVERY_SECONDS: Final = 900


class Backoffs:
    """Endless delays with jitter, seconds: kopf ends the process when its delays run out, which no outage is worth."""

    def __iter__(self) -> Iterator[float]:
        for failures in itertools.count(1):
            chance = random.random()  # noqa: S311 - spreads the replicas, no secret
            yield pause_seconds(failures, chance, first=0.5, longest=15.0)


class NoMemory(kopf.DiffBaseStorage):
    """kopf compares each object with its last state unless told that there is nothing to compare: 0.15 ms, not 0.8."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002
        return kopf.BodyEssence({})

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:  # noqa: ARG002
        raise AssertionError("event handlers store nothing")


@dataclass(slots=True)
class Watches:
    """Keeps `cache` true for `namespaces`, or for the whole cluster when there are none."""

    client: KubeClient
    configuration: Configuration
    cache: Cache
    namespaces: Collection[str]
    health_endpoint: str | None = None
    probes: tuple[tuple[str, Callable[[], Any]], ...] = ()

    async def prime(self) -> None:
        """List everything once, so that the first decision rests on a whole picture."""
        for kind in WATCHED:
            await self.sweep(kind)

    async def sweep(self, kind: Kind) -> None:
        """Bring the cache in line with a full list of `kind`."""
        for namespace in self.namespaces or (None,):
            uids: set[str] = set()
            version = ""
            async for page in self.client.pages(kind, namespace, selector_of(kind)):
                version = page.version
                for body in page.items:
                    self.cache.put(kind, body)
                    uids.add(body["metadata"]["uid"])
            missed = self.cache.keep_only(kind, namespace, frozenset(uids), version)
            if missed:
                log.info("deletions noticed late", kind=kind.name, namespace=namespace, objects=missed)

    async def keep_sweeping(self) -> None:
        """Until cancelled: sweep every kind now and then."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the replicas
            for kind in WATCHED:
                try:
                    await self.sweep(kind)
                except errors.KubeError as error:
                    log.warning("sweep failed, will try again", kind=kind.name, error=str(error))

    async def run(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """kopf, until `stop` is set. started: called once it is under way, and has taken SIGTERM and SIGINT."""
        await kopf.operator(
            registry=self._registry(started),
            settings=settings(),
            # Unused while standalone, but kopf would ask for the user's name, which a numeric user in a pod has not.
            identity="specdec",  # type: ignore[arg-type]  # a NewType of str that kopf does not export
            standalone=True,
            clusterwide=not self.namespaces,
            namespaces=tuple(self.namespaces),
            liveness_endpoint=self.health_endpoint,
            stop_flag=stop,
        )

    def _registry(self, started: Callable[[], None] | None) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        configuration = self.configuration

        async def log_in(**_: Any) -> kopf.ConnectionInfo:
            return await credentials.for_kopf(configuration)

        async def start(**_: Any) -> None:
            # kopf takes the signals right after it has begun this; who wants them has to come later.
            await asyncio.sleep(SETTLING_SECONDS)
            if started:
                started()

        kopf.on.login(registry=registry, id="log-in")(log_in)
        kopf.on.startup(registry=registry, id="start")(start)
        for name, probe in self.probes:
            kopf.on.probe(registry=registry, id=name)(_probe(probe))
        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.name)(self._feed(kind))
        return registry

    def _feed(self, kind: Kind) -> Any:
        async def feed(event: dict[str, Any], **_: Any) -> None:
            body = dict(event["object"])
            if event["type"] == "DELETED":
                self.cache.drop(kind, body)
            else:
                self.cache.put(kind, body)

        return feed


def selector_of(kind: Kind) -> str:
    """Of built-in kinds only objects with our label are asked for."""
    return "" if kind is RESOURCE else OURS


def settings() -> kopf.OperatorSettings:
    """kopf kept to watching: every wait bounded, nothing posted, no rights needed beyond those of the handlers."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.persistence.diffbase_storage = NoMemory()
    chosen.watching.server_timeout = SERVER_TIMEOUT_SECONDS
    chosen.watching.client_timeout = CLIENT_TIMEOUT_SECONDS
    chosen.watching.inactivity_timeout = SILENCE_SECONDS
    chosen.watching.connect_timeout = CONNECT_SECONDS
    chosen.watching.reconnect_backoff = 1.0
    chosen.watching.chunk_size = PAGE_SIZE
    chosen.networking.request_timeout = REQUEST_SECONDS
    chosen.networking.connect_timeout = CONNECT_SECONDS
    chosen.networking.error_backoffs = Backoffs()
    chosen.queueing.idle_timeout = 0.2
    chosen.queueing.exit_timeout = 0.5
    for kind in WATCHED:
        if selector := selector_of(kind):
            chosen.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
    return chosen


def _probe(probe: Callable[[], Any]) -> Any:
    async def answer(**_: Any) -> Any:
        return probe()

    return answer
