"""The operator's metrics: conditions as they stand, verdicts once each, nothing of a resource that is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from specdec import tuning
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.controllers.metrics import Metrics
from specdec.kube.kinds import Name
from tests.support.summary import summary

NAME = Name("team-a", "demo")
CONDITION = "specdec_operator_condition"


def resource(**conditions: tuple[str, str]) -> dict[str, Any]:
    """Condition type -> (status, reason)."""
    entries = [{"type": kind, "status": status, "reason": reason} for kind, (status, reason) in conditions.items()]
    return {"status": {"conditions": entries}}


def shown(metrics: Metrics) -> set[tuple[str, str, str]]:
    samples = [sample for family in metrics.registry.collect() for sample in family.samples if sample.name == CONDITION]
    assert all(sample.value == 1 for sample in samples)
    assert all((s.labels["namespace"], s.labels["name"]) == ("team-a", "demo") for s in samples)
    return {(s.labels["type"], s.labels["status"], s.labels["reason"]) for s in samples}


def test_a_condition_that_changes_leaves_no_trace_of_what_it_was() -> None:
    metrics = Metrics()
    metrics.stands(NAME, resource(Ready=("False", "ReplicasNotReady"), Stalled=("False", "Progressing")))
    metrics.stands(NAME, resource(Ready=("True", "AllReplicasReady"), Stalled=("False", "Progressing")))
    assert shown(metrics) == {("Ready", "True", "AllReplicasReady"), ("Stalled", "False", "Progressing")}


def test_a_resource_that_is_gone_or_has_no_status_shows_nothing() -> None:
    metrics = Metrics()
    metrics.stands(NAME, resource(Ready=("True", "AllReplicasReady")))
    metrics.forget(NAME)
    assert not shown(metrics)
    metrics.stands(NAME, {"spec": {}})
    metrics.stands(NAME, None)
    assert not shown(metrics)


def series(metrics: Metrics, name: str = "") -> dict[tuple[str, ...], float]:
    """Value by sample name and label values, of what has a resource and begins with `name`."""
    samples = (sample for family in metrics.registry.collect() for sample in family.samples)
    return {
        (s.name.removeprefix("specdec_operator_"), *s.labels.values()): s.value
        for s in samples
        if "namespace" in s.labels and s.name.startswith(f"specdec_operator_{name}") and not s.name.endswith("_created")
    }


def test_counters_that_alerts_look_at_begin_at_zero() -> None:
    metrics = Metrics()
    metrics.taken_up(NAME)
    found = series(metrics)
    assert set(found.values()) == {0.0}
    assert ("decisions_total", "team-a", "demo", "TakeBack", "DidNotDeliver") in found
    assert ("verdicts_total", "team-a", "demo", "Reverted") in found
    assert ("scrape_failures_total", "team-a", "demo", "TimedOut") in found
    assert ("live_failures_total", "team-a", "demo", "EngineUnreachable") in found


@pytest.mark.parametrize("all_of_them", [False, True], ids=["a resource is gone", "another replica acts"])
def test_nothing_is_told_any_more_of_what_is_no_longer_ours(all_of_them: bool) -> None:
    metrics = Metrics()
    metrics.taken_up(NAME)
    metrics.failures.labels(NAME.namespace, NAME.name, "Unavailable").inc()
    metrics.stands(NAME, resource(Ready=("True", "AllReplicasReady")))
    metrics.tuned(NAME, Checkpoint(), summary())
    metrics.taken_up(Name("team-a", "other"))
    metrics.forget_all() if all_of_them else metrics.forget(NAME)
    left = {labels[2] for labels in series(metrics)}
    assert left == (set() if all_of_them else {"other"})


def test_a_figure_that_is_no_longer_known_is_no_longer_shown() -> None:
    metrics = Metrics()
    metrics.tuned(NAME, Checkpoint(), summary(tokens_per_second=1200.0))
    assert series(metrics, "tokens") == {("tokens_per_second", "team-a", "demo"): 1200.0}
    metrics.tuned(NAME, Checkpoint(), summary())
    assert series(metrics, "tokens") == {}


def history(*verdicts: str | None) -> Checkpoint:
    """One move a second, with these verdicts."""
    entries = (Entry(at=float(at), before="7", after="3", reason="r", verdict=v) for at, v in enumerate(verdicts))
    return Checkpoint(history=tuple(entries))


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        pytest.param(history("Pending"), history("Reverted"), {"Reverted": 1.0}, id="a verdict came"),
        pytest.param(history("Reverted"), history("Reverted"), {}, id="it is counted once"),
        pytest.param(history("Pending"), history("Pending"), {}, id="still pending"),
        pytest.param(history(), history("Confirmed"), {}, id="history of another life of the operator"),
        pytest.param(history("Pending", None), history("Confirmed", None), {"Confirmed": 1.0}, id="moves without one"),
    ],
)
def test_each_verdict_is_counted_when_it_comes(
    before: Checkpoint, after: Checkpoint, counted: dict[str, float]
) -> None:
    metrics = Metrics()
    metrics.judged(NAME, before, after)
    samples = [s for family in metrics.registry.collect() for s in family.samples]
    found = {s.labels["verdict"]: s.value for s in samples if s.name == "specdec_operator_verdicts_total"}
    assert found == counted


def test_what_a_switchback_measured_is_told_until_it_is_asked_for_no_more() -> None:
    metrics, pairs = Metrics(), tuning.Pairs(7, 60.0, 0.0, 0.0, 0.5)
    metrics.tuned(NAME, Checkpoint(), summary(pairs=pairs))
    assert series(metrics, "switchback") == {("switchback_pairs", "team-a", "demo"): 0.0}
    for gain in (0.05, 0.06, 0.055) * 3:
        pairs = replace(pairs, seen=pairs.seen.added(gain))
    metrics.tuned(NAME, Checkpoint(), summary(pairs=pairs))
    found = series(metrics, "switchback")
    bounds = [found["switchback_gain_percent", "team-a", "demo", bound] for bound in ("lower", "mean", "upper")]
    assert 0 < bounds[0] < bounds[1] < bounds[2]
    assert found["switchback_pairs", "team-a", "demo"] == 9.0
    metrics.tuned(NAME, Checkpoint(), summary())
    assert not series(metrics, "switchback")
