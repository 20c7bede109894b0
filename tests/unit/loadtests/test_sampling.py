"""Counters of an engine, read off its metrics page."""

from collections.abc import Mapping
from typing import Any

import pytest

from loadtests.sampling import Counters, increase, parse_counters, sample, total, window


def page(**values: float) -> str:
    family = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    positions = "".join(
        f'{family}{{engine="0",model_name="m",position="{n}"}} {values.get(f"p{n}", 0)}\n' for n in range(7)
    )
    return positions + "".join(
        f'vllm:{name}{{engine="{engine}",model_name="m"}} {value / 2}\n'
        for engine in (0, 1)
        for name, value in {
            "spec_decode_num_drafts_total": values.get("drafts", 0),
            "spec_decode_num_draft_tokens_total": values.get("draft_tokens", 0),
            "spec_decode_num_accepted_tokens_total": values.get("accepted_tokens", 0),
            "generation_tokens_total": values.get("generated_tokens", 0),
            "iteration_tokens_total_count": values.get("steps", 0),
            "inter_token_latency_seconds_sum": values.get("itl_seconds", 0),
            "inter_token_latency_seconds_count": values.get("itl_count", 0),
        }.items()
    )


FIRST: Mapping[str, Any] = {"drafts": 100, "draft_tokens": 500, "accepted_tokens": 150, "p0": 80, "steps": 50}


def test_engines_of_a_page_are_added_up() -> None:
    found = parse_counters(page(**FIRST))
    assert found.get("drafts") == 100
    assert found.positions == (80, 0, 0, 0, 0, 0, 0)


def test_a_page_of_something_else_counts_nothing() -> None:
    assert parse_counters("<html>nginx</html>") == Counters()


def test_a_sample_shows_k_batch_and_accepted_length() -> None:
    later: dict[str, float] = {
        "drafts": 300,
        "draft_tokens": 1500,
        "accepted_tokens": 550,
        "steps": 100,
        "generated_tokens": 600,
    }
    later |= {"itl_seconds": 4.0, "itl_count": 200}
    counted = increase(parse_counters(page(**FIRST)), parse_counters(page(**later)))
    found = sample("a", 9.0, 2.0, counted)
    assert (found.k, found.batch, found.accepted_length) == (5.0, 4.0, 3.0)
    assert found.tpot_ms == pytest.approx(20 / 3, rel=1e-3)
    assert found.tokens_per_second == 300


def test_without_drafts_k_is_zero_only_if_something_was_decoded() -> None:
    assert sample("a", 1.0, 1.0, parse_counters(page(itl_seconds=1.0, itl_count=100))).k == 0.0
    assert sample("a", 1.0, 1.0, Counters()).k is None


def test_a_restart_counts_from_zero() -> None:
    before, after = parse_counters(page(drafts=1000)), parse_counters(page(drafts=40, p0=30))
    assert increase(before, after).get("drafts") == 40


def test_pods_of_a_target_are_added_up() -> None:
    one = parse_counters(page(**FIRST))
    found = window("a", "only", 0.0, 5.0, total([one, one]))
    assert found.drafts == 200
    assert found.accepted_per_position[0] == 160
