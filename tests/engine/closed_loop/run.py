"""Run the arms through the phases and keep what they yielded: `make bench-closed-loop`.

Takes about 75 minutes of a quiet machine at the defaults. Each finished block (Auto, or all constants, through all
phases of a round) is added to results.jsonl beside this file, and a run that was cut off goes on where it stopped;
remove the lines to begin anew. docs/closed-loop.md is written after each block and says which blocks are in it. The
cluster `closed-loop` stays up for the next call: `make cluster-down NAME=closed-loop` ends it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.cluster.places import REPOSITORY, ClusterError
from tests.engine.closed_loop import arena, results
from tests.engine.closed_loop.phases import (
    AUTO,
    FULL,
    OUTPUT_TOKENS,
    SETTLING_SECONDS,
    Block,
    PhaseResult,
    Settings,
)
from tests.engine.closed_loop.report import write_report
from tests.engine.load import Between, Page, load, page
from tests.engine.pod import PodEngine
from tests.support.kubectl import Kubectl, KubectlError

DOCS: Final = REPOSITORY / "docs"
WATCH_SECONDS: Final = 5.0


def run_block(cluster: Kubectl, block: Block, settings: Settings) -> list[PhaseResult]:
    """One engine through all phases; Auto learns from nothing, in the course of it."""
    with arena.engine(cluster, block) as (space, engine):
        phases = range(len(settings.phases))
        found = [result for index in phases for result in run_phase(space, engine, block, index, settings)]
        for line in arena.history(space):
            print(f"    {line}", flush=True)
    return found


def run_phase(space: Kubectl, engine: PodEngine, block: Block, index: int, settings: Settings) -> Iterator[PhaseResult]:
    """The arms of `block` one after the other under the same load, which never ceases."""
    phase = settings.phases[index]
    engine.set_acceptance(phase.rates)
    with load(engine, phase.concurrency, max_tokens=OUTPUT_TOKENS) as outcome:
        for arm in settings.turns(block, index):
            arena.hand_over(space, arm)
            failed = len(outcome.failures)
            pages = list(watch(engine, settings.turn_seconds(block)))
            result = measured(pages, block.round, arm, index, settings, len(outcome.failures) - failed)
            print(f"  {phase.name}, {arm}: {result.tokens_per_second:.0f} tokens/s", flush=True)
            yield result


def measured(
    pages: Sequence[Page], round_: int, arm: str, index: int, settings: Settings, failures: int
) -> PhaseResult:
    first, last = pages[0], pages[-1]
    settling = min(SETTLING_SECONDS, settings.phase_seconds / 3) if arm == AUTO else 0.0
    settled = next(page for page in pages if page.at - first.at >= settling)
    return PhaseResult(
        round_,
        arm,
        index,
        settings.phases[index].name,
        settings.phase_seconds,
        Between(first, last).tokens_per_second,
        Between(settled, last).tokens_per_second,
        failures,
        tuple((round(b.at - first.at, 1), round(Between(a, b).mean_k, 2)) for a, b in pairwise(pages)),
    )


def watch(engine: PodEngine, seconds: float) -> Iterator[Page]:
    """Pages at even distances, the first at once and the last when `seconds` are over."""
    begun = time.monotonic()
    count = max(3, round(seconds / WATCH_SECONDS))
    for number in range(count + 1):
        time.sleep(max(0.0, begun + seconds * number / count - time.monotonic()))
        yield page(engine)


def arguments() -> tuple[Settings, int | None, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.engine.closed_loop.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--phase-seconds", type=float, default=FULL.phase_seconds, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help="default: %(default)s")
    parser.add_argument("--arms", default=",".join(FULL.arms), help="default: %(default)s")
    parser.add_argument("--blocks", type=int, help="end after so many blocks; the next call goes on (default: all)")
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="default: %(default)s")
    given = parser.parse_args()
    arms = tuple(given.arms.split(","))
    if unknown := sorted(set(arms) - set(FULL.arms)):
        parser.error(f"no such arm: {', '.join(unknown)}; there are {', '.join(FULL.arms)}")
    if given.phase_seconds <= 0 or given.rounds < 1:
        parser.error("--phase-seconds and --rounds must be above 0")
    return Settings(arms=arms, rounds=given.rounds, phase_seconds=given.phase_seconds), given.blocks, given.results


def main() -> int:
    settings, limit, file = arguments()
    todo = results.missing(results.read(file, settings.phase_seconds), settings)[:limit]
    minutes = len(settings.phases) * settings.phase_seconds / 60
    print(f"==> {len(todo)} blocks of {minutes:.0f} minutes, changes and an engine's start each", flush=True)
    try:
        cluster = arena.prepare() if todo else None
        for number, block in enumerate(todo, 1):
            print(f"==> block {number} of {len(todo)}: round {block.round + 1}, {block.name}", flush=True)
            assert cluster is not None
            results.append(file, run_block(cluster, block, settings))
            write_report(results.read(file, settings.phase_seconds), DOCS)
    except (ClusterError, KubectlError, AssertionError) as error:
        print(f"error: {error}\nWhat is done is kept; the same command goes on.", file=sys.stderr)
        return 1
    print(write_report(results.read(file, settings.phase_seconds), DOCS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
