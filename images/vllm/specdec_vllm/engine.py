"""The general plugin: loaded in every process of vLLM, acts in three of them.

In the process that reads the arguments it runs the preflight as soon as the configuration stands. In the engine core it
stands around the scheduler, counts its steps and takes new schedules; in the workers it changes which CUDA graphs there
are. vLLM loads plugins while the engine core is being made, so what is hooked here is what comes after: the
configuration, the scheduler and the graphs.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from specdec_vllm import __version__, graphs
from specdec_vllm.control import Advice, Capability, Engine, Limits, SpeculationControl
from specdec_vllm.counters import CounterFile
from specdec_vllm.facts import capture_tokens, facts
from specdec_vllm.patches import in_place
from specdec_vllm.preflight import Facts, findings, refuse
from specdec_vllm.releases import release
from specdec_vllm.schedule import Refusal, Schedule
from specdec_vllm.steps import StepRecorder

RUNTIME_DIRECTORY_VARIABLE: Final = "SPECDEC_RUNTIME_DIR"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108
MARK: Final = "_specdec_hooked"

logger = logging.getLogger("vllm.specdec")


def register() -> None:
    """Entry point in `vllm.general_plugins`. Raises UntestedRelease, which stops the start."""
    import vllm

    release(vllm.__version__)
    _hook_configuration()
    _hook_scheduler()
    _hook_engine_core()
    graphs.hook()


def _hook_configuration() -> None:
    from vllm.engine.arg_utils import EngineArgs

    original = EngineArgs.create_engine_config
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        vllm_config = original(self, *args, **kwargs)
        known = facts(vllm_config, in_place)
        found = findings(known) if known is not None else ()
        for finding in found:
            logger.warning("preflight: %s: %s", finding.reason, finding.message)
        refuse(found)
        return vllm_config

    setattr(create_engine_config, MARK, True)
    EngineArgs.create_engine_config = create_engine_config


def _hook_scheduler() -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    original = Scheduler.__init__
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        attach(self)

    setattr(init, MARK, True)
    Scheduler.__init__ = init


def _hook_engine_core() -> None:
    from vllm.v1.engine.core import EngineCore

    def specdec_describe(self: Any) -> dict[str, Any]:
        attached: Attached = self.scheduler.specdec
        path = str(attached.counters.path) if attached.counters is not None else None
        return {
            "speculation": attached.control.describe(),
            "counters": path,
            "engine": str(getattr(self, "engine_index", 0)),
        }

    def specdec_put(self: Any, request: object, expires: float) -> dict[str, Any]:
        # vLLM carries only the text of an exception to the API server, so a refusal travels as data.
        try:
            return {"schedule": self.scheduler.specdec.control.put(request, expires)}
        except Refusal as refusal:
            return {"status": refusal.status, "refusal": refusal.body()}

    EngineCore.specdec_describe = specdec_describe
    EngineCore.specdec_put = specdec_put


class Attached:
    """What the plugin keeps at one scheduler. counters: None when statistics are switched off."""

    def __init__(self, control: SpeculationControl, counters: CounterFile | None) -> None:
        self.control, self.counters = control, counters


def attach(scheduler: Any) -> None:
    """Stand around `scheduler`: count its steps and own its schedule."""
    vllm_config = scheduler.vllm_config
    k_max = scheduler.num_spec_tokens
    counters = _counter_file(vllm_config, k_max) if scheduler.log_stats else None
    if counters is not None:
        recorder = StepRecorder(scheduler, counters)
        scheduler.schedule = recorder.around_schedule(scheduler.schedule)
        scheduler.update_from_output = recorder.around_update(scheduler.update_from_output)

    def apply(lookup: list[int]) -> None:
        scheduler.dynamic_sd_lookup = lookup

    max_batch = scheduler.scheduler_config.max_num_seqs
    lookup = scheduler.dynamic_sd_lookup or [0, *(k_max,) * max_batch]
    start = Schedule(not any(lookup), tuple(lookup[1:]))
    engine = describe_engine(vllm_config, k_max, exact_counters=counters is not None)
    scheduler.specdec = Attached(SpeculationControl(engine, start, apply, counters), counters)


def describe_engine(vllm_config: Any, k_max: int, *, exact_counters: bool) -> Engine:
    import vllm

    known = facts(vllm_config, in_place)
    scheduler = vllm_config.scheduler_config
    return Engine(
        name="vllm",
        version=vllm.__version__,
        plugin=__version__,
        method=known.method if known is not None else "none",
        start_k=k_max,
        limits=Limits(
            min_num_speculative_tokens=min(1, k_max),
            max_num_speculative_tokens=k_max,
            max_batch=scheduler.max_num_seqs,
            max_num_batched_tokens=scheduler.max_num_batched_tokens,
            graph_capture_tokens=capture_tokens(vllm_config),
        ),
        capabilities=(live_switching(known), exact_counting(exact_counters)),
        warnings=tuple(Advice(f.reason, f.message) for f in findings(known)) if known is not None else (),
    )


def live_switching(known: Facts | None) -> Capability:
    name = "LiveSwitching"
    if known is None:
        return Capability(name, False, "NoSpeculation", "the engine was started without --speculative-config")
    blockers = {"NoStartSchedule", "DataParallel"}
    for finding in findings(known):
        if finding.reason in blockers:
            return Capability(name, False, finding.reason, finding.message)
    return Capability(name, True, "SingleScheduler")


def exact_counting(counting: bool) -> Capability:
    name = "ExactCounters"
    if counting:
        return Capability(name, True, "PluginLoaded")
    return Capability(name, False, "StatisticsOff", "the engine was started with --disable-log-stats; remove it")


def _counter_file(vllm_config: Any, k_max: int) -> CounterFile:
    rank = vllm_config.parallel_config.data_parallel_index
    counters = CounterFile(_runtime_directory() / f"specdec-counters-{os.getpid()}-{rank}", k_max)
    atexit.register(counters.remove)
    return counters


def _runtime_directory() -> Path:
    named = os.environ.get(RUNTIME_DIRECTORY_VARIABLE)
    if named:
        return Path(named)
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
