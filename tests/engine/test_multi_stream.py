"""The drafter that reads all hidden-state streams of DeepSeek-V4: what fails on stock vLLM, and works when patched.

First vLLM's own classes one by one, then a tiny DeepSeek-V4 with such a drafter behind HTTP, on the model runner that
GPUs use. On a CPU that runner's kernels are interpreted: seconds per request, so one request at a time.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from specdec_vllm.patches import PATCHES, PatchState, states
from tests.engine import overlays
from tests.engine.environment import RIG, EngineEnvironment, write_entry_points
from tests.engine.load import Between, page
from tests.engine.overlays import INSTALLED_RELEASE, NEXT_RELEASE
from tests.engine.servers import HIGH_ACCEPTANCE, EngineDied, Server, ServerSpec, Zygote, dflash

RELEASES: Final = (INSTALLED_RELEASE, NEXT_RELEASE)
INTERPRETED: Final = {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_BACKEND": "cpu"}
HIDDEN, STREAMS, LAYERS = 256, 4, 3
PLUGINS: Final = "specdec_engine,specdec_http,rig_fast_start,rig_deepseek_v4"

Environments = Callable[[str, bool], EngineEnvironment]


@pytest.fixture(scope="module")
def environments(engine_environment: EngineEnvironment) -> Environments:
    """(release, patched or not) -> where it runs, on the second model runner."""

    @functools.cache
    def environment(release: str, patched: bool) -> EngineEnvironment:
        with_triton = overlays.with_triton(engine_environment)
        stock = with_triton if release == INSTALLED_RELEASE else overlays.next_release(with_triton)
        return overlays.patched(stock, release) if patched else stock

    return environment


@pytest.fixture(scope="module")
def probe(
    environments: Environments, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, bool], Any]:
    metadata = tmp_path_factory.mktemp("probe")
    write_entry_points(metadata)

    @functools.cache
    def probed(release: str, patched: bool) -> Any:
        environment = environments(release, patched)
        variables = environment.variables(metadata) | INTERPRETED | {"VLLM_PLUGINS": "rig_fast_start,rig_deepseek_v4"}
        command = [environment.python, RIG / "probe_streams.py", models / "deepseek-v4", models / "deepseek-v4.dflash"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return probed


@pytest.mark.parametrize("release", RELEASES)
class TestOneByOne:
    def test_upstream_is_what_the_patches_were_made_for(self, environments: Environments, release: str) -> None:
        environment = environments(release, False)
        folder = next(f / "vllm" for f in (*environment.overlays, environment.site) if (f / "vllm").is_dir())
        expected = {p: PatchState.NEEDED if release in p.digests else PatchState.NOT_NEEDED for p in PATCHES}
        assert states(folder, release) == expected

    def test_a_the_fusion_layer_takes_every_stream(self, probe: Callable[[str, bool], Any], release: str) -> None:
        assert probe(release, False)["fusion_input"] == LAYERS * HIDDEN
        assert probe(release, True)["fusion_input"] == LAYERS * HIDDEN * STREAMS

    def test_b_the_target_hands_over_its_streams_in_order(
        self, probe: Callable[[str, bool], Any], release: str
    ) -> None:
        stock, patched = probe(release, False)["forward"], probe(release, True)["forward"]
        assert (stock["widths"], stock["first_row"]) == ([8, 8, 8], [7.5])
        assert (patched["widths"], patched["first_row"]) == ([32, 32, 32], [3.0, 6.0, 9.0, 12.0])

    def test_c_the_buffer_holds_what_the_fusion_layer_makes(
        self, probe: Callable[[str, bool], Any], release: str
    ) -> None:
        assert probe(release, False)["buffer_width"] == HIDDEN * STREAMS
        assert probe(release, True)["buffer_width"] == HIDDEN


def test_d_staged_states_are_whole(probe: Callable[[str, bool], Any]) -> None:
    """Stock vLLM raises nothing here: a graph would replay rows cut to one stream, and acceptance would only fall."""
    assert probe(NEXT_RELEASE, False)["staged"] == {"width": LAYERS * HIDDEN, "whole": False}
    assert probe(NEXT_RELEASE, True)["staged"] == {"width": LAYERS * HIDDEN * STREAMS, "whole": True}


def deepseek(models: Path) -> ServerSpec:
    drafter = models / "deepseek-v4.dflash"
    load = {"load_format": "safetensors"}
    speculation = dflash(drafter, rates=HIGH_ACCEPTANCE, draft_load_config=load, kv_cache_dtype="bfloat16")
    return ServerSpec(
        models / "deepseek-v4",
        speculation,
        ["--load-format", "dummy", "--kv-cache-dtype", "fp8", "--max-model-len", "512"],
        {"VLLM_PLUGINS": PLUGINS},
    )


@pytest.fixture(scope="module", params=RELEASES)
def served(
    request: pytest.FixtureRequest, environments: Environments, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("deepseek")
    with (
        Zygote(environments(request.param, True), folder, INTERPRETED) as zygote,
        zygote.serve(deepseek(models), "deepseek") as server,
    ):
        assert server.speculation()["engine"]["version"].startswith(request.param)
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("k", [7, 2])
def test_deepseek_v4_serves_with_its_drafter(served: Server, k: int) -> None:
    served.set_k(k)
    before = page(served)
    answer = served.complete(list(range(20, 32)), max_tokens=10)
    assert answer["usage"]["completion_tokens"] == 10
    change = Between(before, page(served))
    assert change.draft_tokens_per_draft == k
    assert change.rise("vllm:spec_decode_num_accepted_tokens_total") > 0


@pytest.mark.slow
def test_stock_vllm_is_refused_before_it_loads(zygote: Zygote, models: Path) -> None:
    server = zygote.start(deepseek(models), "stock")
    try:
        with pytest.raises(EngineDied, match="MultiStreamUnsupported"):
            server.wait_until_ready()
    finally:
        server.stop()
    assert "Use the image of this project" in server.log.read_text()
