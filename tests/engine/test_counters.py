"""The exact counters agree with vLLM's own totals, and the operator's scraper reads them."""

from __future__ import annotations

import pytest

from specdec.engine.scrape import Scraper
from specdec.engine.target import Target
from specdec.tuning.samples import Sample
from tests.engine.load import Between, load, page
from tests.engine.servers import Server, until
from tests.support.patience import PATIENCE_SECONDS

PAIRS = {
    "specdec:drafts_total": "vllm:spec_decode_num_drafts_total",
    "specdec:verified_tokens_total": "vllm:spec_decode_num_draft_tokens_total",
    "specdec:accepted_tokens_total": "vllm:spec_decode_num_accepted_tokens_total",
    "specdec:generated_tokens_total": "vllm:generation_tokens_total",
    "specdec:step_prefill_tokens_total": "vllm:prompt_tokens_total",
}
CONCURRENCY = 5


@pytest.fixture(scope="module")
def change(server: Server) -> Between:
    """A mixed load over three K, and the pages around it, both taken while nothing runs."""
    until(lambda: server.running() == 0, PATIENCE_SECONDS, "a quiet engine")
    before = page(server)
    for k in (7, 2, 4):
        server.set_k(k)
        with load(server, concurrency=CONCURRENCY, max_tokens=40) as outcome:
            until(lambda: outcome.completed >= 10, PATIENCE_SECONDS, "10 requests")
        assert outcome.failures == []
    until(lambda: server.running() == 0, PATIENCE_SECONDS, "a quiet engine")
    return Between(before, page(server))


@pytest.mark.parametrize(("ours", "vllms"), PAIRS.items())
def test_totals_equal_vllms_own(change: Between, ours: str, vllms: str) -> None:
    assert change.rise(ours) == change.rise(vllms) > 0


def test_acceptance_per_position_equals_vllms_own(change: Between) -> None:
    name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    theirs = [change.rise(name, position=str(p)) for p in range(7)]
    assert [change.rise("specdec:accepted_tokens_total", position=str(p)) for p in range(7)] == theirs


def test_positions_at_and_beyond_k_are_not_verified(change: Between) -> None:
    assert change.rise("specdec:verified_tokens_total", k="2", position="1") > 0
    # A step under K = 2 still verifies the drafts that the step before it, under another K, proposed.
    verified = {p: change.rise("specdec:verified_tokens_total", k="2", position=p) for p in ("1", "2")}
    assert verified["2"] <= 0.05 * verified["1"]


def test_the_mean_batch_of_a_cell_lies_in_its_bucket(change: Between) -> None:
    for label, (low, high) in {"3-4": (3, 4), "5-8": (5, 8)}.items():
        steps = change.rise("specdec:steps_total", batch=label)
        assert steps > 0
        assert low <= change.rise("specdec:step_requests_total", batch=label) / steps <= high


def test_step_time_adds_up_to_the_time_that_the_engine_was_busy(change: Between) -> None:
    elapsed = change.after.at - change.before.at
    # While a request is under way there is a step under way: one of at most five, and but for the pauses between steps.
    busy = change.rise("vllm:request_inference_time_seconds_sum") / CONCURRENCY
    assert 0.5 * busy < change.rise("specdec:step_seconds_total") <= elapsed


async def test_the_operators_scraper_reads_the_page(server: Server) -> None:
    async with Scraper() as scraper:
        (sample,) = await scraper.scrape([Target("pod", "1", server.url)])
    assert isinstance(sample, Sample)
    assert sample.schedule_revision == server.speculation()["schedule"]["revision"]
    assert sum(cell.drafts for cell in sample.cells) == sample.stock.drafts
    assert sum(cell.generated_tokens for cell in sample.cells) == page(server).total("specdec:generated_tokens_total")
