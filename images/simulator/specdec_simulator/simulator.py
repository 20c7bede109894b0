"""One simulated server: the engine, its clock, its counters and how they are reached from the routes."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any, Final

from specdec_simulator import VLLM_VERSION, __version__, acceptance, costs, page, web_metrics
from specdec_simulator.clock import EngineClock
from specdec_simulator.counters import Counters
from specdec_simulator.engine import Engine, EngineLimits
from specdec_simulator.exact_page import ClockState, clock_families, exact_families
from specdec_simulator.openai import Generation
from specdec_simulator.options import ServeOptions, StartError
from specdec_simulator.request import Request, Sink
from specdec_simulator.schedule import LiveSchedule, Put, ScheduleRefused
from specdec_simulator.settings import Settings

API_VERSION: Final = "speculation.specdec.dev/v1"
SYNTHETIC: Final = "synthetic"
CHANGE_LIMIT_SECONDS: Final = 2.0


class Simulator:
    """Everything behind the routes. Call `start` in the event loop before the first request."""

    def __init__(self, options: ServeOptions, settings: Settings) -> None:
        self.options = options
        self.settings = settings
        self.draining = False
        self.in_flight = 0
        self.acceptance = _acceptance(options, settings)
        self.engine = _engine(options, settings)
        self._number = 0
        self._clock: EngineClock | None = None

    @property
    def clock(self) -> EngineClock:
        if self._clock is None:
            raise RuntimeError("the simulator has not been started")
        return self._clock

    def start(self) -> None:
        self._clock = EngineClock(self.engine, asyncio.get_running_loop())

    def submit(self, generation: Generation, sink: Sink, key: str) -> Request:
        """Queue one request. key: what its luck hangs on unless it brings a seed."""
        output, reason = self._output(generation, key)
        request = Request(
            prompt_tokens=generation.prompt_tokens,
            output_tokens=output,
            max_tokens=generation.max_tokens or self.options.max_model_len - generation.prompt_tokens,
            finish_reason=reason,
            luck=self.acceptance.deal(generation.key or key, generation.domain),
            sink=sink,
        )
        self.clock.submit(request)
        return request

    def next_key(self) -> str:
        """A name for the next request: its number since the start."""
        self._number += 1
        return str(self._number)

    def _output(self, generation: Generation, key: str) -> tuple[int, str]:
        """How many tokens it gets, and why no more: its limit, else a length drawn around the mean of the settings."""
        if generation.max_tokens is not None:
            return generation.max_tokens, "length"
        drawn = acceptance.uniform(self.settings.seed, f"{generation.key or key}/length")
        tokens = max(1, round(self.settings.output_tokens * (0.5 + drawn)))
        room = self.options.max_model_len - generation.prompt_tokens
        return (tokens, "stop") if tokens < room else (room, "length")

    def metrics(self) -> bytes:
        engine, clock = self.engine, self.clock
        counters, schedule, limits = engine.counters, engine.schedule, engine.limits
        gauges = page.Gauges(
            running=len(engine.running),
            waiting=len(engine.waiting),
            kv_usage=engine.kv_usage,
            kv_blocks=limits.kv_blocks,
            block_size=limits.block_size,
        )
        text = web_metrics.families() + page.vllm_families(self.options.names[0], counters, gauges, limits.start_k)
        if self.settings.contract:
            changed_at = schedule.changed_at if schedule.revision else 0.0
            text += exact_families(page.model_labels(self.options.names[0]), counters, schedule.revision, changed_at)
        state = ClockState(clock.lag_seconds, clock.max_lag_seconds, clock.slipped_seconds)
        return text + clock_families(counters, state)

    def reset_counters(self) -> None:
        """As after a restart of the engine process behind the same server."""
        self.engine.counters = Counters(time.time(), self.options.max_model_len)

    def speculation(self) -> dict[str, Any]:
        """The answer of GET /v1/speculation."""
        options, limits = self.options, self.engine.limits
        live_reason, live_message = self._live()
        return {
            "apiVersion": API_VERSION,
            "engine": {"name": "simulator", "version": VLLM_VERSION, "plugin": __version__},
            "method": options.speculative.method if options.speculative else "none",
            "startNumSpeculativeTokens": limits.start_k,
            "limits": {
                "minNumSpeculativeTokens": min(1, limits.start_k),
                "maxNumSpeculativeTokens": limits.start_k,
                "maxBatch": limits.max_num_seqs,
                "maxNumBatchedTokens": limits.max_num_batched_tokens,
                "graphCaptureTokens": options.capture_tokens,
            },
            "schedule": self.engine.schedule.answer(),
            "capabilities": [
                {"name": "LiveSwitching", "status": not live_message, "reason": live_reason, "message": live_message},
                {"name": "ExactCounters", "status": True, "reason": "Simulated", "message": ""},
            ],
            "warnings": self._warnings(),
        }

    def _live(self) -> tuple[str, str]:
        """Reason of the capability, and why it is missing ("" when it is not)."""
        if self.options.speculative is None:
            return "NoSpeculation", "the engine was started without --speculative-config; restart it with one"
        if self.options.data_parallel_size > 1:
            return (
                "DataParallel",
                "vLLM ignores batch-size schedules with data parallelism; start with --data-parallel-size 1",
            )
        if not self.options.speculative.ranges:
            limits = self.engine.limits
            return (
                "NoStartSchedule",
                "the engine was started without a schedule, so K cannot be changed while it runs; add"
                f' "num_speculative_tokens_per_batch_size": [[1, {limits.max_num_seqs}, {limits.start_k}]] to'
                " --speculative-config",
            )
        return "SingleScheduler", ""

    def _warnings(self) -> list[dict[str, str]]:
        """An engine that drafts warns of what it cannot do, as our plugin does."""
        if self.options.speculative is None:
            return []
        told = (("GraphLimitTooLow", self._beyond_graphs()), self._live())
        return [{"reason": reason, "message": message} for reason, message in told if message]

    def _beyond_graphs(self) -> str:
        """What full batches lose for want of captured graphs, "" when all are captured."""
        limits, captured = self.engine.limits, self.options.capture_tokens
        needed = limits.max_num_seqs * (limits.start_k + 1)
        if captured is None or captured >= needed:
            return ""
        return (
            f"steps above {captured} tokens run without CUDA graphs; {limits.max_num_seqs} requests with K ="
            f" {limits.start_k} take {needed}: set --max-cudagraph-capture-size {needed} or lower --max-num-seqs"
        )

    async def put_schedule(self, put: Put) -> dict[str, Any]:
        """Put in force between two steps; raises ScheduleRefused and then has changed nothing."""
        loop, schedule = asyncio.get_running_loop(), self.engine.schedule
        done: asyncio.Future[None] = loop.create_future()

        def change() -> None:
            try:
                if schedule.check(put):
                    schedule.apply(put, time.time())
                done.set_result(None)
            except ScheduleRefused as refused:
                done.set_exception(refused)

        self.clock.between_steps(change)
        await asyncio.wait((done,), timeout=CHANGE_LIMIT_SECONDS)
        if not done.done() and self.clock.withdraw(change):
            message = f"the engine loop did not answer within {CHANGE_LIMIT_SECONDS:g} s; nothing was changed"
            raise ScheduleRefused(HTTPStatus.SERVICE_UNAVAILABLE, "EngineUnavailable", message)
        await done
        return schedule.answer()

    def check_live(self) -> None:
        """Raises ScheduleRefused when this engine cannot change K while it runs."""
        _, message = self._live()
        if message:
            raise ScheduleRefused(HTTPStatus.NOT_IMPLEMENTED, "LiveSwitchingUnavailable", message)


def _acceptance(options: ServeOptions, settings: Settings) -> acceptance.Acceptance:
    profiles, mix = acceptance.load(settings.profiles_file), settings.mix
    if options.speculative and options.speculative.synthetic_rates:
        profiles = {SYNTHETIC: acceptance.checked(options.speculative.synthetic_rates)}
        mix = {SYNTHETIC: 1.0}
    return acceptance.Acceptance(profiles, mix, seed=settings.seed, spread=settings.spread)


def _engine(options: ServeOptions, settings: Settings) -> Engine:
    speculative = options.speculative
    start_k = speculative.num_speculative_tokens if speculative else 0
    blocks = options.kv_blocks_override or settings.kv_tokens // options.block_size
    needed = -(-(options.max_model_len + start_k + 1) // options.block_size)
    if blocks < needed:
        raise StartError(
            f"To serve at least one request with max_model_len {options.max_model_len}, {needed} KV cache blocks are"
            f" needed, but only {blocks} are available: lower --max-model-len or raise SPECDEC_SIM_KV_TOKENS"
        )
    limits = EngineLimits(
        start_k=start_k,
        max_num_seqs=options.max_num_seqs,
        max_active_seqs=options.max_active_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        max_model_len=options.max_model_len,
        kv_blocks=blocks,
        block_size=options.block_size,
    )
    # vLLM drops the schedule of the configuration, with a warning, when there is data parallelism.
    scheduled = speculative is not None and options.data_parallel_size == 1
    table = (
        speculative.table(options.max_num_seqs) if speculative and scheduled else (start_k,) * (limits.max_num_seqs + 1)
    )
    step_costs = costs.StepCosts(costs.load(settings.costs_file), start_k, options.capture_tokens, settings.time_scale)
    now = time.time()
    return Engine(limits, step_costs, LiveSchedule(table, now), Counters(now, options.max_model_len))
