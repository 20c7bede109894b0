"""The simulator's page beside pages of real vLLM: families, types, labels and how the numbers hang together.

The captured pages are of vLLM 0.32 and 0.33 on CPU with a tiny model; pages/README.md says how they came about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.chat import chat_at_once
from tests.support.metrics import MetricsPage, parse_page
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simulator import SimulatedEngine, simulators

PAGES = Path(__file__).parent / "pages"
CAPTURED = sorted(PAGES.glob("*.txt"))
SPECULATING = [path for path in CAPTURED if "dflash" in path.name]
PER_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
# Labels whose values the traffic or the machine decides.
FREE_LABELS = {"model_name", "engine", "handler", "method", "status", "version", "patchlevel", "minor"}


@pytest.fixture(scope="module")
def real() -> MetricsPage:
    return parse_page((PAGES / "vllm-0.33.0-dflash-synthetic-live-k.txt").read_text())


@pytest.fixture(scope="module")
def quiet_engine() -> Iterator[SimulatedEngine]:
    """With the context of the captured engine, which decides the buckets for tokens of a request."""
    with simulators(arguments=["--max-model-len", "4000"], settings={"SEED": "3"}) as (engine,):
        yield engine


@pytest.fixture(scope="module")
def simulated(quiet_engine: SimulatedEngine) -> MetricsPage:
    return asyncio.run(page_after_traffic(quiet_engine))


async def page_after_traffic(engine: SimulatedEngine) -> MetricsPage:
    async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
        answers = await chat_at_once(client, engine.model, 12, max_tokens=64)
        assert {a.finish_reason for a in answers} == {"length"}
        return parse_page((await client.get("/metrics")).text)


def test_every_family_of_vllm_is_there_with_its_type(real: MetricsPage, simulated: MetricsPage) -> None:
    assert {name: simulated.types.get(name) for name in real.types} == dict(real.types)


def test_families_of_its_own_carry_its_own_names(real: MetricsPage, simulated: MetricsPage) -> None:
    own = set(simulated.types) - set(real.types)
    assert own
    assert all(name.startswith(("specdec:", "specdec_simulator:")) for name in own)


def test_every_sample_has_the_labels_of_vllm(real: MetricsPage, simulated: MetricsPage) -> None:
    assert {n: simulated.label_names(n) for n in real.samples} == {n: real.label_names(n) for n in real.samples}


def test_labels_take_the_values_of_vllm(real: MetricsPage, simulated: MetricsPage) -> None:
    for name in real.samples:
        if name == "vllm:cache_config_info":
            continue
        for label in real.label_names(name) - FREE_LABELS:
            assert simulated.label_values(name, label) == real.label_values(name, label), (name, label)


def pages() -> list[object]:
    return [pytest.param(path, id=path.stem) for path in SPECULATING]


@pytest.fixture(params=[*pages(), pytest.param(None, id="simulator")])
def speculating(request: pytest.FixtureRequest, simulated: MetricsPage) -> MetricsPage:
    return simulated if request.param is None else parse_page(request.param.read_text())


# What holds on real vLLM's pages holds on the simulator's.


def test_each_draft_is_one_inter_token_interval(speculating: MetricsPage) -> None:
    drafts = speculating.total("vllm:spec_decode_num_drafts_total")
    assert speculating.total("vllm:inter_token_latency_seconds_count") == drafts


def test_accepted_tokens_are_the_sum_over_positions(speculating: MetricsPage) -> None:
    assert speculating.total(PER_POSITION) == speculating.total("vllm:spec_decode_num_accepted_tokens_total") > 0


def test_acceptance_does_not_rise_with_the_position(speculating: MetricsPage) -> None:
    positions = sorted(speculating.label_values(PER_POSITION, "position"))
    accepted = [speculating.total(PER_POSITION, position=position) for position in positions]
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[0] <= speculating.total("vllm:spec_decode_num_drafts_total")


def test_step_tokens_are_prompt_and_generated_tokens(speculating: MetricsPage) -> None:
    tokens = speculating.total("vllm:prompt_tokens_total") + speculating.total("vllm:generation_tokens_total")
    assert speculating.total("vllm:iteration_tokens_total_sum") == tokens


def test_each_request_is_counted_once_everywhere(speculating: MetricsPage) -> None:
    finished = speculating.total("vllm:request_success_total")
    for name in (
        "time_to_first_token_seconds", "request_time_per_output_token_seconds", "e2e_request_latency_seconds",
        "request_queue_time_seconds", "request_decode_time_seconds", "request_prompt_tokens",
        "request_generation_tokens", "request_params_max_tokens",
    ):  # fmt: skip
        assert speculating.total(f"vllm:{name}_count") == finished > 0


def test_decode_time_is_the_sum_of_the_intervals(speculating: MetricsPage) -> None:
    intervals = speculating.total("vllm:inter_token_latency_seconds_sum")
    assert speculating.total("vllm:request_decode_time_seconds_sum") == pytest.approx(intervals)


def test_no_more_tokens_come_out_than_drafts_and_prompts_gave(speculating: MetricsPage) -> None:
    """Tokens accepted beyond a request's limit are counted as accepted and then thrown away."""
    drafts = speculating.total("vllm:spec_decode_num_drafts_total")
    accepted = speculating.total("vllm:spec_decode_num_accepted_tokens_total")
    firsts = speculating.total("vllm:time_to_first_token_seconds_count")
    generated = speculating.total("vllm:generation_tokens_total")
    assert 0.9 * (drafts + accepted + firsts) <= generated <= drafts + accepted + firsts


async def test_without_speculation_its_families_are_absent() -> None:
    real = parse_page((PAGES / "vllm-0.32.0-no-speculation.txt").read_text())
    with simulators(speculation="") as (engine,):
        async with httpx.AsyncClient(base_url=engine.url) as client:
            simulated = parse_page((await client.get("/metrics")).text)
    assert not [name for name in (*real.types, *simulated.types) if "spec_decode" in name]


async def test_stock_vllm_has_neither_endpoint_nor_exact_counters() -> None:
    with simulators(settings={"CONTRACT": "0"}) as (engine,):
        async with httpx.AsyncClient(base_url=engine.url) as client:
            simulated = parse_page((await client.get("/metrics")).text)
            assert (await client.get("/v1/speculation")).status_code == 404
    assert not [name for name in simulated.types if name.startswith("specdec:")]
    assert "vllm:spec_decode_num_drafts" in simulated.types
