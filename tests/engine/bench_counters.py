"""What counting costs an engine step: `make bench-counters`. Target: a median of at most 10 microseconds.

Times the recorder around a scheduler that does nothing, minus that scheduler alone, on steps as a busy engine has them.
Ends with status 1 when a median misses the target.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from specdec_vllm.counters import CounterFile
from specdec_vllm.steps import StepRecorder
from tests.support.steps import Drafts, ModelOutput, Outputs, Scheduler, Statistics, Step

STEPS: Final = 5_000
BATCHES: Final = (1, 16, 64, 256)
TARGET_MICROSECONDS: Final = 10.0
K: Final = 7


def step_costs(batch: int, folder: Path) -> list[float]:
    """Microseconds that recording adds to each of STEPS steps of `batch` requests."""
    names = [f"request-{i}" for i in range(batch)]
    scheduler = Scheduler(*names)
    scheduler.next_step = Step(dict.fromkeys(names, K + 1), K)
    accepted = [batch * (K - p) // (K + 1) for p in range(K)]
    scheduler.next_outputs = {0: Outputs(Statistics(Drafts(batch, [batch] * K, accepted)))}
    output = ModelOutput([[1, 2, 3] for _ in names])
    recorder = StepRecorder(scheduler, CounterFile(folder / f"counters-{batch}", K))
    bare = timed(scheduler.schedule, scheduler.update_from_output, output)
    around = timed(
        recorder.around_schedule(scheduler.schedule), recorder.around_update(scheduler.update_from_output), output
    )
    floor = median(bare)
    return [(seconds - floor) * 1e6 for seconds in around]


def timed(
    schedule: Callable[[], Step], update: Callable[[Step, ModelOutput], object], output: ModelOutput
) -> list[float]:
    times = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        update(schedule(), output)
        times.append(time.perf_counter() - begun)
    return times


def main() -> int:
    missed = False
    print(f"microseconds per step, {STEPS} steps each\n\nrequests  median    p99")
    with tempfile.TemporaryDirectory() as folder:
        for batch in BATCHES:
            costs = step_costs(batch, Path(folder))
            print(f"{batch:8d} {median(costs):7.1f} {quantiles(costs, n=100)[98]:6.1f}")
            missed |= median(costs) > TARGET_MICROSECONDS
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
