"""docs/engine-contract.md, 'Live speculation endpoint', held against whatever engine the fixtures name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

PATH = "/v1/speculation"
SCHEDULE = "/v1/speculation/schedule"
Json = dict[str, Any]


def entry(first: int, last: int, k: int) -> Json:
    return {"fromBatch": first, "toBatch": last, "numSpeculativeTokens": k}


class Endpoint:
    """The endpoint with the right token, and what it said before the test."""

    def __init__(self, http: httpx.AsyncClient, token: str, before: Json) -> None:
        self.http = http
        self.headers = {"X-Speculation-Authorization": f"Bearer {token}"}
        self.before = before
        self.revision: int = before["schedule"]["revision"]
        self.max_batch: int = before["limits"]["maxBatch"]
        self.max_k: int = before["limits"]["maxNumSpeculativeTokens"]

    async def put(self, body: Any, *, headers: Json | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.put(SCHEDULE, content=content, headers=self.headers if headers is None else headers)

    async def get(self) -> Json:
        answer = await self.http.get(PATH, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def constant(self, k: int, revision: int | None = None, **more: Any) -> Json:
        revision = self.revision + 1 if revision is None else revision
        return {"revision": revision, "entries": [entry(1, self.max_batch, k)], **more}


@pytest.fixture
async def endpoint(http: httpx.AsyncClient, engine_control_token: str) -> Endpoint:
    headers = {"X-Speculation-Authorization": f"Bearer {engine_control_token}"}
    answer = await http.get(PATH, headers=headers)
    assert answer.status_code == 200, answer.text
    return Endpoint(http, engine_control_token, answer.json())


async def test_get_tells_what_the_engine_can_do(endpoint: Endpoint) -> None:
    seen = endpoint.before
    assert seen["apiVersion"] == "speculation.specdec.dev/v1"
    assert set(seen["engine"]) >= {"name", "version"}
    assert seen["startNumSpeculativeTokens"] == endpoint.max_k
    assert seen["limits"]["minNumSpeculativeTokens"] == 1
    assert type(seen["limits"]["maxNumBatchedTokens"]) is int
    assert seen["limits"]["graphCaptureTokens"] is None or seen["limits"]["graphCaptureTokens"] >= 1
    capabilities = {c["name"]: c for c in seen["capabilities"]}
    assert capabilities["LiveSwitching"]["status"] is True
    assert capabilities["ExactCounters"]["status"] is True
    assert all(set(c) >= {"name", "status", "reason", "message"} for c in seen["capabilities"])
    assert all(set(w) >= {"reason", "message"} for w in seen["warnings"])


async def test_the_schedule_in_force_covers_every_batch_size(endpoint: Endpoint) -> None:
    await endpoint.put(
        {"revision": endpoint.revision + 1, "entries": [entry(1, 2, 1), entry(3, endpoint.max_batch, 2)]}
    )
    schedule = (await endpoint.get())["schedule"]
    assert schedule["entries"] == [entry(1, 2, 1), entry(3, endpoint.max_batch, 2)]
    assert schedule["off"] is False


async def test_a_put_answers_with_the_schedule_that_get_shows(endpoint: Endpoint) -> None:
    earliest = datetime.now(UTC)
    answer = await endpoint.put(endpoint.constant(3, ifRevision=endpoint.revision))
    assert answer.status_code == 200
    assert answer.json() == (await endpoint.get())["schedule"]
    assert answer.json()["revision"] == endpoint.revision + 1
    changed_at = answer.json()["changedAt"]
    assert changed_at.endswith("Z")
    assert abs((datetime.fromisoformat(changed_at) - earliest).total_seconds()) < 10


async def test_off_is_k_zero_everywhere_and_can_be_ended(endpoint: Endpoint) -> None:
    off = await endpoint.put({"revision": endpoint.revision + 1, "off": True})
    assert off.status_code == 200
    assert (off.json()["off"], off.json()["entries"]) == (True, [])
    on = await endpoint.put(endpoint.constant(endpoint.max_k, endpoint.revision + 2, off=False))
    assert (on.status_code, on.json()["off"]) == (200, False)


async def test_the_same_revision_with_the_same_content_may_be_repeated(endpoint: Endpoint) -> None:
    body = endpoint.constant(4, ifRevision=endpoint.revision)
    first, second = await endpoint.put(body), await endpoint.put(body)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()


async def test_revisions_may_skip(endpoint: Endpoint) -> None:
    answer = await endpoint.put(endpoint.constant(2, endpoint.revision + 1000))
    assert answer.json()["revision"] == endpoint.revision + 1000


@pytest.mark.parametrize(
    "conflict",
    [
        pytest.param(lambda e: e.constant(5, e.revision + 1), id="the same revision with other content"),
        pytest.param(lambda e: e.constant(5, max(1, e.revision)), id="an older revision"),
        pytest.param(lambda e: e.constant(5, e.revision + 2, ifRevision=e.revision), id="ifRevision is not in force"),
    ],
)
async def test_a_stale_writer_is_told_and_changes_nothing(endpoint: Endpoint, conflict: Any) -> None:
    assert (await endpoint.put(endpoint.constant(6, endpoint.revision + 1))).status_code == 200
    before = await endpoint.get()
    answer = await endpoint.put(conflict(endpoint))
    assert answer.status_code == 409
    assert answer.json()["error"]["reason"] == "RevisionConflict"
    assert await endpoint.get() == before


BAD: list[tuple[str, Any, str | None]] = [
    ("no JSON", lambda e: b"{", None),
    ("not an object", lambda e: [], None),
    ("nothing", lambda e: b"", None),
    ("NaN", lambda e: b'{"revision": NaN}', None),
    ("a field twice", lambda e: b'{"revision": 1, "revision": 2, "off": true}', None),
    ("an unknown field", lambda e: e.constant(3, entires=[]), "entires"),
    ("no revision", lambda e: {"entries": [entry(1, e.max_batch, 3)]}, "revision"),
    ("revision 0", lambda e: e.constant(3, 0), "revision"),
    ("a revision beyond 2^53 - 1", lambda e: e.constant(3, 2**53), "revision"),
    ("a revision beyond 2^64", lambda e: e.constant(3, 2**64), "revision"),
    ("half a character pair", lambda e: e.constant(3) | {"\ud800": 1}, None),
    ("a revision that is a string", lambda e: e.constant(3) | {"revision": "9"}, "revision"),
    ("a revision that is true", lambda e: e.constant(3) | {"revision": True}, "revision"),
    ("a revision with a point", lambda e: e.constant(3) | {"revision": e.revision + 1.0}, "revision"),
    ("ifRevision that is a string", lambda e: e.constant(3, ifRevision="0"), "ifRevision"),
    ("off that is a number", lambda e: e.constant(3, off=1), "off"),
    ("off with entries", lambda e: e.constant(3, off=True), "entries"),
    ("no entries", lambda e: {"revision": e.revision + 1}, "entries"),
    ("empty entries", lambda e: {"revision": e.revision + 1, "entries": []}, "entries"),
    ("entries that are a string", lambda e: {"revision": e.revision + 1, "entries": "all"}, "entries"),
    ("an entry that is a list", lambda e: {"revision": e.revision + 1, "entries": [[1, 4, 3]]}, "entries[0]"),
    ("K = 0", lambda e: e.constant(0), "entries[0].numSpeculativeTokens"),
    ("K below 0", lambda e: e.constant(-1), "entries[0].numSpeculativeTokens"),
    ("K above the start value", lambda e: e.constant(e.max_k + 1), "entries[0].numSpeculativeTokens"),
    ("a start after 1", lambda e: bad(e, entry(2, e.max_batch, 3)), "entries[0].fromBatch"),
    ("a gap", lambda e: bad(e, entry(1, 3, 3), entry(5, e.max_batch, 3)), "entries[1].fromBatch"),
    ("an overlap", lambda e: bad(e, entry(1, 3, 3), entry(3, e.max_batch, 3)), "entries[1].fromBatch"),
    ("out of order", lambda e: bad(e, entry(3, e.max_batch, 3), entry(1, 2, 3)), "entries[0].fromBatch"),
    ("an end before the start", lambda e: bad(e, entry(1, 0, 3)), "entries[0].toBatch"),
    ("an end beyond the largest batch", lambda e: bad(e, entry(1, e.max_batch + 1, 3)), "entries[0].toBatch"),
    ("an end before the largest batch", lambda e: bad(e, entry(1, e.max_batch - 1, 3)), "entries[0].toBatch"),
    ("an unknown field of an entry", lambda e: bad(e, entry(1, e.max_batch, 3) | {"k": 3}), "entries[0].k"),
    ("more than 512 entries", lambda e: bad(e, *(entry(i, i, 1 + i % 2) for i in range(1, 514))), "entries"),
]


def bad(endpoint: Endpoint, *entries: Json) -> Json:
    return {"revision": endpoint.revision + 1, "entries": list(entries)}


@pytest.mark.parametrize(("body", "field"), [pytest.param(body, field, id=name) for name, body, field in BAD])
async def test_an_invalid_schedule_names_the_field_and_changes_nothing(
    endpoint: Endpoint, body: Any, field: str | None
) -> None:
    answer = await endpoint.put(body(endpoint))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["reason"] == "InvalidSchedule"
    assert error["message"]
    if field is not None:
        assert error["field"] == field
    assert await endpoint.get() == endpoint.before


async def test_a_body_above_64_kib_is_too_large(endpoint: Endpoint) -> None:
    answer = await endpoint.put(b'{"revision": 1, "x": "' + b"x" * 65536 + b'"}')
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "TooLarge")
    assert await endpoint.get() == endpoint.before


WRONG_TOKENS = [
    pytest.param({}, id="no token"),
    pytest.param({"X-Speculation-Authorization": "Bearer wrong"}, id="a wrong token"),
    pytest.param({"X-Speculation-Authorization": "Bearer"}, id="an empty token"),
    pytest.param({"X-Speculation-Authorization": "Basic dG9rZW4="}, id="another scheme"),
    pytest.param({"Authorization": "Bearer wrong"}, id="a wrong token in the shared header"),
]


@pytest.mark.parametrize("headers", WRONG_TOKENS)
async def test_without_the_control_token_nothing_is_told_and_nothing_changes(endpoint: Endpoint, headers: Json) -> None:
    put = await endpoint.put(endpoint.constant(1), headers=headers)
    get = await endpoint.http.get(PATH, headers=headers)
    assert (get.status_code, put.status_code) == (401, 401)
    assert get.json()["error"]["reason"] == "Unauthorized"
    assert await endpoint.get() == endpoint.before


async def test_a_wrong_token_in_its_own_header_is_not_saved_by_the_shared_one(
    endpoint: Endpoint, engine_control_token: str
) -> None:
    headers = {"X-Speculation-Authorization": "Bearer wrong", "Authorization": f"Bearer {engine_control_token}"}
    assert (await endpoint.put(endpoint.constant(1), headers=headers)).status_code == 401


async def test_the_shared_header_serves_when_its_own_is_absent(endpoint: Endpoint, engine_control_token: str) -> None:
    headers = {"Authorization": f"Bearer {engine_control_token}"}
    assert (await endpoint.put(endpoint.constant(1), headers=headers)).status_code == 200
