"""What the simulator reads before it starts: speculation, cost tables, settings, the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from specdec_simulator import cli, costs, settings, speculative
from specdec_simulator.buckets import BATCH_LABELS, batch_bucket
from specdec_simulator.options import ServeOptions
from specdec_simulator.text import words
from tests.support.simulator import speculative_config


def options(*arguments: str) -> ServeOptions:
    return cli.read(cli.parser().parse_args(["serve", "m", *arguments]), None)


def config(k: int = 7, **more: Any) -> speculative.SpeculativeConfig:
    return speculative.parse(speculative_config(k, **more))


def test_a_start_schedule_carries_k_over_gaps_and_never_exceeds_the_start_value() -> None:
    ranges = [[1, 2, 9], [4, 5, 3], [7, 8, 1]]
    table = config(6, num_speculative_tokens_per_batch_size=ranges).table(10)
    assert table[1:] == (6, 6, 6, 3, 3, 3, 1, 1, 1, 1)


def test_without_a_start_schedule_k_is_the_same_everywhere() -> None:
    assert config(5).table(3)[1:] == (5, 5, 5)


def test_a_synthetic_length_becomes_the_rates_of_least_variance() -> None:
    synthetic = config(4, rejection_sample_method="synthetic", synthetic_acceptance_length=3.25)
    assert synthetic.synthetic_rates == (1.0, 1.0, 0.25, 0.0)


def test_the_method_may_be_left_to_the_drafter() -> None:
    drafter = {"model": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash", "num_speculative_tokens": 3}
    assert speculative.parse(json.dumps(drafter)).method == "dflash"


@pytest.mark.parametrize(
    ("arguments", "captured"),
    [
        pytest.param([], 512, id="vLLM's own limit"),
        pytest.param(["--max-num-seqs", "16", "-sc", speculative_config(7)], 256, id="twice a small decode batch"),
        pytest.param(["--max-cudagraph-capture-size", "2048"], 2048, id="a size"),
        pytest.param(["--cudagraph-capture-sizes", "8", "64", "128"], 128, id="the largest of some"),
        pytest.param(["-cc", '{"max_cudagraph_capture_size": 640}'], 640, id="in the compilation config"),
        pytest.param(["--enforce-eager"], None, id="none"),
        pytest.param(["-cc", '{"cudagraph_mode": "NONE"}'], None, id="none, by mode"),
    ],
)
def test_the_captured_graphs_are_those_of_vllm(arguments: list[str], captured: int | None) -> None:
    assert options(*arguments).capture_tokens == captured


def test_many_sequences_with_many_drafts_run_in_smaller_batches() -> None:
    seen = options("--max-num-batched-tokens", "1k", "--max-num-seqs", "256", "-sc", speculative_config(7))
    assert (seen.max_num_seqs, seen.max_active_seqs) == (256, 125)


@pytest.mark.parametrize(("given", "tokens"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("1.5K", 1536)])
def test_sizes_may_have_units(given: str, tokens: int) -> None:
    assert options("--max-model-len", given).max_model_len == tokens


def test_names_default_to_the_model() -> None:
    assert options().names == ("m",)
    assert options("--served-model-name", "a", "b").names == ("a", "b")


def test_the_shipped_costs_grow_with_the_tokens() -> None:
    table = costs.load()
    assert [table.verify.at(n) for n in (1, 8, 512)] == [7.231, 9.865, 34.613]
    assert table.verify.at(8192) > table.verify.at(4096) > table.verify.at(4000)
    assert table.draft_ms(7, 3, 64) == 1.946
    assert table.draft_ms(3, 3, 64) == 1.713
    assert table.draft_ms(7, 0, 64) == 0


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"verify": {"tokens": [1], "ms": [1]}, "draft": {"batch": [1, 2]}}'],
)
def test_what_is_no_cost_table_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "costs.json"
    file.write_text(content)
    with pytest.raises(costs.CostTableError, match=r"costs\.json"):
        costs.load(file)


@pytest.mark.parametrize(
    ("text", "mix"),
    [("", {}), ("chat", {"chat": 1.0}), ("chat=0.5, code=2", {"chat": 0.5, "code": 2.0})],
)
def test_a_mix_is_domains_with_shares(text: str, mix: dict[str, float]) -> None:
    assert settings.parse_mix(text) == mix


@pytest.mark.parametrize(
    ("name", "value"), [("SPREAD", "wide"), ("SEED", "-1"), ("FAULTS", "maybe"), ("MIX", "chat=lots"), ("LUCK", "1")]
)
def test_a_bad_setting_names_itself(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError, match=f"SPECDEC_SIM_{name}"):
        settings.read({f"SPECDEC_SIM_{name}": value})


def test_buckets_are_those_of_the_contract() -> None:
    assert [BATCH_LABELS[batch_bucket(batch)] for batch in (1, 2, 3, 4, 9, 64, 65, 512, 513, 9999)] == [
        "1", "2", "3-4", "3-4", "9-12", "49-64", "65-96", "385-512", "513+", "513+",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 8, 64, 65, 5000])
def test_text_is_endless_and_one_word_a_token(count: int) -> None:
    text = words(4090, count)
    assert len(text.split()) == count
    assert text == words(4090, count // 2) + words(4090 + count // 2, count - count // 2)
