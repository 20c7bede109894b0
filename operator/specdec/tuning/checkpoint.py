"""State <-> JSON of at most 16 KiB. What the next scrapes bring back by themselves is left out."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, Tier
from specdec.tuning import surface
from specdec.tuning.canary import Canary
from specdec.tuning.decisions import Gain, Kind, Move, Reason, Verdict
from specdec.tuning.pairs import Pairs
from specdec.tuning.prior import Environment, Prior
from specdec.tuning.sequential import Running
from specdec.tuning.state import State, Trial, new_state
from specdec.tuning.surface import PODS, Filter
from specdec.tuning.window import BUCKETS

VERSION: Final = 1
LARGEST_OF_SURFACE: Final = 1e4  # of its means and covariances; each begins at 0 with a variance of 1
Floats = NDArray[np.float64]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The caller starts with `new_state` and says so."""


def dump(state: State) -> str:
    """A JSON text of at most 16 KiB."""
    document = {
        "version": VERSION,
        "environment": state.environment.key,
        "relativeTo": _relative_to(state.environment, state.prior),
        "inForce": _tiers(state.in_force),
        "startK": state.start_k,
        "fast": _numbers(state.acceptance.fast.ravel()),
        "slow": _numbers(state.acceptance.slow.ravel()),
        "seenDrafts": _number(state.acceptance.seen_drafts),
        "steps": _sparse(state.tried_steps.reshape(-1, 1)),
        "mean": _numbers(state.belief.mean[:-PODS]),
        "spread": _packed(state.belief.covariance[:-PODS, :-PODS]),
        "surprise": _number(state.belief.surprise),
        "dayLoad": _sparse(state.day_load),
        "firstAt": state.first_at,
        "lastAt": state.last_at,
        "changedAt": _time(state.changed_at),
        "restartedAt": _time(state.restarted_at),
        "disabledAt": state.disabled_at,
        "retries": state.retries,
        "trial": None if state.trial is None else _trial(state.trial),
        "tried": {str(tag): round(at) for tag, at in state.tried.items()},
        "triedAt": _time(state.tried_at),
        "canary": None if state.canary is None else _canary(state.canary),
        "failed": {str(k): round(at) for k, at in state.failed.items()},
        "pairs": None if state.pairs is None else _pairs(state.pairs),
        "moves": [_move(move) for move in state.moves],
    }
    return json.dumps(document, separators=(",", ":"))


def load(text: str, environment: Environment, prior: Prior, tell: Callable[[str], None] = lambda _: None) -> State:
    """The state that `dump` wrote, without its window of recent samples.

    tell: told why step costs are learned anew, where those in the text are relative to another prior or largest batch.
    Raises CheckpointError when the text is damaged or was written for another environment or version.
    """
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise CheckpointError(f"version {document['version']}, this operator reads {VERSION}")
        if document["environment"] != environment.key:
            raise CheckpointError("it was learned in another environment (model, drafter, GPU, layout or image)")
        state = _state(document, environment, prior)
        other = _relative_to_another(document, environment, prior)
        if other is None:
            return _with_costs(state, document)
        tell(other)
        return state
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"damaged checkpoint: {error!r}") from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"damaged checkpoint: {error}") from error


def _state(document: Mapping[str, Any], environment: Environment, prior: Prior) -> State:
    most = environment.start_k
    fresh = new_state(environment, prior, _schedule(document["inForce"], most))
    memory = replace(
        fresh.acceptance,
        fast=_array(document["fast"], fresh.acceptance.fast.shape),
        slow=_array(document["slow"], fresh.acceptance.slow.shape),
        seen_drafts=_finite(document["seenDrafts"]),
    )
    trial = document["trial"]
    return replace(
        fresh,
        start_k=_k(document["startK"], most),
        acceptance=memory,
        day_load=_dense(document["dayLoad"], (BUCKETS, 2)),
        last_at=_when(document["lastAt"]),
        changed_at=_past(document["changedAt"]),
        restarted_at=_past(document["restartedAt"]),
        disabled_at=_when(document["disabledAt"]),
        retries=int(document["retries"]),
        trial=None if trial is None else _read_trial(trial, most),
        tried_at=_past(document["triedAt"]),
        canary=_read_canary(document.get("canary"), most),
        failed=_times(document.get("failed", {})),
        pairs=_read_pairs(document.get("pairs"), most),
        moves=tuple(_read_move(move, most) for move in document["moves"]),
    )


def _with_costs(state: State, document: Mapping[str, Any]) -> State:
    """`state` with the step costs, and with what says that they need not be tried again soon."""
    steps, belief = state.tried_steps, _belief(document, state.belief)
    return replace(
        state,
        first_at=_when(document["firstAt"]),
        tried_steps=_dense(document["steps"], (steps.size, 1)).reshape(steps.shape),
        tried=_times(document["tried"]),
        belief=belief,
        surface=surface.posterior(belief, state.grid),
    )


def _relative_to(environment: Environment, prior: Prior) -> dict[str, Any]:
    """What the residual of the step times was learned against."""
    return {"maxNumSeqs": environment.max_num_seqs, "costs": prior.costs.digest}


def _relative_to_another(document: Mapping[str, Any], environment: Environment, prior: Prior) -> str | None:
    """Why step costs cannot be carried over, or None. A text that does not say is taken to fit."""
    wanted = _relative_to(environment, prior)
    found = document.get("relativeTo", wanted)
    if found == wanted:
        return None
    if found["maxNumSeqs"] != wanted["maxNumSeqs"]:
        return f"they were learned with maxNumSeqs {found['maxNumSeqs']}, which is {wanted['maxNumSeqs']} now"
    return "they were learned as corrections of another release's step times"


def _belief(document: Mapping[str, Any], fresh: Filter) -> Filter:
    """Pods come back with levels unknown."""
    size = fresh.mean.size - PODS
    mean, covariance = fresh.mean.copy(), fresh.covariance.copy()
    mean[:size] = _sound(np.asarray(document["mean"], dtype=float).reshape(size))
    covariance[:size, :size] = _unpacked(document["spread"], size)
    return Filter(mean, covariance, _finite(document["surprise"]))


def _packed(covariance: Floats) -> str:
    """The lower triangle in single precision."""
    return base64.b64encode(covariance[np.tril_indices(len(covariance))].astype("<f4").tobytes()).decode()


def _unpacked(text: str, size: int) -> Floats:
    lower = np.zeros((size, size))
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(float)
    lower[np.tril_indices(size)] = _sound(values)
    return lower + np.tril(lower, -1).T


def _sound(values: Floats) -> Floats:
    if not (np.abs(values) <= LARGEST_OF_SURFACE).all():
        raise CheckpointError("a figure of the step-time surface is not finite, or beyond anything that is learned")
    return values


def _number(value: float) -> float:
    return float(f"{value:.5g}")


def _numbers(values: Floats) -> list[float]:
    return [_number(v) for v in values]


def _array(values: list[float], shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values, dtype=float).reshape(shape)
    if not np.isfinite(array).all() or (array < 0).any():
        raise CheckpointError("a count is negative or not finite")
    return array


def _sparse(rows: Floats) -> dict[str, list[float]]:
    return {str(i): _numbers(row) for i, row in enumerate(rows) if row[0] > 1e-3}


def _dense(rows: Mapping[str, list[float]], shape: tuple[int, int]) -> Floats:
    out = np.zeros(shape)
    for index, row in rows.items():
        out[int(index)] = _array(row, shape[1:])
    return out


def _time(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: float) -> float:
    if not math.isfinite(number := float(value)):
        raise CheckpointError("a figure is not finite")
    return number


def _when(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _past(value: float | None) -> float:
    return -math.inf if value is None else _finite(value)


def _times(document: Mapping[str, float]) -> dict[int, float]:
    return {int(tag): _finite(at) for tag, at in document.items()}


def _k(value: int, most: int) -> int:
    if not 0 <= (k := int(value)) <= most:
        raise CheckpointError(f"a K of {k}, where 0 to {most} are possible")
    return k


def _tiers(schedule: Schedule) -> list[list[int]]:
    return [[t.from_batch, t.to_batch, t.num_speculative_tokens] for t in schedule.tiers]


def _schedule(tiers: list[list[int]], most: int) -> Schedule:
    return Schedule(tuple(Tier(int(a), int(b), _k(k, most)) for a, b, k in tiers))


def _gain(gain: Gain | None) -> list[float] | None:
    return (
        None if gain is None else [_number(gain.mean_percent), _number(gain.lower_percent), _number(gain.upper_percent)]
    )


def _canary(canary: Canary) -> dict[str, Any]:
    return {
        "startK": canary.start_k,
        "schedule": _tiers(canary.schedule),
        "expected": _gain(canary.expected),
        "began": canary.began,
        "firstSeen": canary.first_seen,
        "lastSeen": canary.last_seen,
        "restarts": canary.restarts,
        "seen": [canary.seen.count, canary.seen.mean, canary.seen.squares],
        "peers": canary.peers,
    }


def _read_canary(document: Mapping[str, Any] | None, most: int) -> Canary | None:
    """The window under way is lost; those that were closed count on."""
    if document is None:
        return None
    count, mean, squares = document["seen"]
    return Canary(
        start_k=_k(document["startK"], most),
        schedule=_schedule(document["schedule"], most),
        expected=Gain(*map(_finite, document["expected"])),
        began=_finite(document["began"]),
        first_seen=_when(document["firstSeen"]),
        last_seen=_when(document["lastSeen"]),
        restarts=int(document["restarts"]),
        seen=Running(int(count), _finite(mean), _finite(squares)),
        peers=int(document["peers"]),
    )


def _trial(trial: Trial) -> dict[str, Any]:
    return {"until": trial.until, "backTo": _tiers(trial.back_to), "untuned": trial.untuned}


def _read_trial(document: Mapping[str, Any], most: int) -> Trial:
    back_to = _schedule(document["backTo"], most)
    return Trial(_finite(document["until"]), back_to, bool(document.get("untuned", False)))


def _pairs(pairs: Pairs) -> dict[str, Any]:
    return {
        "untunedK": pairs.untuned_k,
        "seconds": pairs.seconds,
        "began": pairs.began,
        "lastAt": pairs.last_at,
        "lot": _number(pairs.lot),
        "seen": [pairs.seen.count, pairs.seen.mean, pairs.seen.squares],
        "refutedAt": _time(pairs.refuted_at),
    }


def _read_pairs(document: Mapping[str, Any] | None, most: int) -> Pairs | None:
    """The pair under way is lost; those that were complete count on."""
    if document is None:
        return None
    count, mean, squares = document["seen"]
    return Pairs(
        untuned_k=_k(document["untunedK"], most),
        seconds=_finite(document["seconds"]),
        began=_finite(document["began"]),
        last_at=_finite(document["lastAt"]),
        lot=_finite(document["lot"]),
        seen=Running(int(count), _finite(mean), _finite(squares)),
        refuted_at=_past(document["refutedAt"]),
    )


def _move(move: Move) -> dict[str, Any]:
    return {
        "at": move.at,
        "kind": move.kind.value,
        "reason": move.reason.value,
        "before": _tiers(move.before),
        "after": _tiers(move.after),
        "predicted": _gain(move.predicted),
        "realised": _gain(move.realised),
        "verdict": move.verdict.value,
        "startKs": move.start_ks,
    }


def _read_move(document: Mapping[str, Any], most: int) -> Move:
    realised, starts = document["realised"], document.get("startKs")
    return Move(
        at=_finite(document["at"]),
        kind=Kind(document["kind"]),
        reason=Reason(document["reason"]),
        before=_schedule(document["before"], most),
        after=_schedule(document["after"], most),
        predicted=Gain(*map(_finite, document["predicted"])),
        realised=None if realised is None else Gain(*map(_finite, realised)),
        verdict=Verdict(document["verdict"]),
        start_ks=None if starts is None else (_k(starts[0], most), _k(starts[1], most)),
    )
