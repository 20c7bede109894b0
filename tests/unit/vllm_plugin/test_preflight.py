"""What stops a start, what only warns, and that every message names its remedy."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from specdec_vllm.facts import aux_layers, drafter_configuration, fusion_width
from specdec_vllm.preflight import KNOWN_PAIRS, Facts, Model, PreflightError, findings, refuse
from specdec_vllm.releases import UntestedRelease, release
from specdec_vllm.streams import drafter_streams, drafter_width

TARGET, DRAFTER = sorted(KNOWN_PAIRS)[0]
GOOD = Facts(
    method="dflash",
    k=7,
    target=Model("deepseek-ai/DeepSeek-V4-Flash", TARGET),
    drafter=Model("RedHatAI/DeepSeek-V4-Flash-speculator.dflash", DRAFTER),
    block_size=8,
    target_hidden_size=4096,
    streams=4,
    aux_layers=5,
    fusion_width=81920,
    patched=True,
    pipeline_parallel=1,
    data_parallel=1,
    max_num_seqs=256,
    max_num_batched_tokens=8192,
    capture_tokens=2048,
    start_schedule=True,
    schedule_dropped=False,
    adaptive_verification=False,
    target_cache_dtype="fp8",
    drafter_cache_dtype="bfloat16",
)


def test_the_model_cards_pair_passes() -> None:
    assert findings(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "reason", "stops", "remedy"),
    [
        ({"k": 8, "max_num_seqs": 200}, "StartValueExceedsBlock", True, "Set it to 7 or less"),
        ({"patched": False}, "MultiStreamUnsupported", True, "Use the image"),
        ({"fusion_width": 20480}, "FusionWidthMismatch", True, "choose the one"),
        ({"pipeline_parallel": 2}, "PipelineParallelUnsupported", True, "--tensor-parallel-size"),
        ({"drafter_cache_dtype": None}, "DrafterCacheFormat", True, '"kv_cache_dtype": "bfloat16"'),
        ({"drafter_cache_dtype": None, "target_cache_dtype": "auto"}, "DrafterCacheFormat", True, "bfloat16"),
        ({"target": Model("deepseek-ai/DeepSeek-V4-Flash-0731", TARGET)}, "DrafterMismatch", False, "Serve "),
        ({"target": Model("/models/target", None)}, "RevisionsUnknown", False, f"Pin --revision {TARGET}"),
        ({"max_num_batched_tokens": 1024}, "BatchedTokensTooFew", False, "Set it to 2048"),
        ({"max_num_batched_tokens": 600, "capture_tokens": 600}, "BatchedTokensTooFew", False, "Set it to 2048"),
        ({"capture_tokens": 512}, "GraphLimitTooLow", False, "--max-cudagraph-capture-size to 2048"),
        ({"capture_tokens": 592, "k": 5, "max_num_seqs": 100}, "GraphLimitTooLow", False, "capture-size to 608"),
        ({"start_schedule": False}, "NoStartSchedule", False, "[[1, 256, 7]]"),
        ({"start_schedule": False, "schedule_dropped": True}, "NoStartSchedule", False, "VLLM_USE_V2_MODEL_RUNNER=1"),
        ({"data_parallel": 4}, "DataParallel", False, "--tensor-parallel-size"),
        ({"adaptive_verification": True}, "AdaptiveVerification", False, "Remove it"),
    ],
)
def test_each_fault_is_found_alone(change: dict[str, Any], reason: str, stops: bool, remedy: str) -> None:
    (found,) = findings(replace(GOOD, **change))
    assert (found.reason, found.fatal) == (reason, stops)
    assert remedy in found.message
    if stops:
        with pytest.raises(PreflightError, match=reason):
            refuse([found])
    else:
        refuse([found])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"capture_tokens": None}, id="no graphs, no limit"),
        pytest.param({"fusion_width": None}, id="weights not on this disk yet"),
        pytest.param({"aux_layers": None}, id="a drafter that names its layers otherwise"),
        pytest.param({"drafter_cache_dtype": None, "target_cache_dtype": "bfloat16"}, id="a cache that both can read"),
        pytest.param({"block_size": None}, id="a drafter that states no block"),
        pytest.param({"target": Model(f"/cache/snapshots/{TARGET}", None)}, id="a revision in the path"),
        pytest.param({"method": "eagle3", "patched": False, "k": 9, "max_num_seqs": 100}, id="another method"),
    ],
)
def test_what_is_not_known_is_no_fault(change: dict[str, Any]) -> None:
    assert findings(replace(GOOD, **change)) == ()


def test_an_untested_release_is_refused_by_name() -> None:
    assert release("0.32.0+cpu") == "0.32.0"
    with pytest.raises(UntestedRelease, match=r"0\.34\.0.*0\.32\.0, 0\.33\.0"):
        release("0.34.0")


def test_facts_come_from_the_drafters_own_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"block_size": 8}')
    header = json.dumps({"__metadata__": {}, "fc.weight": {"dtype": "BF16", "shape": [256, 3072]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    drafter = Model(str(tmp_path), None)
    assert drafter_configuration(drafter) == {"block_size": 8}
    assert fusion_width(drafter) == 3072


@pytest.mark.parametrize(
    ("configuration", "layers"),
    [
        ({"aux_hidden_state_layer_ids": [2, 20, 40]}, 3),
        ({"dflash_config": {"target_layer_ids": [1, 10]}}, 2),
        ({"aux_hidden_state_layer_ids": None}, None),
        ({"dflash_config": None}, None),
        ({}, None),
    ],
)
def test_layers_that_the_drafter_reads(configuration: dict[str, Any], layers: int | None) -> None:
    assert aux_layers(configuration) == layers


@pytest.mark.parametrize("content", [b"", b"short", struct.pack("<Q", 4) + b"{]{]"])
def test_a_broken_weight_file_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_text("[]")
    assert fusion_width(Model(str(tmp_path), None)) is None
    assert drafter_configuration(Model(str(tmp_path), None)) == {}


def vllm_config(model_type: str = "deepseek_v4", method: str = "dflash", **draft: int) -> Any:
    target = SimpleNamespace(hf_config=SimpleNamespace(model_type=model_type, hc_mult=4), get_hidden_size=lambda: 4096)
    drafter = SimpleNamespace(hf_config=SimpleNamespace(hidden_size=4096, **draft))
    return SimpleNamespace(
        speculative_config=SimpleNamespace(method=method, target_model_config=target, draft_model_config=drafter)
    )


@pytest.mark.parametrize(
    ("config", "streams", "width"),
    [
        pytest.param(vllm_config(), 4, 16384, id="the drafter says nothing: all streams"),
        pytest.param(vllm_config(hc_mult=4), 4, 16384, id="the drafter says how many"),
        pytest.param(vllm_config(hc_mult=1), 1, 4096, id="a drafter of the mean"),
        pytest.param(vllm_config(target_hidden_size=4096), 4, 16384, id="the width of one stream"),
        pytest.param(vllm_config(target_hidden_size=16384), 4, 16384, id="the width of all"),
        pytest.param(vllm_config(model_type="qwen3"), 1, 4096, id="another target"),
        pytest.param(vllm_config(method="eagle3"), 1, 4096, id="another method"),
    ],
)
def test_streams_and_width(config: Any, streams: int, width: int) -> None:
    assert (drafter_streams(config), drafter_width(config)) == (streams, width)
