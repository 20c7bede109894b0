"""K is changed on a running engine, through HTTP, under load."""

from __future__ import annotations

import json

import pytest

from tests.engine.load import Between, load, page
from tests.engine.servers import Server, until
from tests.support.patience import PATIENCE_SECONDS

DRAFTS = "vllm:spec_decode_num_drafts_total"
STEPS = "vllm:iteration_tokens_total_count"


def drafts_since(server: Server, drafts: float, wanted: int) -> bool:
    return page(server).total(DRAFTS) >= drafts + wanted


def test_each_k_takes_effect_exactly_and_no_request_fails(server: Server) -> None:
    seen: dict[int, float] = {}
    with load(server, concurrency=4) as outcome:
        for k in (7, 3, 1, 7):
            server.set_k(k)
            # Steps that were decided before the change may still be under way.
            settled = page(server).total(STEPS) + 4
            until(lambda: page(server).total(STEPS) > settled, PATIENCE_SECONDS, "a few steps")  # noqa: B023 - called in this round
            before = page(server)
            until(lambda: drafts_since(server, before.total(DRAFTS), 100), PATIENCE_SECONDS, "100 drafts")  # noqa: B023
            seen[k] = Between(before, page(server)).draft_tokens_per_draft
    assert seen == {7: 7.0, 3: 3.0, 1: 1.0}
    assert outcome.failures == []
    assert outcome.completed > 0


def test_off_stops_drafting_and_on_starts_it_again(server: Server) -> None:
    with load(server, concurrency=2) as outcome:
        server.set_k(0)
        settled = page(server).total(STEPS) + 4
        until(lambda: page(server).total(STEPS) > settled, PATIENCE_SECONDS, "a few steps")
        before = page(server)
        until(lambda: page(server).total(STEPS) > before.total(STEPS) + 50, PATIENCE_SECONDS, "50 steps without drafts")
        assert Between(before, page(server)).rise(DRAFTS) == 0
        server.set_k(7)
        until(lambda: drafts_since(server, before.total(DRAFTS), 20), PATIENCE_SECONDS, "drafts after switching on")
    assert outcome.failures == []


def test_the_schedule_gives_each_batch_size_its_k(server: Server) -> None:
    server.set_schedule((1, 2, 6), (3, 16, 2))
    before = page(server)
    with load(server, concurrency=1):
        until(lambda: drafts_since(server, before.total(DRAFTS), 30), PATIENCE_SECONDS, "drafts at batch 1")
    with load(server, concurrency=6):
        until(lambda: drafts_since(server, before.total(DRAFTS), 200), PATIENCE_SECONDS, "drafts at batch 6")
    change = Between(before, page(server))
    by_batch = {b: change.rise("specdec:steps_total", batch=b, k="6") for b in ("1", "2", "3-4", "5-8")}
    assert by_batch["1"] > 0
    assert by_batch["3-4"] == by_batch["5-8"] == 0
    assert change.rise("specdec:steps_total", batch="5-8", k="2") > 0
    assert change.rise("specdec:steps_total", batch="1", k="2") == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"entries": [[1, 16, 8]]}, "entries[0].numSpeculativeTokens", id="K above the start value"),
        pytest.param({"entries": [[1, 16, 0]]}, "entries[0].numSpeculativeTokens", id="K = 0 is only the off switch"),
        pytest.param({"entries": [[1, 16, -1]]}, "entries[0].numSpeculativeTokens", id="K below 0"),
        pytest.param({"entries": [[1, 4, 3], [6, 16, 3]]}, "entries[1].fromBatch", id="a gap"),
        pytest.param({"entries": [[1, 4, 3], [4, 16, 3]]}, "entries[1].fromBatch", id="an overlap"),
        pytest.param({"entries": [[1, 15, 3]]}, "entries[0].toBatch", id="the end is missing"),
        pytest.param({"entries": [[1, 16, 3]], "k": 3}, "k", id="an unknown field"),
        pytest.param({"entries": [[1, 16, 3]], "off": True}, "entries", id="off with entries"),
    ],
)
def test_a_bad_schedule_is_refused_and_changes_nothing(server: Server, change: dict[str, object], field: str) -> None:
    before = server.speculation()["schedule"]
    names = ("fromBatch", "toBatch", "numSpeculativeTokens")
    entries = [dict(zip(names, entry, strict=True)) for entry in change["entries"]]  # type: ignore[attr-defined]
    answer = server.put({"revision": before["revision"] + 1} | change | {"entries": entries})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["reason"], error["field"]) == ("InvalidSchedule", field)
    assert server.speculation()["schedule"] == before


def test_a_revision_is_put_once(server: Server) -> None:
    revision = server.set_k(5)
    entry = {"fromBatch": 1, "toBatch": 16, "numSpeculativeTokens": 5}
    again = server.put({"revision": revision, "entries": [entry]})
    assert (again.status_code, again.json()["revision"]) == (200, revision)
    other = server.put({"revision": revision, "entries": [entry | {"numSpeculativeTokens": 4}]})
    stale = server.put({"revision": revision + 1, "ifRevision": revision - 1, "entries": [entry]})
    assert [other.status_code, stale.status_code] == [409, 409]
    assert server.speculation()["schedule"]["revision"] == revision


def test_a_body_that_is_too_large_or_no_json_is_refused(server: Server) -> None:
    path = "/v1/speculation/schedule"
    large = server.http.put(path, headers=server.control(), content=b" " * (64 * 1024 + 1))
    broken = server.http.put(path, headers=server.control(), content=b'{"revision": NaN}')
    assert (large.status_code, broken.status_code) == (413, 400)


def test_a_rotated_token_counts_from_the_next_request_on(server: Server) -> None:
    old = server.token_file.read_text()
    try:
        server.token_file.write_text("another")
        assert server.http.get("/v1/speculation", headers=server.control(old)).status_code == 401
        assert server.http.get("/v1/speculation", headers=server.control("another")).status_code == 200
        server.token_file.write_text("")
        assert server.http.get("/v1/speculation", headers={"Authorization": "Bearer"}).status_code == 401
    finally:
        server.token_file.write_text(old)
    assert json.loads(server.http.get("/v1/speculation", headers=server.control()).text)["method"] == "dflash"
