"""Every K finds the CUDA graphs that were captured for it, by vLLM's own choice on both releases."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.engine import overlays
from tests.engine.environment import RIG, EngineEnvironment, write_entry_points
from tests.engine.overlays import INSTALLED_RELEASE, NEXT_RELEASE

# Sequences -> full graphs, of which one length's, and batches of 1 to all sequences at K = 0 to 7 that miss theirs.
CAPTURED: Final = {64: (259, 48, 179), 256: (715, 144, 791)}

Probe = Callable[[str, int], Any]


@pytest.fixture(scope="module")
def probe(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """(release, sequences) -> what is found on stock vLLM and with the plugin."""
    metadata = tmp_path_factory.mktemp("probe")
    write_entry_points(metadata)
    installed = overlays.with_triton(engine_environment)

    @functools.cache
    def probed(release: str, sequences: int) -> Any:
        environment = installed if release == INSTALLED_RELEASE else overlays.next_release(installed)
        command = [str(environment.python), str(RIG / "probe_graphs.py"), str(sequences)]
        variables = environment.variables(metadata) | {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_BACKEND": "cpu"}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return probed


@pytest.mark.parametrize("release", [INSTALLED_RELEASE, NEXT_RELEASE])
@pytest.mark.parametrize("sequences", CAPTURED)
class TestTarget:
    def test_stock_vllm_misses_graphs_that_it_captured(self, probe: Probe, release: str, sequences: int) -> None:
        stock = probe(release, sequences)["stock"]["target"]
        captured, _, missed = CAPTURED[sequences]
        assert (stock["captured"], len(stock["missed"])) == (captured, missed)
        assert [4, 3] in stock["missed"]

    def test_a_batch_of_any_k_finds_the_smallest_that_holds_it(
        self, probe: Probe, release: str, sequences: int
    ) -> None:
        ours = probe(release, sequences)["ours"]["target"]
        assert (ours["missed"], ours["beyond"]) == ([], [])
        assert ours["captured"] == CAPTURED[sequences][0]

    def test_a_step_with_a_prefill_finds_what_it_found(self, probe: Probe, release: str, sequences: int) -> None:
        found = probe(release, sequences)
        assert found["ours"]["target"]["mixed"] == found["stock"]["target"]["mixed"]
        assert {mode for mode, _ in found["ours"]["target"]["mixed"]} == {"PIECEWISE"}


@pytest.mark.parametrize("release", [INSTALLED_RELEASE, NEXT_RELEASE])
@pytest.mark.parametrize("sequences", CAPTURED)
def test_the_drafter_captures_only_what_it_replays(probe: Probe, release: str, sequences: int) -> None:
    stock, ours = (probe(release, sequences)[which]["drafter"] for which in ("stock", "ours"))
    captured, own, _ = CAPTURED[sequences]
    assert (stock["captured"], ours["captured"]) == (captured, own)
    assert ours["missed"] == []
