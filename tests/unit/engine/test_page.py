"""What the operator reads on a metrics page, and what it makes of pages that are none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdec.engine import families
from specdec.engine.page import MAX_SAMPLES, InvalidPage, Page, parse
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Histogram
from tests.support.metrics import MetricsPage, parse_page

PAGES = Path(__file__).parents[2] / "contract" / "pages"
LIVE_K = PAGES / "vllm-0.33.0-dflash-synthetic-live-k.txt"
LABELS = 'engine="0",model_name="m"'
CELL = f'{LABELS},k="3",batch="5-8",phase="decode"'


def page(*lines: str) -> Page:
    return parse("\n".join(["vllm:generation_tokens_total{} 1", *lines]).encode())


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.txt")), ids=lambda path: path.stem)
def test_captured_pages_read_as_prometheus_client_reads_them(path: Path) -> None:
    stock, judge = parse(path.read_bytes()).stock, parse_page(path.read_text())
    speculating = "vllm:spec_decode_num_drafts_total" in judge.samples

    def total(name: str) -> float | None:
        return judge.total(f"vllm:{name}") if speculating or "spec_decode" not in name else None

    assert stock.drafts == total("spec_decode_num_drafts_total")
    assert stock.draft_tokens == total("spec_decode_num_draft_tokens_total")
    assert stock.accepted_tokens == total("spec_decode_num_accepted_tokens_total")
    assert stock.generated_tokens == total("generation_tokens_total")
    assert stock.prompt_tokens == total("prompt_tokens_total")
    assert stock.engine_steps == total("iteration_tokens_total_count")
    assert stock.created == judge.total("vllm:generation_tokens_created")
    assert stock.inter_token_latency == histogram(judge, "vllm:inter_token_latency_seconds")
    assert stock.time_per_output_token == histogram(judge, "vllm:request_time_per_output_token_seconds")
    assert stock.time_to_first_token == histogram(judge, "vllm:time_to_first_token_seconds")
    positions = judge.samples.get("vllm:spec_decode_num_accepted_tokens_per_pos_total", {})
    assert sum(stock.accepted_per_position) == sum(positions.values())
    assert len(stock.accepted_per_position) == len(positions)


def histogram(judge: MetricsPage, name: str) -> Histogram:
    buckets = sorted((float(dict(labels)["le"]), value) for labels, value in judge.samples[f"{name}_bucket"].items())
    uppers, cumulative = zip(*buckets[:-1], strict=True)
    return Histogram(uppers, cumulative, judge.total(f"{name}_count"), judge.total(f"{name}_sum"))


def test_what_is_not_on_the_page_is_not_known() -> None:
    stock = parse((PAGES / "vllm-0.32.0-no-speculation.txt").read_bytes()).stock
    assert (stock.drafts, stock.draft_tokens, stock.accepted_tokens) == (None, None, None)
    assert stock.accepted_per_position == ()


def test_families_are_summed_over_data_parallel_ranks() -> None:
    seen = page(
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
        'vllm:num_requests_running{engine="1",model_name="m"} 4.0',
        'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25',
        'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75',
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"} 5.0',
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="1",position="1"} 6.0',
        'specdec:schedule_revision{engine="0"} 4.0',
        'specdec:schedule_revision{engine="1"} 3.0',
    )
    assert seen.stock.running_requests == 7
    assert seen.stock.kv_cache_usage == 0.75
    assert seen.stock.accepted_per_position == (0, 11)
    assert seen.schedule_revision == 3


def test_a_cell_gathers_its_families_in_any_order_of_labels() -> None:
    (cell,) = page(
        f"specdec:steps_total{{{CELL}}} 10.0",
        'specdec:step_seconds_total{phase="decode",batch="5-8",k="3",engine="0"} 0.25',
        f"specdec:step_requests_total{{{CELL}}} 60.0",
        f"specdec:drafts_total{{{CELL}}} 55.0",
        f"specdec:generated_tokens_total{{{CELL}}} 120.0",
        *(f'specdec:verified_tokens_total{{{CELL},position="{p}"}} 55.0' for p in range(3)),
        *(f'specdec:accepted_tokens_total{{{CELL},position="{p}"}} {40 - p}' for p in range(3)),
    ).cells
    assert (cell.k, cell.bucket, cell.mixed) == (3, 3, False)
    assert (cell.steps, cell.step_seconds, cell.requests, cell.prefill_tokens) == (10, 0.25, 60, 0)
    assert (cell.drafts, cell.generated_tokens) == (55, 120)
    assert cell.verified == (55, 55, 55, 0, 0, 0, 0)
    assert cell.accepted == (40, 39, 38, 0, 0, 0, 0)


def test_the_labels_of_all_buckets_are_known() -> None:
    assert list(families.BATCH_LABELS.values()) == list(range(len(BATCH_BUCKET_ENDS) + 1))
    assert families.BATCH_LABELS[b"13-16"] == BATCH_BUCKET_ENDS.index(16)
    assert families.BATCH_LABELS[b"513+"] == len(BATCH_BUCKET_ENDS)


@pytest.mark.parametrize(
    "labels",
    ['k="8",batch="1",phase="decode"', 'k="x",batch="1",phase="decode"', 'k="3",batch="7",phase="decode"', 'k="3"', ""],
)
def test_cells_outside_the_contract_are_left_to_newer_readers(labels: str) -> None:
    assert page(f"specdec:steps_total{{{labels}}} 10.0").cells == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(b"", "no vllm: family", id="empty"),
        pytest.param(b"<html>502</html>", "no vllm: family", id="another server"),
        pytest.param(b"go_goroutines 9\nnode_load1 3\n", "no vllm: family", id="metrics of something else"),
        pytest.param(b"vllm:generation_tokens_total{} NaN", "impossible value 'NaN'", id="not a number"),
        pytest.param(b"vllm:generation_tokens_total{} -1", "impossible value", id="negative"),
        pytest.param(b"vllm:generation_tokens_total{} +Inf", "impossible value", id="infinite"),
        pytest.param(b"vllm:generation_tokens_total{} 1e999", "impossible value", id="beyond a float"),
        pytest.param(b"vllm:generation_tokens_total{} " + b"9" * 100_000, "impossible value", id="endless digits"),
        pytest.param(b"vllm:generation_tokens_total{} 1\n" * 2, "occurs twice", id="a series twice"),
        pytest.param(b'vllm:generation_tokens_total{a="' + b"x" * 2000 + b'"} 1', "of labels", id="endless labels"),
        pytest.param(
            b'vllm:inter_token_latency_seconds_bucket{le="soon"} 1\nvllm:inter_token_latency_seconds_count 1'
            b"\nvllm:inter_token_latency_seconds_sum 1",
            "label le",
            id="a bucket without a bound",
        ),
    ],
)
def test_an_impossible_page_is_refused_with_its_reason(text: bytes, complaint: str) -> None:
    with pytest.raises(InvalidPage, match=complaint) as refused:
        parse(text)
    assert len(str(refused.value)) < 300


def test_a_page_of_too_many_series_is_refused() -> None:
    lines = (b'specdec:steps_total{k="%d"} 1' % number for number in range(MAX_SAMPLES + 1))
    with pytest.raises(InvalidPage, match="more than"):
        parse(b"\n".join(lines))


HOSTILE = [
    pytest.param(b"vllm:generation_tokens_total{" + b"}" * 1_000_000, id="closing braces"),
    pytest.param(b"vllm:generation_tokens_total{" + b"} " * 500_000, id="ends that are none"),
    pytest.param(b"vllm:generation_tokens_total{ " * 70_000, id="starts without an end"),
    pytest.param(b"\nvllm:generation_tokens_total{" * 70_000, id="lines without a value"),
    pytest.param(b"\n" * 2_000_000, id="empty lines"),
    pytest.param(b'vllm:generation_tokens_total{a="' + b'\\"' * 500_000, id="escapes without an end"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_page_takes_long(text: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidPage):
        parse(text)
    assert time.process_time() - began < 0.5


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_garbage_never_escapes_as_another_error(text: bytes) -> None:
    try:
        parse(text)
    except InvalidPage:
        return


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_page_is_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(LIVE_K.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=20))
    try:
        stock = parse(bytes(text)).stock
    except InvalidPage:
        return
    values = (stock.drafts, stock.generated_tokens, stock.engine_steps, *stock.accepted_per_position)
    assert all(value is None or 0 <= value < float("inf") for value in values)


@given(st.floats(0, 1e18), st.floats(0, 1e18))
@settings(deadline=None)
def test_after_a_counter_reset_the_page_says_what_it_says(before: float, after: float) -> None:
    """Counters may fall between two pages: each page is read by itself, and `created` tells that they started again."""
    text = "vllm:generation_tokens_total{{}} {}\nvllm:generation_tokens_created{{}} {}"
    first, second = parse(text.format(before, 1.0).encode()).stock, parse(text.format(after, 2.0).encode()).stock
    assert (first.generated_tokens, first.created) == (before, 1.0)
    assert (second.generated_tokens, second.created) == (after, 2.0)
