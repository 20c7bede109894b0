"""What the server refuses is tried again, ever more rarely, however often its resource is looked at."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from specdec.api.decision import AcceptedDecision
from specdec.api.manifest import Json
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, Write
from specdec.controllers.retries import LONGEST_PAUSE_SECONDS, Retries
from specdec.desired import checkpoint, manifests
from specdec.kube.cache import Cache
from specdec.kube.errors import KubeError, NotFound, NotLeading, Rejected
from specdec.kube.kinds import Name
from specdec.observed import Refusal
from tests.support.clock import in_no_time
from tests.support.resource import resource

OWNER = Name("default", "demo")


class Server:
    """Answers each write and deletion with `error`, or takes it, `changed` by a plugin; notes when it was asked."""

    def __init__(self, error: KubeError | None = None, **changed: Any) -> None:
        self.error, self.changed = error, changed
        self.asked: list[float] = []

    async def apply(self, body: Json, **_: Any) -> Json:
        self._answer()
        return {**body, **self.changed, "metadata": {**body["metadata"], "uid": "u", "resourceVersion": "1"}}

    async def get(self, *_: Any) -> Json:
        raise NotFound("nothing has the name")

    async def delete(self, *_: Any, **__: Any) -> None:
        self._answer()

    def _answer(self) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error


def children(server: Server) -> Children:
    return Children(cast(Any, server), Cache(lambda _: None), Retries(lambda: 1.0))


def write(text: str = "one") -> Difference:
    return Difference((Write(checkpoint(resource(), {"text": text}), "missing"),), ())


async def seen_each_second(children: Children, what: Difference, seconds: int) -> tuple[Refusal, ...]:
    refusals: tuple[Refusal, ...] = ()
    for _ in range(seconds):
        refusals = await children.write(what)
        assert len(refusals) == 1
        await asyncio.sleep(1)
    return refusals


def test_what_is_refused_is_tried_ever_more_rarely() -> None:
    async def main() -> None:
        server = Server(Rejected("no such kind"))
        tried = children(server)
        refusals = await seen_each_second(tried, write(), 600)
        pauses = [b - a for a, b in zip(server.asked, server.asked[1:], strict=False)]
        assert pauses == sorted(pauses)
        assert pauses[-1] == LONGEST_PAUSE_SECONDS
        assert 0 < (tried.retries.seconds(OWNER, refusals) or 0) <= LONGEST_PAUSE_SECONDS

    in_no_time(main())


def test_a_removal_that_is_refused_keeps_nothing_from_being_written() -> None:
    async def main() -> None:
        server = Server(Rejected("a webhook says no"))
        gone = checkpoint(resource(), {}).body
        gone["metadata"]["uid"] = "u"
        await seen_each_second(children(server), Difference((), (gone,)), 100)
        assert len(server.asked) < 10

    in_no_time(main())


def test_other_content_is_tried_at_once_and_what_was_taken_is_forgotten() -> None:
    async def main() -> None:
        server = Server(Rejected("no"))
        tried = children(server)
        refusals = await seen_each_second(tried, write("one"), 100)
        before = len(server.asked)
        assert await tried.write(write("two"))
        assert len(server.asked) == before + 1
        server.error = None
        assert not await tried.write(write("three"))
        assert tried.retries.seconds(OWNER, refusals) is None

    in_no_time(main())


def test_what_a_plugin_makes_of_our_words_is_not_fought() -> None:
    async def main() -> None:
        server = Server(data={"text": "as the plugin likes it"})
        tried, (asked,) = children(server), write().writes
        await tried.write(write())
        live = await server.apply(asked.manifest.body)
        before = len(server.asked)
        await tried.write(Difference((Write(asked.manifest, "changed by others", live),), ()))
        assert len(server.asked) == before

    in_no_time(main())


def test_of_what_is_as_it_was_asked_for_nothing_is_remembered() -> None:
    async def main() -> None:
        tried = children(Server())
        await tried.write(write())
        assert not tried._settled

    in_no_time(main())


class Slow(Server):
    """Answers after a second, in which others may ask; notes the kinds in the order of asking."""

    def __init__(self, error: KubeError | None = None) -> None:
        super().__init__(error)
        self.kinds: list[str] = []

    async def apply(self, body: Json, **_: Any) -> Json:
        self.kinds.append(body["kind"])
        await asyncio.sleep(1)
        return await super().apply(body)


def all_children() -> Difference:
    wanted = manifests(resource(), AcceptedDecision(revision=1, switching="Live", start_k=7))
    return Difference(tuple(Write(manifest, "missing") for manifest in reversed(wanted)), ())


def test_what_pods_need_is_written_at_once_and_before_the_pods() -> None:
    async def main() -> None:
        server = Slow()
        await children(server).write(all_children())
        assert server.kinds[-1] == "Deployment"
        assert len(server.kinds) > 4
        assert server.asked == [1.0] * (len(server.kinds) - 1) + [2.0]

    in_no_time(main())


def test_a_write_that_cannot_be_made_ends_the_pass_and_the_others() -> None:
    async def main() -> None:
        server = Slow(NotLeading("another replica leads"))
        with pytest.raises(NotLeading):
            await children(server).write(all_children())
        assert "Deployment" not in server.kinds

    in_no_time(main())
