"""What one tick of the tuner costs: time, memory per resource, checkpoint. `python -m tests.bench.tuner [--json FILE]`.

A resource with eight replicas at a changing load; a tick is prepared, observe, recommend and, after a decision, acted;
without a switchback and with one. Also how much the simulator gets through without a tuner: replica-hours of the
oracles and constants per minute of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from specdec.simulate import run, workloads
from specdec.simulate.world import build
from specdec.tuning import (
    Decision,
    Limits,
    State,
    acceptance_profiles,
    acted,
    dump,
    estimated_costs,
    estimated_prior,
    observe,
    prepared,
    recommend,
)
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged
from tests.support.engines import fleet

REPLICAS = 8
TICKS = 600
LOADS = (6, 20, 45, 80, 120, 60)
TARGETS = {"median_ms": 2.0, "memory_kib": 64.0, "checkpoint_kib": 16.0}
PLAIN, SWITCHBACK = Limits(), Limits(switchback_share=0.1)
LEAST_SIMULATED = 50_000
SIMULATED_SECONDS = 7200.0
SHARED = ("grid", "prior", "environment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure()
    for kind in ("", "_with_switchback"):
        for name, target in TARGETS.items():
            print(f"  {name + kind:32} {figures[name + kind]:8.2f}   target at most {target:g}")
        print(f"  {'p99_ms' + kind:32} {figures['p99_ms' + kind]:8.2f}")
    simulated = figures["replica_hours_per_minute"]
    print(f"  {'replica_hours_per_minute':32} {simulated:8.0f}   target at least {LEAST_SIMULATED}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def measure() -> dict[str, float]:
    """With a switchback, and without; of the memory the most."""
    plain, compared = ticks(PLAIN), ticks(SWITCHBACK)
    return {
        "replicas": REPLICAS,
        **plain,
        **{f"{name}_with_switchback": figure for name, figure in compared.items()},
        "replica_hours_per_minute": simulated_per_minute(),
    }


def ticks(limits: Limits) -> dict[str, float]:
    """CPU time, so that other work on the machine does not count."""
    running = fleet(pods=REPLICAS, limits=limits)
    state, now, took, kept = running.state, running.now, [], 0.0
    lots = np.random.default_rng(1)
    for tick in range(TICKS):
        now += 15.0
        for pod in running.pods:
            pod.serve(state.in_force, LOADS[tick * len(LOADS) // TICKS], 15.0)
        samples, lot = [pod.sample(now) for pod in running.pods], float(lots.random())
        began = time.process_time()
        state = observe(prepared(state, limits, now, lot), samples, now)
        answer = recommend(state, limits, now, lot)
        if isinstance(answer, Decision):
            state = acted(state, answer, now, lot)
        took.append(1000.0 * (time.process_time() - began))
        kept = max(kept, memory_kib(state))
    return {
        "median_ms": float(np.median(took)),
        "p99_ms": float(np.quantile(took, 0.99)),
        "memory_kib": kept,
        "checkpoint_kib": len(dump(state)) / 1024.0,
    }


def simulated_per_minute() -> float:
    """CPU time again; ten seeds together."""
    steady = replace(workloads.find("steady"), seconds=SIMULATED_SECONDS)
    profiles = acceptance_profiles(packaged(ESTIMATED_PROFILES))
    policies, seeds = ("oracle", "oracle-any", *run.CONSTANTS), range(10)
    simulation = run.Run(build(steady, estimated_costs(), profiles), policies, seeds, estimated_prior())
    began = time.process_time()
    simulation.go()
    minutes = (time.process_time() - began) / 60.0
    return len(policies) * len(seeds) * steady.replicas * SIMULATED_SECONDS / 3600.0 / minutes


def memory_kib(state: State) -> float:
    """What one resource keeps: the pickled state, less what all resources of an environment share."""
    kept = [getattr(state, name) for name in state.__slots__ if name not in SHARED]
    return len(pickle.dumps(kept, protocol=5)) / 1024.0


if __name__ == "__main__":
    main()
