"""An engine that the operator runs in a pod, reached through its Service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.support.kubectl import Kubectl
from tests.support.reach import reach

ANSWER_SECONDS = 240.0
# The server closes a connection that was idle for 5 s; a request sent just then is lost.
KEPT = httpx.Limits(keepalive_expiry=1.0)


@dataclass(frozen=True, slots=True)
class PodEngine:
    """The engine of a resource with one replica."""

    url: str
    http: httpx.Client

    def set_acceptance(self, rates: Sequence[float]) -> None:
        """From the next step on, accept position p of each draft with `rates[p]`, unconditional."""
        self.http.put("/rig/acceptance", json={"rates": list(rates)}).raise_for_status()


@contextmanager
def engine_of(space: Kubectl, name: str) -> Iterator[PodEngine]:
    """The engine of the resource `name`, which is ready."""
    with reach(space, name) as url, httpx.Client(base_url=url, timeout=ANSWER_SECONDS, limits=KEPT) as http:
        yield PodEngine(url, http)
