"""What only GPUs can show, with the figures to expect: `make test-gpu` where our vLLM, GPUs and the weights are.

Starts the model card's pair with `vllm serve` from PATH (or takes VLLM_ARGS in place of the defaults), changes K live
under load and checks: drafts exactly as long as told, acceptance near the model card's, no step-time cliff at any K
(every K has its CUDA graphs), no warning of the preflight. Writes build/gpu.json and the engine's log, build/gpu.log;
ends with status 1 on a fault.

Not run so far: the expected figures are the model card's and estimates from public tables (docs/vllm.md).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.engine.environment import ROOT
from tests.engine.load import Between, load, page
from tests.engine.servers import CONTROL_TOKEN, SERVED_NAME, Server, free_port, until

BUILD: Final = ROOT / "build"
TARGET: Final = "deepseek-ai/DeepSeek-V4-Flash"
DRAFTER: Final = "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"
TARGET_REVISION: Final = "60d8d70770c6776ff598c94bb586a859a38244f1"
DRAFTER_REVISION: Final = "e44fc94ceb1e7ed45550d15e782aeadd08050483"
MAX_NUM_SEQS: Final = 64
START_SECONDS: Final = 3600.0
KS: Final = (7, 5, 3, 2, 1, 0)
BATCHES: Final = (1, 16)
STEPS: Final = 200
# Position 1 of the model card is 0.788; a drafter that reads wrong states or foreign weights stays below 0.1.
FIRST_POSITION: Final = (0.55, 0.95)
# Without graphs of its own a K falls back to eager steps: public figures say five times as long.
CLIFF: Final = 1.6


@dataclass(frozen=True)
class Measured:
    """One K at one number of requests; rates of acceptance per position, milliseconds of a decode step."""

    k: int
    batch: int
    step_ms: float
    draft_tokens_per_draft: float
    accepted: tuple[float, ...]
    tokens_per_second: float


def arguments() -> list[str]:
    given = os.environ.get("VLLM_ARGS")
    if given:
        return shlex.split(given)
    speculation = {
        "method": "dflash", "model": DRAFTER, "revision": DRAFTER_REVISION, "num_speculative_tokens": 7,
        "num_speculative_tokens_per_batch_size": [[1, MAX_NUM_SEQS, 7]], "kv_cache_dtype": "bfloat16",
    }  # fmt: skip
    gpus = os.environ.get("GPUS", "4")
    options = shlex.split(
        f"{TARGET} --revision {TARGET_REVISION} --trust-remote-code --kv-cache-dtype fp8 --block-size 256 "
        f"--tokenizer-mode deepseek_v4 --tensor-parallel-size {gpus} --enable-expert-parallel --max-model-len 16384 "
        f"--max-num-seqs {MAX_NUM_SEQS} --max-cudagraph-capture-size {8 * MAX_NUM_SEQS}"
    )
    return [*options, "--speculative-config", json.dumps(speculation)]


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
    command = ["vllm", "serve", *arguments(), "--served-model-name", SERVED_NAME, "--port", str(port)]
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
    if outcome.failures:
        raise RuntimeError(f"requests failed at K = {k}: {outcome.failures[:3]}")
    decode = {"k": str(k), "phase": "decode"}
    drafts = max(change.rise("specdec:drafts_total"), 1.0)
    accepted = (change.rise("specdec:accepted_tokens_total", position=str(p)) / drafts for p in range(k))
    seconds = change.rise("specdec:step_seconds_total", **decode) / max(change.rise(steps, **decode), 1.0)
    length = change.draft_tokens_per_draft if k else 0.0
    return Measured(k, batch, seconds * 1e3, length, tuple(accepted), change.tokens_per_second)


def faults(found: list[Measured]) -> Iterator[str]:
    for seen in found:
        if seen.draft_tokens_per_draft != seen.k:
            yield f"K = {seen.k}, {seen.batch} requests: drafts are {seen.draft_tokens_per_draft:.2f} tokens long"
        if seen.k and not FIRST_POSITION[0] <= seen.accepted[0] <= FIRST_POSITION[1]:
            yield f"K = {seen.k}, {seen.batch} requests: position 1 is accepted at {seen.accepted[0]:.2f}"
        full = next(other for other in found if other.k == max(KS) and other.batch == seen.batch)
        if seen.step_ms > CLIFF * full.step_ms:
            yield f"K = {seen.k}, {seen.batch} requests: a step takes {seen.step_ms:.1f} ms, K = 7 {full.step_ms:.1f}"


def main() -> int:
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), BUILD / "gpu.log") as server:
        told = server.speculation()
        found = [measure(server, k, batch) for batch in BATCHES for k in KS]
    for seen in found:
        rates = " ".join(f"{rate:.2f}" for rate in seen.accepted)
        speed = f"{seen.step_ms:7.2f} ms/step {seen.tokens_per_second:8.1f} tokens/s"
        print(f"K={seen.k} B={seen.batch:3d} {speed}  {rates}")
    wrong = [*faults(found), *(f"{w['reason']}: {w['message']}" for w in told["warnings"])]
    result = {"engine": told["engine"], "measured": [asdict(seen) for seen in found], "faults": wrong}
    (BUILD / "gpu.json").write_text(json.dumps(result, indent=1))
    print("\n".join(wrong) or "all as expected")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
