"""Writes children, removes what is not wanted, and remembers what the server made of our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from specdec.api.manifest import Json, Reference, reference
from specdec.api.names import ANNOTATION_DIGEST, LABEL_OWNER
from specdec.controllers.difference import Difference, Write, difference
from specdec.controllers.refusals import refusal
from specdec.controllers.retries import Retries
from specdec.kube import errors
from specdec.kube.cache import Cache
from specdec.kube.client import KubeClient
from specdec.kube.kinds import (
    BY_NAME,
    CONFIG_MAP,
    DEPLOYMENT,
    POD_MONITOR,
    SECRET,
    SERVICE_ACCOUNT,
    UNWATCHED,
    VOLUME_CLAIM,
    Name,
    kind_of,
    name_of,
)
from specdec.observed import Refusal

log = structlog.get_logger(__name__)

# Of these nothing need conflict with an object of the same name, so that applying would join it, and the garbage
# collector would take it along with the resource: a claim with the weights of others, for instance.
JOINABLE: Final = frozenset({SERVICE_ACCOUNT, SECRET, CONFIG_MAP, VOLUME_CLAIM, POD_MONITOR})


@dataclass(slots=True)
class Children:
    """The children of all resources. Answers to writes go into the cache quietly: their echo wakes nobody.

    What is refused is tried again after growing pauses, however often a resource is looked at meanwhile; something
    else under the same name is tried at once.
    """

    client: KubeClient
    cache: Cache
    retries: Retries = field(default_factory=Retries)
    _settled: dict[Name, dict[Reference, tuple[str, str]]] = field(default_factory=dict)

    async def write(self, found: Difference) -> tuple[Refusal, ...]:
        """Apply and prune; what is refused does not keep the others from being written.

        What a pod mounts or runs as exists before the pod's Deployment; the order of the others is of no account.
        """
        writes = [write for write in found.writes if not self._stands(write)]
        outcomes = await _together(self._try_to_write(write) for write in writes if not _runs_pods(write))
        outcomes += [await self._try_to_write(write) for write in writes if _runs_pods(write)]
        outcomes += [await self._tried(body, "removal", partial(self._prune, body)) for body in found.prune]
        return tuple(refusal for refusal in outcomes if refusal is not None)

    async def remove(self, kind: str, name: Name, uid: str | None = None) -> None:
        """Delete one child, with `uid` only that very object; no error when it does not exist."""
        await self.client.delete(BY_NAME[kind], name, uid=uid)
        log.info("child removed", child=f"{kind} {name}")

    def forget(self, owner: Name) -> None:
        self._settled.pop(owner, None)
        self.retries.forget(owner)

    async def _try_to_write(self, write: Write) -> Refusal | None:
        body = write.manifest.body
        return await self._tried(body, _digest(body), partial(self._write, write))

    async def _tried(self, body: Json, attempt: str, act: Callable[[], Awaitable[Refusal | None]]) -> Refusal | None:
        owner, ref = _owner(body), reference(body)
        if held := self.retries.held(owner, ref, attempt):
            return held
        refused = await act()
        if refused is None:
            self.retries.taken(owner, ref)
        else:
            self.retries.refused(owner, attempt, refused)
            log.warning("child refused, will try again", child=str(ref), why=refused.message)
        return refused

    async def _prune(self, body: Json) -> Refusal | None:
        try:
            await self.remove(body["kind"], name_of(body), body["metadata"]["uid"])
        except (errors.Rejected, errors.Forbidden) as error:
            return refusal(reference(body), error)
        return None

    async def _write(self, write: Write) -> Refusal | None:
        ref = write.manifest.reference
        try:
            stored = await self._apply(write)
        except (errors.Rejected, errors.NotFound, errors.Forbidden) as error:
            return refusal(ref, error)
        if stored is None:
            return Refusal(ref, "its name is taken", taken=True)
        self._settle(write, stored)
        if kind_of(stored) not in UNWATCHED:
            self.cache.put(kind_of(stored), stored, quietly=True)
        log.info("child written", child=str(ref), why=write.why)
        return None

    async def _apply(self, write: Write) -> Json | None:
        """None when the name is taken. A child that no watch has shown is not forced upon whatever has its name."""
        body = write.manifest.body
        if write.live is not None:
            return await self.client.apply(body)
        if kind_of(body) in JOINABLE and not write.vacant and await self._is_anothers(body):
            return None
        try:
            return await self.client.apply(body, force=False)
        except errors.Conflict:
            return None if await self._is_anothers(body) else await self.client.apply(body)

    async def _is_anothers(self, body: Json) -> bool:
        try:
            found = (await self.client.get(kind_of(body), name_of(body)))["metadata"]
        except errors.NotFound:
            return False
        labelled = (found.get("labels") or {}).get(LABEL_OWNER) == body["metadata"]["labels"][LABEL_OWNER]
        (owner,) = body["metadata"]["ownerReferences"]
        owned = any(each["uid"] == owner["uid"] for each in found.get("ownerReferences") or ())
        return not labelled and not owned

    def _settle(self, write: Write, stored: Json) -> None:
        """Remember an answer that is not what was asked for; of a thousand resources none is usual."""
        owner, ref = _owner(write.manifest.body), write.manifest.reference
        if difference([write.manifest], [stored]):
            self._settled.setdefault(owner, {})[ref] = (_digest(write.manifest.body), _state(stored))
        else:
            self._settled.get(owner, {}).pop(ref, None)

    def _stands(self, write: Write) -> bool:
        """Whether the server answered this very manifest with what stands now, though it reads otherwise.

        An admission plugin that changes our fields would else be fought for ever.
        """
        if write.live is None:
            return False
        answered = (_digest(write.manifest.body), _state(write.live))
        return self._settled.get(_owner(write.manifest.body), {}).get(write.manifest.reference) == answered


async def _together(acts: Iterable[Coroutine[Any, Any, Refusal | None]]) -> list[Refusal | None]:
    """Their results in order. The first to raise ends the others, and what it raised is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(act) for act in acts]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


def _runs_pods(write: Write) -> bool:
    return write.manifest.kind == DEPLOYMENT.name


def _digest(body: Json) -> str:
    return str(body["metadata"]["annotations"][ANNOTATION_DIGEST])


def _owner(body: Json) -> Name:
    return Name(body["metadata"]["namespace"], body["metadata"]["labels"][LABEL_OWNER])


def _state(body: Json) -> str:
    """Changes with what a user or controller specifies, not with its status where the kind tells them apart."""
    metadata = body["metadata"]
    return f"{metadata['uid']}/{metadata.get('generation') or metadata['resourceVersion']}"
