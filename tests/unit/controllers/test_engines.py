"""Which engines are to be told what, and how K can reach them."""

from __future__ import annotations

from typing import Any

import pytest

from specdec import tuning
from specdec.api.schedule import Schedule, Tier, constant
from specdec.controllers import pods
from specdec.controllers.engines import Known, behind, fitted, refreshed
from specdec.controllers.limits import limits_of, switching
from specdec.controllers.rollout import rolling
from specdec.engine.speculation import Speculation
from specdec.engine.target import Target
from specdec.tuning.samples import Sample, StockCounters
from tests.support.resource import resource

TIERED = Schedule((Tier(1, 16, 7), Tier(17, 64, 3)))
TARGET = Target("pod-0", "u/0", "http://127.0.0.1:8000")
NO_COUNTERS = StockCounters(None, None, None, (), None, None, None, None, None, None, None, None, None, None, None)


def engine(revision: int = 0, live: bool = True, max_batch: int = 64, schedule: Schedule | None = None) -> Known:
    tiers = (schedule or constant(7, max_batch)).tiers
    entries = [
        {"fromBatch": t.from_batch, "toBatch": t.to_batch, "numSpeculativeTokens": t.num_speculative_tokens}
        for t in tiers
    ]
    answer: dict[str, Any] = {
        "apiVersion": "speculation.specdec.dev/v1",
        "engine": {"name": "vllm", "version": "0.33.0"},
        "method": "dflash",
        "startNumSpeculativeTokens": 7,
        "limits": {"minNumSpeculativeTokens": 1, "maxNumSpeculativeTokens": 7, "maxBatch": max_batch,
                   "graphCaptureTokens": 512, "maxNumBatchedTokens": 4096},
        "schedule": {"revision": revision, "off": False, "entries": entries},
        "capabilities": [{"name": "LiveSwitching", "status": live, "reason": "x"}],
    }  # fmt: skip
    return Known(Speculation.model_validate(answer))


@pytest.mark.parametrize(
    ("known", "told"),
    [
        pytest.param(engine(revision=1), True, id="an earlier revision"),
        pytest.param(engine(revision=2), False, id="the accepted revision"),
        pytest.param(engine(revision=0), True, id="just started, with another schedule"),
        pytest.param(engine(revision=0, schedule=TIERED), False, id="just started, with the accepted schedule"),
        pytest.param(engine(revision=1, live=False), False, id="cannot be told"),
        pytest.param(Known(None), False, id="has no endpoint"),
    ],
)
def test_who_is_told(known: Known, told: bool) -> None:
    assert bool(behind([TARGET], {TARGET.incarnation: known}, TIERED, 2)) is told


@pytest.mark.parametrize(("revision", "told"), [(0, True), (1, False), (5, False)])
def test_while_paused_only_an_engine_that_has_just_started_is_told(revision: int, told: bool) -> None:
    known = {TARGET.incarnation: engine(revision=revision)}
    assert bool(behind([TARGET], known, TIERED, 2, paused=True)) is told


def test_an_engine_that_was_not_asked_yet_is_not_told() -> None:
    assert behind([TARGET], {}, TIERED, 2) == []


def test_a_schedule_is_cut_or_carried_on_to_what_an_engine_takes() -> None:
    assert fitted(TIERED, 8) == constant(7, 8)
    assert fitted(TIERED, 128) == Schedule((Tier(1, 16, 7), Tier(17, 128, 3)))


@pytest.mark.parametrize(("shown", "kept"), [(3, True), (0, False), (None, True)])
def test_an_engine_whose_page_shows_another_revision_is_asked_again(shown: int | None, kept: bool) -> None:
    sample = Sample("pod-0", "u/0", 1.0, NO_COUNTERS, schedule_revision=shown)
    assert bool(refreshed({"u/0": engine(revision=3)}, [sample])) is kept


@pytest.mark.parametrize(
    ("policy", "restarts", "known", "expected"),
    [
        pytest.param("Automatic", 1, {"a": engine()}, tuning.Switching.LIVE, id="live where it can"),
        pytest.param(
            "Automatic", 1, {"a": engine(), "b": engine(live=False)}, tuning.Switching.RESTART, id="one cannot"
        ),
        pytest.param("Automatic", 1, {"a": Known(None)}, tuning.Switching.RESTART, id="stock engine"),
        pytest.param("Automatic", 0, {"a": Known(None)}, tuning.Switching.NONE, id="no restart allowed"),
        pytest.param("Automatic", 1, {}, tuning.Switching.NONE, id="nothing known yet"),
        pytest.param("Live", 1, {"a": Known(None)}, tuning.Switching.NONE, id="only live"),
        pytest.param("Restart", 1, {"a": engine()}, tuning.Switching.RESTART, id="only by restart"),
    ],
)
def test_how_k_can_reach_the_engines(
    policy: str, restarts: int, known: dict[str, Known], expected: tuning.Switching
) -> None:
    asked = resource(tuning={"switching": policy, "disruption": {"maxRestartsPerDay": restarts}})
    assert switching(asked, known, max(len(known), 1), by_restart=False) is expected


def test_one_engine_that_was_not_asked_yet_keeps_all_from_moving() -> None:
    assert switching(resource(), {"a": engine()}, pods=2, by_restart=False) is tuning.Switching.NONE


def test_pods_that_were_rolled_for_their_k_are_not_told_another_live() -> None:
    assert switching(resource(), {"a": engine()}, pods=1, by_restart=True) is tuning.Switching.RESTART


def test_limits_are_those_of_the_weakest_engine() -> None:
    known = {"a": engine(), "b": Known(None)}
    found = limits_of(
        resource(), known, pods=2, rolling=False, by_restart=False, restarts=(), newest_sample=90.0, now=100.0
    )
    assert (found.graph_capture_tokens, found.max_num_batched_tokens, found.metrics_age_seconds) == (512, 4096, 10.0)


def pod(ready: str = "True", role: str = "stable", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "u", "labels": {"specdec.dev/role": role}, **more},
        "status": {
            "podIP": "fd00::1",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "engine", "restartCount": 3}],
        },
    }


@pytest.mark.parametrize(
    ("body", "serves"),
    [
        pytest.param(pod(), True, id="ready"),
        pytest.param(pod(ready="False"), False, id="not ready"),
        pytest.param(pod(role="trial"), False, id="of the trial"),
        pytest.param(pod(deletionTimestamp="2026-01-01T00:00:00Z"), False, id="on its way out"),
        pytest.param({**pod(), "status": {}}, False, id="no status yet"),
    ],
)
def test_which_pods_serve(body: dict[str, Any], serves: bool) -> None:
    assert bool(pods.serving((body,))) is serves


def test_a_restarted_container_is_another_engine() -> None:
    target = pods.target(pod(), "token", None)
    assert (target.incarnation, target.url) == ("u/3", "http://[fd00::1]:8000")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, False),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2}, True),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}, True),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2}, True),
    ],
)
def test_a_rollout_is_seen_by_its_pods(status: dict[str, int], expected: bool) -> None:
    child = {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert rolling([child]) is expected
