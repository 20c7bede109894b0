"""The engine is started with the model card's command and what its GPUs need."""

import json
from typing import Any

import pytest

from specdec.api.decision import AcceptedDecision, RestartTrial
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import constant, from_table
from specdec.desired.command import command
from specdec.desired.start import Start
from tests.support.resource import resource

CARD = "vllm serve deepseek-ai/DeepSeek-V4-Flash --speculative-config"
ELSEWHERE: dict[str, Any] = {"model": {"source": {"huggingFace": {"repo": "Qwen/Qwen3-8B"}}}}


def words(of: SpeculativeDeployment, k: int = 7) -> list[str]:
    return command(of, Start(k, None))


def value(line: list[str], option: str) -> str:
    return line[line.index(option) + 1]


def speculative(of: SpeculativeDeployment, start: Start) -> Any:
    return json.loads(value(command(of, start), "--speculative-config"))


def test_it_is_the_model_cards_command() -> None:
    line = words(resource(**ELSEWHERE))
    assert line[:4] == ["vllm", "serve", "Qwen/Qwen3-8B", "--speculative-config"]
    card = '{"model": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash", "num_speculative_tokens": 7, "method": "dflash"}'
    assert line[4] == card
    assert " ".join(words(resource())[:4]) == CARD


def test_deepseek_v4_gets_its_recipe_and_no_other_model_does() -> None:
    line, other = words(resource()), words(resource(**ELSEWHERE))
    for option, expected in {
        "--kv-cache-dtype": "fp8",
        "--block-size": "256",
        "--tokenizer-mode": "deepseek_v4",
        "--tool-call-parser": "deepseek_v4",
        "--reasoning-parser": "deepseek_v4",
    }.items():
        assert value(line, option) == expected
        assert option not in other
    assert {"--trust-remote-code", "--enable-auto-tool-choice"} <= set(line)
    assert speculative(resource(), Start(7, None))["kv_cache_dtype"] == "bfloat16"
    assert "kv_cache_dtype" not in speculative(resource(**ELSEWHERE), Start(7, None))


@pytest.mark.parametrize(
    "source",
    [
        {"huggingFace": ..., "pvc": {"claimName": "weights", "path": "DeepSeek_V4_Flash"}},
        {"huggingFace": ..., "image": {"reference": "registry/deepseek-v4-flash:1"}},
    ],
)
def test_deepseek_v4_is_known_by_the_name_of_its_volume_too(source: dict[str, Any]) -> None:
    assert "--tokenizer-mode" in words(resource(model={"source": source}))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        pytest.param({"parallelism": {"tensor": 8}}, ["--tensor-parallel-size", "8"], id="tensor"),
        pytest.param({"parallelism": {"tensor": 8}}, ["--no-enable-flashinfer-autotune"], id="tensor 8, no autotuning"),
        pytest.param({"parallelism": {"tensor": 1, "data": 4}}, ["--data-parallel-size", "4"], id="data"),
        pytest.param({"maxModelLen": 65536}, ["--max-model-len", "65536"], id="length"),
        pytest.param({"maxNumSeqs": 128}, ["--max-num-seqs", "128"], id="sequences"),
        pytest.param({"maxNumSeqs": 128}, ["--max-cudagraph-capture-size", "1024"], id="graphs for every step"),
        pytest.param({"maxNumSeqs": 75}, ["--max-cudagraph-capture-size", "608"], id="graphs of vLLM's own sizes"),
        pytest.param({"maxNumSeqs": 31}, ["--max-cudagraph-capture-size", "248"], id="small graphs of finer sizes"),
        pytest.param(
            {"maxNumSeqs": 75, "maxNumBatchedTokens": 600},
            ["--max-cudagraph-capture-size", "600"],
            id="no graph above the largest step",
        ),
        pytest.param({"maxNumBatchedTokens": 16384}, ["--max-num-batched-tokens", "16384"], id="tokens"),
        pytest.param({"gpuMemoryUtilization": "850m"}, ["--gpu-memory-utilization", "0.85"], id="memory"),
        pytest.param({"drainSeconds": 30}, ["--shutdown-timeout", "30"], id="drain"),
        pytest.param({}, ["--served-model-name", "demo"], id="name"),
        pytest.param({}, ["--port", "8000"], id="port"),
        pytest.param({}, ["--enable-expert-parallel"], id="experts spread"),
    ],
)
def test_each_field_has_its_option(spec: dict[str, Any], options: list[str]) -> None:
    line = words(resource(engine=spec))
    start = line.index(options[0])
    assert line[start : start + len(options)] == options


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ({"parallelism": {"expert": False}}, "--enable-expert-parallel"),
        ({"parallelism": {"data": 1}}, "--data-parallel-size"),
        ({}, "--max-model-len"),
        ({}, "--no-enable-flashinfer-autotune"),
        ({}, "--revision"),
    ],
)
def test_what_is_not_asked_for_has_no_option(spec: dict[str, Any], option: str) -> None:
    assert option not in words(resource(engine=spec))


def test_a_users_argument_replaces_ours_of_the_recipe_and_stands_last() -> None:
    line = words(resource(engine={"args": ["--block_size=128", "--seed", "1"]}))
    assert "--block-size" not in line
    assert line[-3:] == ["--block_size=128", "--seed", "1"]


def test_revisions_are_pinned_for_target_and_drafter() -> None:
    hub = {"huggingFace": {"revision": "abc"}}
    pinned = resource(model={"source": hub}, speculator={"source": hub})
    assert value(words(pinned), "--revision") == "abc"
    assert speculative(pinned, Start(7, None))["revision"] == "abc"


def test_weights_on_volumes_are_named_by_where_they_are_mounted() -> None:
    volume = {"huggingFace": ..., "pvc": {"claimName": "weights", "path": "v4"}}
    image = {"huggingFace": ..., "image": {"reference": "registry/drafter:1"}}
    mounted = resource(model={"source": volume}, speculator={"source": image})
    assert words(mounted)[2] == "/models/target/v4"
    assert speculative(mounted, Start(7, None))["model"] == "/models/speculator"


def test_a_method_without_weights_names_no_model() -> None:
    config = speculative(resource(speculator={"method": "ngram", "source": ...}), Start(4, None))
    assert config == {"num_speculative_tokens": 4, "method": "ngram"}


def test_k_0_is_an_engine_without_speculation() -> None:
    line = words(resource(), k=0)
    assert "--speculative-config" not in line
    assert value(line, "--max-cudagraph-capture-size") == "256"


def test_the_startup_schedule_names_every_k_where_k_may_change_live() -> None:
    of = resource(engine={"maxNumSeqs": 64})
    start = Start.of(of.spec, AcceptedDecision(1, "Live", 7, schedule=constant(3, 64)))
    tiers = speculative(of, start)["num_speculative_tokens_per_batch_size"]
    assert tiers == [[1, 58, 7], [59, 59, 6], [60, 60, 5], [61, 61, 4], [62, 62, 3], [63, 63, 2], [64, 64, 1]]


@pytest.mark.parametrize(
    "spec",
    [{"tuning": {"switching": "Restart"}}, {"engine": {"parallelism": {"tensor": 1, "data": 2}}}],
)
def test_an_engine_that_takes_k_only_at_its_start_gets_what_was_decided(spec: dict[str, Any]) -> None:
    of = resource(**spec)
    plain = Start.of(of.spec, AcceptedDecision(1, "Restart", 5))
    assert "num_speculative_tokens_per_batch_size" not in speculative(of, plain)
    decided = Start.of(of.spec, RestartTrial(5, schedule=from_table([5, 5, 2])))
    assert speculative(of, decided)["num_speculative_tokens_per_batch_size"] == [[1, 2, 5], [3, 3, 2]]


def test_a_single_sequence_leaves_no_room_for_a_schedule() -> None:
    of = resource(engine={"maxNumSeqs": 1})
    assert Start.of(of.spec, AcceptedDecision(1, "Live", 7)).schedule is None
