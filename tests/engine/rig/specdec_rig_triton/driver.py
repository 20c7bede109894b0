"""What Triton asks of a backend's driver: one CPU, one stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class InterpretedDriver(DriverBase):
    @classmethod
    def is_active(cls) -> bool:
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cpu", 0, 1)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        return

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_benchmarker(self) -> Callable[..., list[float]]:
        def measure(kernel: Callable[[], Any], *, quantiles: tuple[float, ...] = (0.5,), **_: Any) -> list[float]:
            begun = time.perf_counter()
            kernel()
            return [(time.perf_counter() - begun) * 1e3] * len(quantiles)

        return measure
