"""The short form of the closed loop: two phases as far apart as they come. Directions only: the machine is shared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.engine.closed_loop.auto import AutoTuner
from tests.engine.closed_loop.phases import AUTO, HIGH_1, LOW_16, Phase, PhaseResult
from tests.engine.closed_loop.report import write_report
from tests.engine.closed_loop.run import OUTPUT_TOKENS, engine
from tests.engine.load import Between, load, page
from tests.engine.servers import Server, Zygote, until

SLICES = 3
SLICE_STEPS = 25
PATIENCE_SECONDS = 180.0
STEPS = "specdec:steps_total"


@pytest.fixture(scope="module")
def medium(zygote: Zygote, models: Path) -> Iterator[Server]:
    with engine(zygote, models, "medium") as server:
        yield server


def tokens_per_busy_second(server: Server, phase: Phase, ks: tuple[int, ...]) -> dict[int, float]:
    """K -> tokens per second of engine time, the K taking turns so that what else the machine does hits all alike."""
    server.set_acceptance(phase.rates)
    with load(server, phase.concurrency, max_tokens=OUTPUT_TOKENS) as outcome:
        until(lambda: server.running() == phase.concurrency, 60, "the load")
        before = page(server)
        for k in ks * SLICES:
            server.set_k(k)
            begun = page(server).total(STEPS, k=str(k))
            until(lambda: page(server).total(STEPS, k=str(k)) >= begun + SLICE_STEPS, 120, "a slice")  # noqa: B023
        change = Between(before, page(server))
    assert outcome.failures == []
    return {
        k: change.rise("specdec:generated_tokens_total", k=str(k)) / change.rise("specdec:step_seconds_total", k=str(k))
        for k in ks
    }


@pytest.mark.slow
def test_what_a_long_draft_is_worth_depends_on_load_and_acceptance(medium: Server) -> None:
    """On a quiet machine 2.2 times as much at high/1, half as much at low/16; a busy one adds to every step alike."""
    alone, crowded = (tokens_per_busy_second(medium, phase, (1, 7)) for phase in (HIGH_1, LOW_16))
    assert alone[7] > 1.1 * alone[1]
    assert crowded[7] / crowded[1] < 0.75 * alone[7] / alone[1]


def k_at(server: Server, batch: int) -> int:
    schedule = server.speculation()["schedule"]
    entries = schedule["entries"]
    return 0 if schedule["off"] else next(e["numSpeculativeTokens"] for e in entries if batch <= e["toBatch"])


@pytest.mark.slow
def test_auto_goes_down_where_a_long_draft_costs_and_stays_up_where_it_pays(medium: Server) -> None:
    medium.set_k(7)
    tuner = AutoTuner(medium, scrape_seconds=2.0)
    with tuner.running():
        medium.set_acceptance(LOW_16.rates)
        with load(medium, LOW_16.concurrency, max_tokens=OUTPUT_TOKENS) as crowded:
            until(lambda: k_at(medium, LOW_16.concurrency) <= 4, PATIENCE_SECONDS, "a shorter draft")
        medium.set_acceptance(HIGH_1.rates)
        with load(medium, HIGH_1.concurrency, max_tokens=OUTPUT_TOKENS) as alone:
            until(lambda: k_at(medium, HIGH_1.concurrency) >= 3, PATIENCE_SECONDS, "a longer draft")
    assert (crowded.failures, alone.failures) == ([], [])


def test_the_report_says_what_was_met_and_what_was_missed(tmp_path: Path) -> None:
    speeds = {"1": (50.0, 500.0), "7": (150.0, 200.0), AUTO: (149.0, 400.0)}
    results = [
        PhaseResult(0, arm, index, name, speed, speed, 0, ((5.0, 7.0), (10.0, 3.0)))
        for arm, pair in speeds.items()
        for index, (name, speed) in enumerate(zip(("high/1", "low/16"), pair, strict=True))
    ]
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(json.dumps(asdict(result)) for result in results))
    text = write_report(file, tmp_path).read_text()
    assert "| auto | 149 | 400 | 244.1 |" in text
    assert "| the best single constant | 1.409 | 1.10 | met |" in text
    assert "| the best constant of each phase, in hindsight | 0.891 | 0.95 | missed |" in text
    assert (tmp_path / "images" / "closed-loop.png").stat().st_size > 10_000
