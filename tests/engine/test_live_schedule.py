"""K is changed on a running engine, through HTTP, under load."""

from __future__ import annotations

import json

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


def test_a_change_that_came_too_late_is_not_made_afterwards(server: Server) -> None:
    server.set_k(7)
    before = server.speculation()["schedule"]
    entries = [{"fromBatch": 1, "toBatch": 16, "numSpeculativeTokens": 1}]
    with server.hung():
        late = server.put({"revision": before["revision"] + 1, "entries": entries})
    assert (late.status_code, late.json()["error"]["reason"]) == (503, "EngineUnavailable")
    assert server.speculation()["schedule"] == before


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
