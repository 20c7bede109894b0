"""Run the arms through the phases and keep what they yielded: `make bench-closed-loop`.

    python -m tests.engine.closed_loop.run [--phase-seconds 180] [--rounds 2] [--arms 1,2,...,auto]

Takes hours (4 at the defaults). What is done lies in build/closed-loop/results.jsonl, and a run that was cut off goes
on where it stopped; remove the file to begin anew. The report is made from it at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.engine import environment
from tests.engine.closed_loop.auto import AutoTuner
from tests.engine.closed_loop.phases import AUTO, MAX_K, MAX_NUM_SEQS, SETTLING_SECONDS, Phase, PhaseResult, Settings
from tests.engine.load import Between, Page, load, page
from tests.engine.servers import Server, ServerSpec, Zygote, dflash

FOLDER: Final = environment.ROOT / "build" / "closed-loop"
OUTPUT_TOKENS: Final = 96
WATCH_SECONDS: Final = 5.0


@contextlib.contextmanager
def engine(zygote: Zygote, models: Path, name: str) -> Iterator[Server]:
    """The medium pair: large enough that a wrong K costs time even on one core."""
    spec = ServerSpec(
        models / "medium",
        dflash(models / "medium.dflash", max_num_seqs=MAX_NUM_SEQS, rates=Settings().phases[0].rates),
        max_num_seqs=MAX_NUM_SEQS,
    )
    with zygote.serve(spec, name) as server:
        yield server


def run_arm(server: Server, arm: str, round_: int, settings: Settings) -> Iterator[PhaseResult]:
    """One arm through all phases; Auto learns from nothing, in the course of it."""
    server.set_k(MAX_K if arm == AUTO else int(arm))
    tuner = AutoTuner(server, settings.scrape_seconds)
    with tuner.running() if arm == AUTO else contextlib.nullcontext():
        for index, phase in enumerate(settings.phases):
            yield run_phase(server, arm, round_, index, phase, settings.phase_seconds)
    for at, said in tuner.log:
        print(f"    {time.strftime('%H:%M:%S', time.localtime(at))} {said}", flush=True)


def run_phase(server: Server, arm: str, round_: int, index: int, phase: Phase, seconds: float) -> PhaseResult:
    server.set_acceptance(phase.rates)
    settling = min(SETTLING_SECONDS, seconds / 3)
    with load(server, phase.concurrency, max_tokens=OUTPUT_TOKENS) as outcome:
        pages = list(watch(server, seconds))
    first = pages[0]
    settled = next(p for p in pages if p.at - first.at >= settling)
    return PhaseResult(
        round_,
        arm,
        index,
        phase.name,
        Between(first, pages[-1]).tokens_per_second,
        Between(settled, pages[-1]).tokens_per_second,
        len(outcome.failures),
        tuple((round(b.at - first.at, 1), round(Between(a, b).mean_k, 2)) for a, b in pairwise(pages)),
    )


def watch(server: Server, seconds: float) -> Iterator[Page]:
    """Pages at even distances, the first at once and the last when `seconds` are over."""
    begun = time.monotonic()
    count = max(3, round(seconds / WATCH_SECONDS))
    for number in range(count + 1):
        time.sleep(max(0.0, begun + seconds * number / count - time.monotonic()))
        yield page(server)


def done(results: Path) -> set[tuple[int, str]]:
    """(round, arm) pairs with a result for every phase that was asked for."""
    found: dict[tuple[int, str], int] = {}
    for line in results.read_text().splitlines() if results.exists() else ():
        entry = json.loads(line)
        found[entry["round"], entry["arm"]] = max(entry["index"], found.get((entry["round"], entry["arm"]), 0))
    return {key for key, index in found.items() if index == len(Settings().phases) - 1}


def arguments() -> Settings:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.closed_loop.run", description=__doc__)
    parser.add_argument("--phase-seconds", type=float, default=Settings().phase_seconds)
    parser.add_argument("--rounds", type=int, default=Settings().rounds)
    parser.add_argument("--arms", default=",".join(Settings().arms))
    given = parser.parse_args()
    return Settings(arms=tuple(given.arms.split(",")), rounds=given.rounds, phase_seconds=given.phase_seconds)


def main() -> int:
    settings, results = arguments(), FOLDER / "results.jsonl"
    FOLDER.mkdir(parents=True, exist_ok=True)
    installed = environment.installed()
    models, finished = environment.models(installed), done(results)
    print(f"==> about {settings.seconds / 3600:.1f} hours, {len(finished)} arms already done", flush=True)
    with tempfile.TemporaryDirectory() as folder, Zygote(installed, Path(folder)) as zygote:
        for round_ in range(settings.rounds):
            for arm in settings.order(round_):
                if (round_, arm) in finished:
                    continue
                with engine(zygote, models, f"{arm}-{round_}") as server:
                    lines = [json.dumps(asdict(result)) for result in run_arm(server, arm, round_, settings)]
                with results.open("a") as out:
                    out.write("\n".join(lines) + "\n")
                print(f"round {round_ + 1}, arm {arm}: done", flush=True)
    from tests.engine.closed_loop.report import write_report

    print(write_report(results, environment.ROOT / "docs"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
