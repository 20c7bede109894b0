"""`make demo`: from nothing to a resource whose K follows the load, beside an untuned twin, and a report of both."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console

from loadtests.plan import load_plan
from tests.cluster.places import ClusterError
from tests.demo import engines
from tests.demo import scene as stage
from tests.demo.chaos import Chaos, engine_restarts
from tests.demo.outcome import Kills, disturbed, judge
from tests.demo.steps import DemoError, Steps
from tests.demo.traffic import drive
from tests.support.kubectl import KubectlError

PLAIN_COLUMNS: Final = 150


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 when the outcome is good, 1 when it has shortcomings, 2 when the demo could not run."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_COLUMNS)
    folder = options.out / time.strftime("%Y%m%d-%H%M%S")
    (folder / "logs").mkdir(parents=True)
    steps = Steps(console, folder / "logs")
    try:
        return _play(options, folder, steps)
    except (DemoError, KubectlError, ClusterError, AssertionError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False, markup=True)
        return 2


def _play(options: argparse.Namespace, folder: Path, steps: Steps) -> int:
    engine = engines.named(options.engine)
    plan = load_plan(options.plan or engine.plan)
    scene = stage.build(steps, engine)
    before = engine_restarts(scene.kubectl)
    operator = scene.kubectl.within(stage.SYSTEM_NAMESPACE)
    chaos = Chaos(operator, options.kill_operator, plan.seconds, Random(options.seed))
    with steps.step(f"traffic by locust on both twins, {plan.seconds:.0f} s"):
        watch = drive(scene, plan, folder, chaos, steps.console)
    with steps.step("report"):
        disturbed_pods = disturbed(before, engine_restarts(scene.kubectl))
        kills = Kills(chaos.kills, len(chaos.killed), chaos.leaders)
        outcome = judge(folder, plan, scene.engine, watch.kept[engine.tuned], kills, disturbed_pods)
    outcome.show(steps.console, scene.kubectl, sum(steps.took.values()))
    return 1 if outcome.shortcomings else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    kinds = " or ".join(engines.ENGINES)
    parser.add_argument("--engine", default=os.environ.get("ENGINE") or "simulator", help=f"{kinds} (or ENGINE=...)")
    parser.add_argument("--plan", type=Path, help="traffic, see docs/loadtests.md (default: the engine's in examples/)")
    parser.add_argument("--out", type=Path, default=Path("demo-report"), help="folder of the reports")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which operator pods are killed")
    parser.add_argument(
        "--kill-operator",
        type=int,
        default=int(os.environ.get("KILLS") or 0),
        metavar="N",
        help="kill an operator pod N times at random during the traffic (or KILLS=N)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
