"""What a checkpoint keeps of trials, comparisons, moves and the week <-> JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning import figures
from specdec.tuning.canary import Canary
from specdec.tuning.decisions import Gain, Kind, Move, Reason, Verdict
from specdec.tuning.pairs import Pairs
from specdec.tuning.season import HOURS, Season
from specdec.tuning.state import Trial


def canary(canary: Canary) -> dict[str, Any]:
    return {
        "startK": canary.start_k,
        "schedule": figures.tiers(canary.schedule),
        "expected": figures.gain(canary.expected),
        "began": canary.began,
        "firstSeen": canary.first_seen,
        "lastSeen": canary.last_seen,
        "restarts": canary.restarts,
        "seen": figures.running(canary.seen),
        "peers": canary.peers,
    }


def read_canary(document: Mapping[str, Any] | None, most: int) -> Canary | None:
    """The window under way is lost; those that were closed count on."""
    if document is None:
        return None
    return Canary(
        start_k=figures.k_of(document["startK"], most),
        schedule=figures.schedule(document["schedule"], most),
        expected=Gain(*map(figures.finite, document["expected"])),
        began=figures.finite(document["began"]),
        first_seen=figures.when(document["firstSeen"]),
        last_seen=figures.when(document["lastSeen"]),
        restarts=int(document["restarts"]),
        seen=figures.read_running(document["seen"]),
        peers=int(document["peers"]),
    )


def season(season: Season) -> str:
    """The hours; the one under way is lost."""
    return base64.b64encode(season.hours.astype("<f2").tobytes()).decode()


def read_season(text: str | None) -> Season:
    if text is None:
        return Season()
    hours = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").reshape(HOURS, 2)
    if not (((hours >= 0) & np.isfinite(hours)) | np.isnan(hours)).all():
        raise figures.CheckpointError("the load of an hour is negative or infinite")
    return Season(hours.astype(np.float16))


def trial(trial: Trial) -> dict[str, Any]:
    return {"until": trial.until, "backTo": figures.tiers(trial.back_to), "untuned": trial.untuned}


def read_trial(document: Mapping[str, Any], most: int) -> Trial:
    back_to = figures.schedule(document["backTo"], most)
    return Trial(figures.finite(document["until"]), back_to, bool(document.get("untuned", False)))


def pairs(pairs: Pairs) -> dict[str, Any]:
    return {
        "untunedK": pairs.untuned_k,
        "seconds": pairs.seconds,
        "began": pairs.began,
        "lastAt": pairs.last_at,
        "lot": figures.number(pairs.lot),
        "seen": figures.running(pairs.seen),
        "refutedAt": figures.time(pairs.refuted_at),
    }


def read_pairs(document: Mapping[str, Any] | None, most: int) -> Pairs | None:
    """The pair under way is lost; those that were complete count on."""
    if document is None:
        return None
    return Pairs(
        untuned_k=figures.k_of(document["untunedK"], most),
        seconds=figures.finite(document.get("seconds", 60.0)),
        began=figures.finite(document["began"]),
        last_at=figures.finite(document["lastAt"]),
        lot=figures.finite(document["lot"]),
        seen=figures.read_running(document["seen"]),
        refuted_at=figures.past(document["refutedAt"]),
    )


def moves(moves: Sequence[Move]) -> list[dict[str, Any]]:
    """What one left in force is not told again by the next, which found it so."""
    told = [_move(move) for move in moves]
    for earlier, later in pairwise(told):
        if later["before"] == earlier["after"]:
            later["before"] = None
    return told


def read_moves(documents: Sequence[Mapping[str, Any]], most: int) -> tuple[Move, ...]:
    found: list[Move] = []
    for document in documents:
        before = found[-1].after if document["before"] is None else figures.schedule(document["before"], most)
        found.append(_read_move(document, before, most))
    return tuple(found)


def _move(move: Move) -> dict[str, Any]:
    return {
        "at": move.at,
        "kind": move.kind.value,
        "reason": move.reason.value,
        "before": figures.tiers(move.before),
        "after": figures.tiers(move.after),
        "predicted": figures.gain(move.predicted),
        "realised": figures.gain(move.realised),
        "verdict": move.verdict.value,
        "startKs": move.start_ks,
    }


def _read_move(document: Mapping[str, Any], before: Schedule, most: int) -> Move:
    realised, starts = document["realised"], document.get("startKs")
    return Move(
        at=figures.finite(document["at"]),
        kind=Kind(document["kind"]),
        reason=Reason(document["reason"]),
        before=before,
        after=figures.schedule(document["after"], most),
        predicted=Gain(*map(figures.finite, document["predicted"])),
        realised=None if realised is None else Gain(*map(figures.finite, realised)),
        verdict=Verdict(document["verdict"]),
        start_ks=None if starts is None else (figures.k_of(starts[0], most), figures.k_of(starts[1], most)),
    )
