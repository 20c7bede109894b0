"""The engines that the demo runs on: the simulator of an H200, or real vLLM with small models on this machine's CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.demo.steps import DemoError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = REPOSITORY / "examples"


@dataclass(frozen=True, slots=True)
class Engine:
    """What stands for the engine.

    example: the twins' manifest; the tuned one is called `tuned`, the other `tuned`-untuned. plan: its traffic.
    images: what the cluster needs besides the operator's. simulated: whether published tables tell what to expect, and
    whether the engine reads off each request how predictable its text is.
    """

    example: Path
    plan: Path
    tuned: str
    images: tuple[str, ...]
    simulated: bool

    @property
    def untuned(self) -> str:
        return f"{self.tuned}-untuned"

    @property
    def twins(self) -> tuple[str, str]:
        return self.tuned, self.untuned


ENGINES: Final = {
    "simulator": Engine(
        example=EXAMPLES / "deepseek-v4-flash-simulated.yaml",
        plan=EXAMPLES / "demo-plan.yaml",
        tuned="deepseek-v4-flash",
        images=("simulator",),
        simulated=True,
    ),
    "vllm": Engine(
        example=EXAMPLES / "vllm-on-cpu.yaml",
        plan=EXAMPLES / "demo-plan-vllm.yaml",
        tuned="small",
        images=("vllm",),
        simulated=False,
    ),
}


def named(name: str) -> Engine:
    """The engine of that name. Raises DemoError."""
    if name not in ENGINES:
        raise DemoError(f"ENGINE is {name!r}; set it to one of: {', '.join(ENGINES)}")
    return ENGINES[name]
