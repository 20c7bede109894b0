"""The short form of the closed loop: two phases as far apart as they come, directions only. Auto: tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.closed_loop.phases import (
    AUTO,
    FULL,
    HIGH_1,
    LOW_16,
    MAX_NUM_SEQS,
    OUTPUT_TOKENS,
    SEQUENCE,
    Block,
    Phase,
    PhaseResult,
    Settings,
)
from tests.engine.closed_loop.report import write_report
from tests.engine.closed_loop.results import append, missing, read
from tests.engine.load import Between, load, page
from tests.engine.servers import FLOAT32, Server, ServerSpec, Zygote, dflash, until

SLICES = 2
SLICE_STEPS = 20
# Steps under way at a change, and the first that verify drafts of the new length.
SETTLING_STEPS = 4
STEPS = "specdec:steps_total"


@pytest.fixture(scope="module")
def medium(zygote: Zygote, models: Path) -> Iterator[Server]:
    """The pair that is large enough for a wrong K to cost time."""
    speculation = dflash(models / "medium.dflash", max_num_seqs=MAX_NUM_SEQS, rates=HIGH_1.rates)
    spec = ServerSpec(models / "medium", speculation, FLOAT32, max_num_seqs=MAX_NUM_SEQS)
    with zygote.serve(spec, "medium") as server:
        yield server


def tokens_per_cpu_second(server: Server, phase: Phase, ks: tuple[int, ...]) -> dict[int, float]:
    """K -> tokens per second of the engine core's CPU time.

    The engine computes on one thread: on a quiet machine this is its speed, and on a busy one others cannot change it.
    """
    spent, tokens = dict.fromkeys(ks, 0.0), dict.fromkeys(ks, 0.0)
    server.set_acceptance(phase.rates)
    with load(server, phase.concurrency, max_tokens=OUTPUT_TOKENS) as outcome:
        until(lambda: server.running() == phase.concurrency, 60, "the load")
        for k in ks * SLICES:
            server.set_k(k)
            await_steps(server, k, SETTLING_STEPS)
            before, cpu = page(server), server.engine_cpu_seconds()
            await_steps(server, k, SLICE_STEPS)
            tokens[k] += Between(before, page(server)).rise("specdec:generated_tokens_total", k=str(k))
            spent[k] += server.engine_cpu_seconds() - cpu
    assert outcome.failures == []
    return {k: tokens[k] / spent[k] for k in ks}


def await_steps(server: Server, k: int, steps: int) -> None:
    target = page(server).total(STEPS, k=str(k)) + steps
    until(lambda: page(server).total(STEPS, k=str(k)) >= target, 120, f"{steps} steps at K = {k}")


@pytest.mark.slow
def test_a_long_draft_pays_alone_and_costs_in_a_crowd(medium: Server) -> None:
    """Measured: 1.6 to 2.2 times as many tokens at high/1, half as many at low/16."""
    alone, crowded = (tokens_per_cpu_second(medium, phase, (1, 7)) for phase in (HIGH_1, LOW_16))
    print(f"tokens per CPU second: high/1 {alone}, low/16 {crowded}")
    assert alone[7] > 1.1 * alone[1]
    assert crowded[7] < 0.9 * crowded[1]


SPEEDS = {"1": (50.0, 500.0), "7": (150.0, 200.0), AUTO: (149.0, 400.0)}


def results(
    seconds: float = 60.0, round_: int = 0, speeds: dict[str, tuple[float, float]] = SPEEDS
) -> list[PhaseResult]:
    return [
        PhaseResult(round_, arm, index, phase.name, seconds, speed, speed, 0, ((5.0, 7.0), (10.0, 3.0)))
        for arm, pair in speeds.items()
        for index, (phase, speed) in enumerate(zip(SEQUENCE, (*pair, *pair, pair[0]), strict=True))
    ]


def test_the_report_says_what_is_in_it_what_was_met_and_what_was_missed(tmp_path: Path) -> None:
    text = write_report(results(), tmp_path).read_text()
    assert "| Auto | 149 | 400 | 149 | 400 | 149 | 221.2 |" in text
    assert "| the best single constant | 1.314 | 1.10 | not judged |" in text
    assert "A shortened run**: phases of 60 s, which the 7 constants share (the whole: 180 s)" in text
    assert "round 1: Auto, K = 1, K = 7." in text
    assert (tmp_path / "images" / "closed-loop.png").stat().st_size > 10_000


def test_only_the_whole_is_judged(tmp_path: Path) -> None:
    speeds = dict.fromkeys(FULL.arms, SPEEDS["1"]) | SPEEDS
    found = [result for number in range(FULL.rounds) for result in results(FULL.phase_seconds, number, speeds)]
    text = write_report(found, tmp_path).read_text()
    assert "All 2 rounds of all 8 arms, phases of 180 s, which the 7 constants share." in text
    assert "| the best single constant | 1.314 | 1.10 | met |" in text
    assert "| the best constant of each phase, in hindsight | 0.911 | 0.95 | missed |" in text
    assert "The best single constant is K = 7. The best constant of each phase yields 1.443 times as much" in text


def test_a_run_that_was_cut_off_goes_on_with_the_next_block(tmp_path: Path) -> None:
    file, settings = tmp_path / "results.jsonl", Settings(arms=("1", "7", AUTO), phase_seconds=60.0)
    constants = ("1", "7")
    whole = [Block(0, (AUTO,)), Block(0, constants), Block(1, constants), Block(1, (AUTO,))]
    assert missing(read(file, 60.0), settings) == whole
    append(file, results())
    assert read(file, 60.0) == results()
    assert missing(read(file, 60.0), settings) == whole[2:]
    assert missing(read(file, 180.0), settings) == whole


def test_constants_share_a_phase_and_take_turns_in_alternating_order() -> None:
    settings = Settings(arms=("1", "7", AUTO), phase_seconds=60.0)
    constants, auto = Block(0, ("1", "7")), Block(0, (AUTO,))
    assert (settings.turn_seconds(constants), settings.turn_seconds(auto)) == (30.0, 60.0)
    assert [settings.turns(constants, index) for index in (0, 1)] == [("1", "7"), ("7", "1")]
    assert settings.turns(Block(1, ("1", "7")), 0) == ("7", "1")
