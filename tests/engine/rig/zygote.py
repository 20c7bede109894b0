"""Import vLLM once, then fork one server per request. Runs in the engine's environment, for the tests only.

Reads one JSON object per line, {"argv": [...], "env": {...}, "log": path}; answers {"pid": n}. The first line that it
writes is {"ready": true}. Children lead their own process group; nobody waits for them, so they leave no zombie.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

# What a server imports on its way up: a forked child finds them in memory.
PRELOADED = (
    "vllm.entrypoints.cli.main", "vllm.entrypoints.cli.serve", "vllm.entrypoints.openai.api_server",
    "vllm.v1.engine.core", "vllm.v1.engine.async_llm", "vllm.v1.executor.uniproc_executor", "vllm.v1.worker.cpu_worker",
    "vllm.v1.core.sched.async_scheduler", "vllm.model_executor.models.qwen3", "vllm.model_executor.models.qwen3_dflash",
    "vllm.v1.spec_decode.dflash", "vllm.v1.attention.backends.cpu_attn", "transformers.models.qwen3",
    "transformers.models.auto",
)  # fmt: skip


def preload() -> None:
    import torch

    torch.set_num_threads(1)
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    for name in PRELOADED:
        importlib.import_module(name)


def serve(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Not closed: the number would go to some socket, which vLLM's event loop refuses to close.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    sys.argv = ["vllm", *request["argv"]]
    status = 1
    try:
        sys.modules["vllm.entrypoints.cli.main"].main()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            serve(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)


if __name__ == "__main__":
    main()
