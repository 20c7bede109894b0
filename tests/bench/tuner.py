"""What one tick of the tuner costs: time, memory per resource, checkpoint. `python -m tests.bench.tuner [--json FILE]`.

A resource with eight replicas at a changing load; a tick is observe, recommend and, after a decision, acted.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from specdec.tuning import Decision, State, acted, dump, observe, recommend
from tests.support.engines import fleet

REPLICAS = 8
TICKS = 600
LOADS = (6, 20, 45, 80, 120, 60)
TARGETS = {"median_ms": 2.0, "memory_kib": 64.0, "checkpoint_kib": 16.0}
SHARED = ("grid", "prior", "environment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure()
    for name, target in TARGETS.items():
        print(f"  {name:16} {figures[name]:8.2f}   target at most {target:g}")
    print(f"  {'p99_ms':16} {figures['p99_ms']:8.2f}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def measure() -> dict[str, float]:
    """CPU time, so that other work on the machine does not count."""
    running = fleet(pods=REPLICAS)
    state, now, took = running.state, running.now, []
    for tick in range(TICKS):
        now += 15.0
        for pod in running.pods:
            pod.serve(state.in_force, LOADS[tick * len(LOADS) // TICKS], 15.0)
        samples = [pod.sample(now) for pod in running.pods]
        began = time.process_time()
        state = observe(state, samples, now)
        answer = recommend(state, running.limits, now, 0.5)
        if isinstance(answer, Decision):
            state = acted(state, answer, now)
        took.append(1000.0 * (time.process_time() - began))
    return {
        "replicas": REPLICAS,
        "median_ms": float(np.median(took)),
        "p99_ms": float(np.quantile(took, 0.99)),
        "memory_kib": memory_kib(state),
        "checkpoint_kib": len(dump(state)) / 1024.0,
    }


def memory_kib(state: State) -> float:
    """What one resource keeps: the pickled state, less what all resources of an environment share."""
    kept = [getattr(state, name) for name in state.__slots__ if name not in SHARED]
    return len(pickle.dumps(kept, protocol=5)) / 1024.0


if __name__ == "__main__":
    main()
