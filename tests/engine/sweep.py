"""A sweep over every K on real vLLM on this machine's CPU, with its report: `python -m tests.engine.sweep FOLDER`.

A tiny model with synthetic acceptance: how many tokens a step brings is counted by vLLM itself, how long it takes says
nothing about a GPU. A sweep that was cut off goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from loadtests.arms import parse_arms
from loadtests.live import LiveEngines
from loadtests.plan import parse_plan
from loadtests.records import Target
from loadtests.report import build_report
from loadtests.run import Options
from loadtests.sweep import Cell, Sweep, run_sweep
from tests.engine import environment
from tests.engine.servers import CONTROL_TOKEN, HIGH_ACCEPTANCE, ServerSpec, Zygote, dflash

LENGTHS: Final = {"prompt": {"median": 24, "most": 60}, "output": {"median": 64, "spread": 0.3, "most": 120}}
PLAN: Final[dict[str, Any]] = {
    "name": "Real vLLM on a CPU",
    "seed": 3,
    "api": "completions",
    "warmupSeconds": 3,
    "perChunkUsage": True,
    "scenarios": {name: {"style": name, "domain": name, **LENGTHS} for name in ("chat", "code")},
    "phases": [
        {"name": "1 user", "seconds": 13, "load": {"users": 1}, "mix": {"chat": 1, "code": 1}},
        {"name": "8 users", "seconds": 10, "load": {"users": 8}, "mix": {"chat": 1, "code": 1}},
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweep every K on real vLLM on the CPU")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--arms", default="0-7")
    given = parser.parse_args()
    installed = environment.installed()
    models = environment.models(installed)
    spec = ServerSpec(models / "tiny", dflash(models / "tiny.dflash", rates=HIGH_ACCEPTANCE))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(stack.enter_context(Zygote(installed, folder)).serve(spec, "sweep"))
        target = Target("vllm", server.url, (f"{server.url}/metrics",))
        plan, arms = parse_plan(PLAN, Path()), parse_arms(given.arms)
        sweep = Sweep(plan, target, arms, given.blocks, arms[0].name, given.folder)
        run_sweep(sweep, LiveEngines((server.url,), CONTROL_TOKEN), Options(), on_cell=_tell)
    print(f"report: {build_report(given.folder).html}")


def _tell(cell: Cell, left: int) -> None:
    print(f"block {cell.block + 1}, {cell.arm.name}; {left} cells left", flush=True)


if __name__ == "__main__":
    main()
