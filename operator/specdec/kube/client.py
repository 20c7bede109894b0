"""Requests to the API server: bounded in number and time, raw JSON in and out, errors as in `kube.errors`.

Every object is written by server-side apply under one field manager, so that what users and other controllers
set beside our fields stays theirs.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from specdec.kube import credentials, errors
from specdec.kube.kinds import Kind, Name, kind_of, name_of

FIELD_MANAGER: Final = "specdec-operator"
USER_MANAGER: Final = "kubectl-specdec"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
TIMEOUT_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 5.0
PAGE_SIZE: Final = 500
# A connection takes 0.3 MiB with its TLS buffers, and one process cannot keep more than a few of them busy.
IN_FLIGHT: Final = 12

Manifest = dict[str, Any]
Observer = Callable[[str, int, float], None]


def _unlimited() -> float:
    return math.inf


def _unobserved(_verb: str, _status: int, _seconds: float) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. version: resourceVersion of the instant that the whole list, all its pages, shows."""

    items: list[Manifest]
    version: str


@dataclass(slots=True)
class KubeClient:
    """Typed verbs over one connection pool.

    write_seconds: how long a write that begins now may take, 0 for not at all; asked right before each but those of
    the lease itself.
    observer: called after each request with its verb, status (0: none) and seconds.
    """

    api: ApiClient
    write_seconds: Callable[[], float] = _unlimited
    observer: Observer = _unobserved
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path | None = None, context: str | None = None) -> AsyncIterator[Self]:
        """A client for the cluster that the environment or `kubeconfig` names, closed at the end of the block."""
        api = credentials.client(await credentials.configuration(kubeconfig, context))
        try:
            yield cls(api)
        finally:
            await api.close()

    async def get(self, kind: Kind, name: Name) -> Manifest:
        return await self._request("get", "GET", kind.path(name.namespace, name.name))

    async def pages(self, kind: Kind, namespace: str | None = None, selector: str = "") -> AsyncIterator[Page]:
        """Lists in pages, so that neither side holds the whole collection at once."""
        query = {"limit": str(PAGE_SIZE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self._request("list", "GET", kind.path(namespace), query=query)
            metadata = page["metadata"]
            yield Page(page.get("items") or [], metadata["resourceVersion"])
            if not (token := metadata.get("continue")):
                return
            query["continue"] = token

    async def apply(self, manifest: Manifest, *, force: bool = True) -> Manifest:
        """Server-side apply: creates the object or changes our fields of it; answers with what is stored then.

        force: take fields over from other managers; without it such a field is a Conflict and nothing changes.
        """
        return await self._apply(manifest, None, force=force)

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Server-side apply of `status`; with metadata.uid set, an object made anew under this name is a Conflict."""
        return await self._apply(manifest, "status", force=True)

    async def create(self, manifest: Manifest, *, fenced: bool = True) -> Manifest:
        path = kind_of(manifest).path(manifest["metadata"]["namespace"])
        return await self._request("create", "POST", path, body=manifest, content_type=JSON, fenced=fenced)

    async def replace(self, manifest: Manifest, *, fenced: bool = True) -> Manifest:
        """Writes the whole object; with metadata.resourceVersion set, a newer stored version is a Conflict."""
        path = kind_of(manifest).path(*_split(name_of(manifest)))
        return await self._request("update", "PUT", path, body=manifest, content_type=JSON, fenced=fenced)

    async def merge(self, kind: Kind, name: Name, patch: Manifest) -> Manifest:
        """JSON merge patch on behalf of a user: the operator itself only applies."""
        path, query = kind.path(*_split(name)), {"fieldManager": USER_MANAGER}
        return await self._request("patch", "PATCH", path, query=query, body=patch, content_type=MERGE)

    async def delete(self, kind: Kind, name: Name, uid: str | None = None) -> None:
        """Deletes in the background; no error when it is gone. With `uid` only that very object."""
        options: Manifest = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", "DELETE", kind.path(*_split(name)), body=options, content_type=JSON)
        except errors.NotFound:
            return

    async def _apply(self, manifest: Manifest, subresource: str | None, *, force: bool) -> Manifest:
        path = kind_of(manifest).path(*_split(name_of(manifest)), subresource)
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._request("apply", "PATCH", path, query=query, body=manifest, content_type=APPLY)

    async def _request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str | None = None,
        fenced: bool = True,
    ) -> Manifest:
        async with self._slots:
            limit = min(TIMEOUT_SECONDS, self.write_seconds()) if content_type and fenced else TIMEOUT_SECONDS
            if limit <= 0:
                raise errors.NotLeading(f"{verb} {path} was not sent: this replica does not hold the lease")
            started = asyncio.get_running_loop().time()
            status = 0
            try:
                status, answer, retry_after = await self._send(
                    method, path, query, body, content_type=content_type, seconds=limit
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise errors.Unavailable(f"{verb} {path}: {error or type(error).__name__}") from error
            finally:
                self.observer(verb, status, asyncio.get_running_loop().time() - started)
        if status >= 400:
            raise errors.from_status(status, f"{verb} {path}", answer, retry_after)
        parsed: Manifest = json.loads(answer)
        return parsed

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Manifest | None,
        *,
        content_type: str | None,
        seconds: float,
    ) -> tuple[int, bytes, str | None]:
        headers = {"Accept": JSON, **({"Content-Type": content_type} if content_type else {})}
        await self.api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self.api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        answer = await self.api.rest_client.request(method, url, headers=headers, body=body, _request_timeout=limit)
        return answer.status, await answer.read(), answer.getheader("Retry-After")


def _split(name: Name) -> tuple[str, str]:
    return name.namespace, name.name
