"""What the status says of the tuner, and when it is written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from specdec import tuning
from specdec.api.conditions import Condition, Truth
from specdec.api.resource import SpeculativeDeployment, parse
from specdec.api.schedule import Schedule, Tier, constant, from_table
from specdec.controllers.accepting import accepted_with, amended
from specdec.controllers.announcements import steps
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Known, Round
from specdec.controllers.findings import findings
from specdec.controllers.reporting import TIERS_SHOWN, _switchback, report_of
from specdec.controllers.standing import Standing
from specdec.controllers.statuses import FIGURES_EVERY_SECONDS, Statuses
from specdec.controllers.tick import restored
from specdec.engine.errors import EngineUnreachable, Unauthorized
from specdec.engine.scrape import ScrapeFailure, ScrapeReason
from specdec.engine.speculation import Speculation
from specdec.kube.cache import Seen
from specdec.tuning.samples import Sample, StockCounters
from tests.support.clock import in_no_time
from tests.support.resource import resource, stored
from tests.support.summary import summary

NOBODY = cast(Any, None)
NO_COUNTERS = StockCounters(None, None, None, (), None, None, None, None, None, None, None, None, None, None, None)
COOLDOWN = tuning.Reason.COOLDOWN
NOW = 1_767_225_600.0
GAIN = tuning.Gain(5.4, 3.0, 7.0)
TIERED = Schedule((Tier(1, 16, 7), Tier(17, 256, 3)))
FIRST = amended(Checkpoint(), resource(), NOW)
UNTUNED = tuning.Decision(
    tuning.Kind.TRIAL, constant(7, 256), GAIN, tuning.Reason.SWITCHBACK, "to measure", NOW, trial_seconds=60.0
)
BETTER = tuning.Decision(tuning.Kind.LIVE, TIERED, GAIN, tuning.Reason.BETTER_SCHEDULE, "better", NOW)


def standing(**changes: Any) -> Standing:
    made = Standing("uid", FIRST)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def hold(reason: tuning.Reason) -> tuning.Hold:
    return tuning.Hold(reason, "because", NOW)


def one_of_two(reason: ScrapeReason | None = None) -> Round:
    """A round in which one of two pods gave no page for `reason`, or all did."""
    samples = tuple(Sample(f"p{n}", f"u{n}", NOW, NO_COUNTERS) for n in range(1 if reason else 2))
    return Round(NOW, 2, samples, (ScrapeFailure("p1", reason, "slow"),) if reason else ())


def test_before_the_first_scrape_only_what_is_in_force_is_said() -> None:
    report = report_of(resource(), standing())
    assert report.speculation is not None
    assert report.speculation.num_speculative_tokens == 7
    assert report.speculation.since == "2026-01-01T00:00:00Z"
    assert (report.acceptance, report.performance, report.recommendation, report.engine) == (None, None, None, None)
    assert report.findings == {}


def test_a_decision_is_in_force_and_in_the_history() -> None:
    after = accepted_with(FIRST, BETTER, tuning.Switching.LIVE, NOW)
    report = report_of(resource(), standing(checkpoint=after, answer=BETTER))
    assert report.speculation is not None
    assert [tier.num_speculative_tokens for tier in report.speculation.schedule or ()] == [7, 3]
    (entry,) = report.history
    assert (entry.from_, entry.to, entry.predicted_gain_percent, entry.verdict) == (
        "7",
        "7 to batch 16, then 3",
        5,
        "Pending",
    )


def test_a_fine_schedule_is_shown_in_few_tiers() -> None:
    fine = from_table([1 + batch % 7 for batch in range(256)])
    after = accepted_with(FIRST, replace(BETTER, schedule=fine), tuning.Switching.LIVE, NOW)
    report = report_of(resource(), standing(checkpoint=after))
    assert report.speculation is not None
    assert 1 < len(report.speculation.schedule or ()) <= TIERS_SHOWN


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        pytest.param(BETTER, Truth.TRUE, id="it has just decided"),
        pytest.param(hold(tuning.Reason.GAIN_TOO_SMALL), Truth.TRUE, id="nothing is better"),
        pytest.param(hold(tuning.Reason.TOO_FEW_DRAFTS), Truth.FALSE, id="too little was seen"),
        pytest.param(hold(tuning.Reason.STALE_METRICS), Truth.FALSE, id="what was seen is old"),
    ],
)
def test_tuned_says_whether_and_why(answer: tuning.Decision | tuning.Hold, truth: Truth) -> None:
    found = findings(standing(answer=answer), None)[Condition.TUNED]
    assert (found.truth, found.reason) == (truth, answer.reason.value)


def test_an_engine_that_could_not_be_told_comes_first() -> None:
    untold = {"pod-1": Unauthorized("pod-1", "no", reason="Unauthorized"), "pod-2": EngineUnreachable("pod-2", "gone")}
    found = findings(standing(answer=BETTER, untold=untold), None)[Condition.TUNED]
    assert (found.truth, found.reason) == (Truth.FALSE, "Unauthorized")
    assert "2 engines" in found.message


@pytest.mark.parametrize(
    ("seen", "truth", "reason"),
    [
        pytest.param(Round(NOW, 0), Truth.UNKNOWN, "NoServingPod", id="no pod"),
        pytest.param(Round(NOW, 2), Truth.TRUE, "Scraped", id="all answered"),
        pytest.param(
            Round(NOW, 1, failures=(ScrapeFailure("p", ScrapeReason.TIMED_OUT, "slow"),)),
            Truth.FALSE,
            "TimedOut",
            id="none answered",
        ),
        pytest.param(one_of_two(ScrapeReason.TIMED_OUT), Truth.TRUE, "PartlyScraped", id="one of two answered"),
    ],
)
def test_metrics_are_available_when_pods_answer(seen: Round, truth: Truth, reason: str) -> None:
    found = findings(standing(seen=seen), None)[Condition.METRICS_AVAILABLE]
    assert (found.truth, found.reason) == (truth, reason)


def test_speculation_that_is_off_is_not_active() -> None:
    off = replace(BETTER, kind=tuning.Kind.DISABLE, schedule=from_table([0] * 256))
    after = accepted_with(FIRST, off, tuning.Switching.LIVE, NOW)
    found = findings(standing(checkpoint=after), None)[Condition.SPECULATION_ACTIVE]
    assert (found.truth, found.reason) == (Truth.FALSE, "SwitchedOff")


def test_each_warning_of_the_engines_is_passed_on_once() -> None:
    speculation = Speculation.model_validate(
        {
            "apiVersion": "speculation.specdec.dev/v1",
            "engine": {"name": "vllm", "version": "0.33.0"},
            "method": "dflash",
            "startNumSpeculativeTokens": 7,
            "limits": {"minNumSpeculativeTokens": 1, "maxNumSpeculativeTokens": 7, "maxBatch": 64},
            "schedule": {"revision": 0, "off": False},
            "capabilities": [{"name": "LiveSwitching", "status": True, "reason": "x"}],
            "warnings": [
                {"reason": "GraphLimitTooLow", "message": "raise it"},
                {"reason": "UnknownPair", "message": "name both revisions"},
            ],
        }
    )
    lacking = speculation.model_copy(
        update={"capabilities": tuple(c.model_copy(update={"status": False}) for c in speculation.capabilities)}
    )
    known = {"a": Known(speculation), "b": Known(lacking)}
    found = findings(standing(known=known), None)[Condition.SPECULATION_ACTIVE]
    assert (found.reason, found.message) == ("GraphLimitTooLow", "the engines warn: raise it; name both revisions")
    report = report_of(resource(), standing(known=known))
    assert report.engine is not None
    assert [c.status for c in report.engine.capabilities or ()] == [False], "what one engine lacks, the fleet lacks"


@pytest.mark.parametrize(
    ("kind", "reason", "told"),
    [
        (tuning.Kind.LIVE, tuning.Reason.BETTER_SCHEDULE, "ScheduleChanged"),
        (tuning.Kind.LIVE, tuning.Reason.TRIAL_ENDED, "TrialEnded"),
        (tuning.Kind.TRIAL, tuning.Reason.LEARNING, "TrialStarted"),
        (tuning.Kind.TAKE_BACK, tuning.Reason.DID_NOT_DELIVER, "ScheduleReverted"),
        (tuning.Kind.DISABLE, tuning.Reason.BROKEN_DRAFTER, "SpeculationSwitchedOff"),
        (tuning.Kind.ENABLE, tuning.Reason.DRAFTER_RETRY, "SpeculationSwitchedOn"),
    ],
)
def test_each_kind_of_decision_has_its_event(kind: tuning.Kind, reason: tuning.Reason, told: str) -> None:
    decision = replace(BETTER, kind=kind, reason=reason)
    after = accepted_with(FIRST, decision, tuning.Switching.LIVE, NOW)
    (event,) = steps(resource(), FIRST, after, decision)
    assert event.reason == told
    assert event.message.startswith("K 7 -> ")


def test_an_edit_of_the_start_value_is_told_and_a_quiet_tick_is_not() -> None:
    edited = resource(speculator={"numSpeculativeTokens": 5})
    assert [event.reason for event in steps(edited, FIRST, amended(FIRST, edited, NOW), None)] == ["StartValueChanged"]
    assert steps(resource(), FIRST, FIRST, hold(tuning.Reason.COOLDOWN)) == []


def test_what_comes_and_goes_with_each_scrape_is_told_like_figures() -> None:
    async def main() -> None:
        statuses, known = Statuses(NOBODY, NOBODY, NOBODY), standing(seen=one_of_two(), answer=hold(COOLDOWN))
        passing = (one_of_two(ScrapeReason.TIMED_OUT), hold(tuning.Reason.GAIN_TOO_SMALL))
        statuses._refresh(resource(), known)
        known.seen, known.answer = passing
        await asyncio.sleep(FIGURES_EVERY_SECONDS - 1)
        statuses._refresh(resource(), known)
        assert said(known) == ("Scraped", "Cooldown")
        await asyncio.sleep(1)
        statuses._refresh(resource(), known)
        assert said(known) == ("PartlyScraped", "GainTooSmall")

        known.seen = Round(NOW, 1, failures=(ScrapeFailure("p", ScrapeReason.UNREACHABLE, "gone"),))
        statuses._refresh(resource(), known)
        assert said(known) == ("Unreachable", "GainTooSmall"), "what turns False is told at once"

    in_no_time(main())


class Writes:
    """A client, a cache and a recorder that note the statuses that are written."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []

    async def apply_status(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.statuses.append(manifest["status"])
        return manifest

    def put(self, *_: Any, **__: Any) -> None: ...

    async def post(self, *_: Any) -> None: ...


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"conditions": [{"type": "Ready", "status": "Perhaps"}]}, id="a field is missing"),
        pytest.param({"replicas": "two"}, id="a field has another type"),
        pytest.param({}, id="nothing was written yet"),
    ],
)
def test_a_status_that_another_version_wrote_is_written_anew(status: dict[str, Any]) -> None:
    async def main() -> None:
        noted: Any = Writes()
        found = {**stored(), "status": status}
        parsed = parse(found)
        assert isinstance(parsed, SpeculativeDeployment)
        await Statuses(noted, noted, noted).report(parsed, standing(), Seen(found, (), ()))
        (written,) = noted.statuses
        assert written["replicas"] == 0
        assert [entry["type"] for entry in written["conditions"]] == list(Condition)

    in_no_time(main())


def said(of: Standing) -> tuple[str, str]:
    """Reasons of the conditions that the last report gave."""
    found = of.report.findings
    return found[Condition.METRICS_AVAILABLE].reason, found[Condition.TUNED].reason


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        pytest.param(tuning.Limits(switching=tuning.Switching.LIVE), "takes it back", id="Auto"),
        pytest.param(tuning.Limits(switching=tuning.Switching.RESTART), "restart", id="Auto, by restart"),
        pytest.param(tuning.Limits(mode=tuning.Mode.RECOMMEND), "Auto lets the tuner act", id="Recommend"),
        pytest.param(tuning.Limits(paused=True), "resume", id="paused"),
    ],
)
def test_what_is_promised_of_a_k_that_loses_is_what_the_mode_allows(limits: tuning.Limits, words: str) -> None:
    losing = summary(gain_over_untuned=tuning.Gain(-5.0, -8.0, -2.0))
    found = findings(standing(limits=limits), losing)[Condition.SPECULATION_BENEFICIAL]
    assert (found.truth, found.reason) == (Truth.FALSE, "SlowerThanUntuned")
    assert words in found.message


def pairs(*gains: float) -> tuning.Pairs:
    """What pairs of these log gains have shown against K = 7."""
    made = tuning.Pairs(7, 60.0, NOW, NOW, 0.5)
    for gain in gains:
        made = replace(made, seen=made.seen.added(gain))
    return made


def test_what_a_switchback_measured_is_in_the_status_and_beside_the_estimate() -> None:
    measured = summary(gain_over_untuned=GAIN, pairs=pairs(*(0.05, 0.06, 0.055) * 3))
    shown = _switchback(measured)
    assert shown is not None
    assert (shown.untuned_num_speculative_tokens, shown.pairs, shown.verdict) == (7, 9, "Confirmed")
    assert (shown.gain_percent, shown.since) == (6, "2026-01-01T00:00:00Z")
    found = findings(standing(), measured)[Condition.SPECULATION_BENEFICIAL]
    assert "measured, tuned against K = 7: +5.7 %" in found.message


def test_before_pairs_say_anything_no_gain_is_made_up() -> None:
    shown = _switchback(summary(pairs=pairs(0.05)))
    assert shown is not None
    assert (shown.pairs, shown.verdict) == (1, "Open")
    assert (shown.gain_percent, shown.lower_bound_percent, shown.upper_bound_percent) == (None, None, None)
    assert _switchback(summary()) is None


def test_while_the_untuned_k_is_held_against_it_the_schedule_counts_as_tuned() -> None:
    tuner = restored(resource(), FIRST, NOW)
    trial = tuning.acted(tuner, UNTUNED, NOW)
    told = findings(standing(tuner=trial, answer=hold(tuning.Reason.SWITCHBACK)), summary())
    assert (told[Condition.TUNED].truth, told[Condition.TUNED].reason) == (Truth.TRUE, "Switchback")
    assert (told[Condition.TRIAL_IN_PROGRESS].truth, told[Condition.TRIAL_IN_PROGRESS].reason) == (
        Truth.TRUE,
        "Switchback",
    )
