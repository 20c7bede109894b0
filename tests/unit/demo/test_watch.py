"""What the demo reads from a status, and what it calls flapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.records import Event, read_rows
from tests.demo.watch import Kept, Tier, Watch, read, reversals
from tests.support.kubectl import Kubectl


def resource(k: int, *, trial: bool = False) -> dict[str, Any]:
    schedule = [{"fromBatch": 1, "toBatch": 16, "numSpeculativeTokens": 7}]
    schedule += [{"fromBatch": 17, "toBatch": 64, "numSpeculativeTokens": k}]
    return {
        "metadata": {"name": "one"},
        "status": {
            "speculation": {"numSpeculativeTokens": k, "schedule": schedule},
            "conditions": [{"type": "TrialInProgress", "status": str(trial), "reason": "LiveTrial"}],
        },
    }


def test_a_trial_is_marked_and_not_kept(tmp_path: Path) -> None:
    watch = Watch(Kubectl(Path("kubectl"), Path("kubeconfig")), ("one",), tmp_path)
    for t, seen in enumerate((resource(7), resource(4, trial=True), resource(7), resource(3))):
        watch.note({"one": seen}, 2.0 * t)
    assert [(one.t, one.k_at(48)) for one in watch.kept["one"]] == [(0.0, 7), (6.0, 3)]
    events = [(event.t, event.kind) for event in read_rows(tmp_path / "events.jsonl", Event)]
    assert events == [(2.0, "trial"), (6.0, "schedule")]


def test_k_is_that_of_the_tier_a_batch_lies_in() -> None:
    kept = Kept(0.0, read(resource(3)).tiers)
    assert [kept.k_at(batch) for batch in (1, 16, 17, 64, 100)] == [7, 7, 3, 3, 3]


@pytest.mark.parametrize(
    ("ks", "turns"),
    [
        pytest.param([7], 0, id="nothing moved"),
        pytest.param([7, 3, 2], 0, id="down and down"),
        pytest.param([7, 2, 4], 1, id="down and back"),
        pytest.param([7, 3, 4, 2], 2, id="twice back"),
        pytest.param([7, 3, 3, 4], 1, id="another tier moved meanwhile"),
    ],
)
def test_a_reversal_is_a_move_against_the_one_before(ks: list[int], turns: int) -> None:
    kept = [Kept(float(t), (Tier(64, k),)) for t, k in enumerate(ks)]
    assert reversals(kept, 48, 0.0, 10.0) == turns


def test_only_the_moves_of_the_span_count() -> None:
    kept = [Kept(float(t), (Tier(64, k),)) for t, k in enumerate([7, 2, 7, 6])]
    assert reversals(kept, 48, 1.5, 10.0) == 1
    assert reversals(kept, 48, 2.5, 10.0) == 0
