"""What only GPUs can show, with the figures to expect: `make test-gpu` where our vLLM and GPUs are.

Starts the model card's pair with `vllm serve` from PATH (or takes VLLM_ARGS in place of the defaults), changes K live
under load and checks: drafts exactly as long as told, acceptance near the model card's, no step-time cliff at any K or
batch size (every K has its CUDA graphs and finds them), no warning of the preflight. Then `specdec calibrate` makes a
table of its step times. Writes build/gpu.json, build/gpu-costs.json and the engine's log, build/gpu.log; ends with
status 1 on a fault.

With LAYERS=N one GPU without the weights is enough: the pair in its true widths with N of 43 layers and random weights,
acceptance synthetic at the model card's rates. The expected acceptance is the model card's. The first start compiles
kernels for seven minutes or more, the next ones are ready in one and a half. So far all but the calibration was seen to
pass on an H200, with LAYERS=6 and MAX_NUM_SEQS=16: docs/vllm.md.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

from specdec.desired.start import every_k
from tests.engine.environment import RIG, ROOT
from tests.engine.load import Between, load, page
from tests.engine.servers import CONTROL_TOKEN, SERVED_NAME, Server, free_port, until

BUILD: Final = ROOT / "build"
TARGET: Final = "deepseek-ai/DeepSeek-V4-Flash"
DRAFTER: Final = "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"
TARGET_REVISION: Final = "60d8d70770c6776ff598c94bb586a859a38244f1"
DRAFTER_REVISION: Final = "e44fc94ceb1e7ed45550d15e782aeadd08050483"
MAX_NUM_SEQS: Final = int(os.environ.get("MAX_NUM_SEQS") or 64)
LAYERS: Final = int(os.environ.get("LAYERS") or 0)
START_SECONDS: Final = 3600.0
KS: Final = (7, 5, 3, 2, 1, 0)
# Stock vLLM misses the graphs of every K below 7 at 3, 13 or 45 requests, and of none at 1 and 64.
BATCHES: Final = (1, 3, 13, 45, 64)
STEPS: Final = 200
# https://huggingface.co/RedHatAI/DeepSeek-V4-Flash-speculator.dflash
CARD: Final = (0.788, 0.588, 0.454, 0.359, 0.29, 0.236, 0.193)
# Position 1 of the model card is 0.788; a drafter that reads wrong states or foreign weights stays below 0.1.
FIRST_POSITION: Final = (0.55, 0.95)
# Without graphs of its own a K falls back to eager steps: public figures say five times as long.
CLIFF: Final = 1.6
# Fewer requests take no longer than more, unless they miss their graph.
BUMP: Final = 1.25


@dataclass(frozen=True)
class Measured:
    """One K at one number of requests; rates of acceptance per position, milliseconds of a decode step."""

    k: int
    batch: int
    step_ms: float
    draft_tokens_per_draft: float
    accepted: tuple[float, ...]
    tokens_per_second: float
    failures: tuple[str, ...]


def arguments(folder: Path) -> list[str]:
    """Of `vllm serve`. folder: for the model of LAYERS."""
    given = os.environ.get("VLLM_ARGS")
    if given:
        return shlex.split(given)
    own, speculation = _random(folder) if LAYERS else _card()
    start = every_k(max(KS), MAX_NUM_SEQS)
    assert start is not None
    speculation |= {
        "method": "dflash", "num_speculative_tokens": max(KS), "kv_cache_dtype": "bfloat16",
        "num_speculative_tokens_per_batch_size": [astuple(tier) for tier in start.tiers],
    }  # fmt: skip
    options = shlex.split(
        f"{own} --kv-cache-dtype fp8 --block-size 256 --max-model-len 16384 --max-num-seqs {MAX_NUM_SEQS} "
        f"--max-cudagraph-capture-size {8 * MAX_NUM_SEQS}"
    )
    return [*options, "--speculative-config", json.dumps(speculation)]


def _card() -> tuple[str, dict[str, Any]]:
    gpus = os.environ.get("GPUS", "4")
    own = (
        f"{TARGET} --revision {TARGET_REVISION} --trust-remote-code --tokenizer-mode deepseek_v4 "
        f"--tensor-parallel-size {gpus} --enable-expert-parallel"
    )
    return own, {"model": DRAFTER, "revision": DRAFTER_REVISION}


def _random(folder: Path) -> tuple[str, dict[str, Any]]:
    beside = Path(shutil.which("vllm") or "vllm").with_name("python3")
    subprocess.run([beside, RIG / "models.py", folder, "--flash", str(LAYERS)], check=True, timeout=300)
    synthetic = {"rejection_sample_method": "synthetic", "synthetic_acceptance_rates": list(CARD)}
    # Kernels are then compiled when they are first met, instead of all of them before the start ends.
    lazy = """--kernel-config '{"enable_jit_warmup": false}'"""
    own = f"{folder / 'flash'} --load-format dummy --tokenizer-mode hf {lazy}"
    return own, {"model": str(folder / "flash.dflash")} | synthetic


@contextmanager
def served(folder: Path, log: Path) -> Iterator[Server]:
    """The engine, ready; folder: for its token. Raises EngineDied with the end of its log."""
    port, token_file = free_port(), folder / "token"
    token_file.write_text(CONTROL_TOKEN)
    variables = os.environ | {
        "VLLM_PLUGINS": "specdec_engine,specdec_http",
        "SPECDEC_CONTROL_TOKEN_FILE": str(token_file),
        "VLLM_ENGINE_READY_TIMEOUT_S": str(int(START_SECONDS)),
    }
    command = ["vllm", "serve", *arguments(folder), "--served-model-name", SERVED_NAME, "--port", str(port)]
    print(f"==> {shlex.join(command)}\n    log: {log}", flush=True)
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=variables, stdout=out, stderr=out, start_new_session=True)
        server = Server(process.pid, port, log, token_file)
        try:
            until(server.ready, START_SECONDS, "the engine to be ready")
            yield server
        finally:
            server.stop()
            process.wait(60)


def measure(server: Server, k: int, batch: int) -> Measured:
    server.set_k(k)
    steps = "specdec:steps_total"
    with load(server, concurrency=batch, max_tokens=256) as outcome:
        settled = page(server).total(steps) + 20
        until(lambda: page(server).total(steps) > settled, 300, "the load to settle")
        before = page(server)
        until(lambda: page(server).total(steps) > before.total(steps) + STEPS, 600, f"{STEPS} steps")
        change = Between(before, page(server))
    decode = {"k": str(k), "phase": "decode"}
    drafts = max(change.rise("specdec:drafts_total"), 1.0)
    accepted = (change.rise("specdec:accepted_tokens_total", position=str(p)) / drafts for p in range(k))
    seconds = change.rise("specdec:step_seconds_total", **decode) / max(change.rise(steps, **decode), 1.0)
    length = change.draft_tokens_per_draft if k else 0.0
    failures = tuple(outcome.failures[:3])
    return Measured(k, batch, seconds * 1e3, length, tuple(accepted), change.tokens_per_second, failures)


def faults(found: list[Measured]) -> Iterator[str]:
    for seen in found:
        if seen.failures:
            yield f"K = {seen.k}, {seen.batch} requests: failed: {'; '.join(seen.failures)}"
        if seen.draft_tokens_per_draft != seen.k:
            yield f"K = {seen.k}, {seen.batch} requests: drafts are {seen.draft_tokens_per_draft:.2f} tokens long"
        if seen.k and not FIRST_POSITION[0] <= seen.accepted[0] <= FIRST_POSITION[1]:
            yield f"K = {seen.k}, {seen.batch} requests: position 1 is accepted at {seen.accepted[0]:.2f}"
        full = next(other for other in found if other.k == max(KS) and other.batch == seen.batch)
        if seen.step_ms > CLIFF * full.step_ms:
            yield f"K = {seen.k}, {seen.batch} requests: a step takes {seen.step_ms:.1f} ms, K = 7 {full.step_ms:.1f}"
    for k in KS:
        for fewer, more in itertools.pairwise(sorted((s for s in found if s.k == k), key=lambda s: s.batch)):
            if fewer.step_ms > BUMP * more.step_ms:
                yield f"K = {k}: {fewer.batch} requests take {fewer.step_ms:.1f} ms, {more.batch} {more.step_ms:.1f}"


def shown(server: Server, k: int, batch: int) -> Measured:
    seen = measure(server, k, batch)
    rates = " ".join(f"{rate:.2f}" for rate in seen.accepted)
    speed = f"{seen.step_ms:7.2f} ms/step {seen.tokens_per_second:8.1f} tokens/s"
    print(f"K={seen.k} B={seen.batch:3d} {speed}  {rates}", flush=True)
    return seen


def calibrate(server: Server, out: Path) -> None:
    minutes = os.environ.get("CALIBRATION_MINUTES", "10")
    where = ["--engine", server.url, "--model", SERVED_NAME, "--control-token-file", str(server.token_file)]
    command = [sys.executable, "-m", "specdec.cli.main", "calibrate", *where, "--out", str(out), "--minutes", minutes]
    # It waits for an engine that compiles, two minutes at a time, before, meanwhile and to put the schedule back.
    subprocess.run(command, check=True, timeout=60.0 * float(minutes) + 600.0)


def main() -> int:
    # The engine leads a session of its own: ended by a signal, we must still end it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), BUILD / "gpu.log") as server:
        told = server.speculation()
        found = [shown(server, k, batch) for batch in BATCHES if batch <= MAX_NUM_SEQS for k in KS]
        warnings = [w for w in told["warnings"] if not (LAYERS and w["reason"] == "RevisionsUnknown")]
        wrong = [*faults(found), *(f"{w['reason']}: {w['message']}" for w in warnings)]
        result = {"engine": told["engine"], "measured": [asdict(seen) for seen in found], "faults": wrong}
        (BUILD / "gpu.json").write_text(json.dumps(result, indent=1))
        print("\n".join(wrong) or "all as expected", flush=True)
        calibrate(server, BUILD / "gpu-costs.json")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
