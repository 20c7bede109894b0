"""Plugins for test rigs, never for production: a fast start on a CPU, acceptance as one wishes, a tiny DeepSeek-V4."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

# Acceptance by position from the start on: "0.8,0.62,...", unconditional, one per position up to the start value.
RATES_VARIABLE = "SPECDEC_RIG_ACCEPTANCE"
RATES_PATH = "/rig/acceptance"


def fast_start() -> None:
    """Fork the engine core from the API server, run the worker inside it, look at models here: one import of it all."""
    from vllm.model_executor.models import registry
    from vllm.platforms.cpu import CpuPlatform

    registry._run_in_subprocess = lambda look: look()

    original = CpuPlatform.check_and_update_config.__func__
    if hasattr(original, "rig"):
        return

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        original(cls, vllm_config)
        if vllm_config.parallel_config.world_size == 1:
            vllm_config.parallel_config.distributed_executor_backend = "uni"
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    check_and_update_config.rig = True
    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


def acceptance() -> None:
    """Let the CPU kernels sample with synthetic acceptance, which they refuse, and let a test change its rates."""
    from vllm.utils import cpu_triton_utils as kernels
    from vllm.v1.engine.core import EngineCore

    if hasattr(EngineCore, "rig_set_rates"):
        return
    if RATES_VARIABLE in os.environ:
        _start_synthetic([float(rate) for rate in os.environ[RATES_VARIABLE].split(",")])

    def rig_set_rates(self: Any, rates: list[float]) -> int:
        from vllm.v1.spec_decode.utils import unconditional_to_conditional_rates

        conditional = unconditional_to_conditional_rates(rates)
        return int(self.model_executor.collective_rpc(_set_rates, args=(conditional,))[0])

    EngineCore.rig_set_rates = rig_set_rates
    kernels._rejection_greedy_sample_kernel_impl = _greedy(kernels._rejection_greedy_sample_kernel_impl)
    kernels._rejection_random_sample_kernel_impl = _random(kernels._rejection_random_sample_kernel_impl)


def _start_synthetic(rates: list[float]) -> None:
    """Add the rates to whatever --speculative-config says: the operator renders that one, and knows no such thing."""
    from vllm.engine.arg_utils import EngineArgs

    original = EngineArgs.create_speculative_config

    @functools.wraps(original)
    def create_speculative_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.speculative_config is not None:
            self.speculative_config["rejection_sample_method"] = "synthetic"
            self.speculative_config["synthetic_acceptance_rates"] = rates
        return original(self, *args, **kwargs)

    EngineArgs.create_speculative_config = create_speculative_config


def _set_rates(worker: Any, conditional: Sequence[float]) -> int:
    import torch

    runner = getattr(worker, "worker", worker).model_runner
    rates = runner.rejection_sampler.synthetic_conditional_rates
    rates.copy_(torch.tensor(conditional, dtype=rates.dtype))
    return len(conditional)


def _greedy(original: Any) -> Any:
    @functools.wraps(original)
    def sample(output, ends, drafts, targets, bonus, greedy, longest, chance=None, rates=None, SYNTHETIC_MODE=False):  # noqa: N803 - vLLM passes it by name
        if not SYNTHETIC_MODE:
            return original(output, ends, drafts, targets, bonus, greedy, longest)
        return _accept(output, ends, drafts, targets, bonus, greedy, True, chance, rates)

    return sample


def _random(original: Any) -> Any:
    @functools.wraps(original)
    def sample(output, ends, drafts, draft_probs, target_probs, bonus, recovered, chance, greedy, longest, vocabulary,
               rates=None, NO_DRAFT_PROBS=False, SYNTHETIC_MODE=False):  # fmt: skip  # noqa: N803 - vLLM passes them by name
        if not SYNTHETIC_MODE:
            return original(output, ends, drafts, draft_probs, target_probs, bonus, recovered, chance, greedy, longest,
                            vocabulary, None, NO_DRAFT_PROBS, False)  # fmt: skip
        return _accept(output, ends, drafts, recovered, bonus, greedy, False, chance, rates)

    return sample


def _accept(
    output: Any, ends: Any, drafts: Any, otherwise: Any, bonus: Any, greedy: Any, want: bool, chance: Any, rates: Any
) -> None:
    """Accept position p of each draft with probability rates[p], given the ones before; then the bonus token."""
    start = 0
    for row, end in enumerate(ends.tolist()):
        if greedy is None or bool(greedy[row]) == want:
            _accept_row(output[row], drafts[start:end], otherwise[start:end], bonus[row], chance[start:end], rates)
        start = end


def _accept_row(output: Any, draft: Any, otherwise: Any, bonus: Any, chance: Any, rates: Any) -> None:
    for position in range(len(draft)):
        if float(chance[position]) >= float(rates[position]) or int(draft[position]) < 0:
            output[position] = otherwise[position]
            return
        output[position] = draft[position]
    output[len(draft)] = bonus.reshape(-1)[0]


class AcceptanceEndpoint:
    """PUT /rig/acceptance {"rates": [...]}: unconditional, non-increasing, one per position."""

    name = "rig_http"
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        from starlette.routing import Route

        app.router.routes.insert(0, Route(RATES_PATH, self._put, methods=["PUT"]))

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        self._engine = engine_client.engine_core

    async def _put(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        rates = (await request.json())["rates"]
        return JSONResponse({"positions": await self._engine.call_utility_async("rig_set_rates", rates)})


def deepseek_v4_on_cpu() -> None:
    """Two gaps of vLLM's CPU DeepSeek-V4 that a drafter beside it falls into."""
    from vllm.models.deepseek_v4.cpu import cpu_mla
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, KVCacheLayout
    from vllm.v1.attention.backends.mla import sparse_swa

    kinds = [getattr(sparse_swa, f"_LAYER_TYPE_{kind}") for kind in ("SWAONLY", "C4A", "C128A", "C1A", "C2A")]
    cpu_mla.DeepseekV4CPUSparseSWAMetadataBuilder.build_tile_scheduler = lambda self, n: dict.fromkeys(kinds)
    layouts = (KVCacheLayout.LBHNC, KVCacheLayout.BLHNC)
    CPUAttentionBackend.supported_kv_cache_layouts = classmethod(lambda cls: layouts)
