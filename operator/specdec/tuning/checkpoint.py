"""State <-> JSON of at most 16 KiB. What the next scrapes bring back by themselves is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from specdec.tuning import figures, records, surface
from specdec.tuning.figures import CheckpointError
from specdec.tuning.prior import Environment, Prior
from specdec.tuning.state import State, new_state
from specdec.tuning.surface import PODS, Filter
from specdec.tuning.window import BUCKETS

VERSION: Final = 1


def dump(state: State) -> str:
    """A JSON text of at most 16 KiB."""
    document = {
        "version": VERSION,
        "environment": state.environment.key,
        "relativeTo": _relative_to(state.environment, state.prior),
        "inForce": figures.tiers(state.in_force),
        "startK": state.start_k,
        "fast": figures.numbers(state.acceptance.fast.ravel()),
        "slow": figures.numbers(state.acceptance.slow.ravel()),
        "seenDrafts": figures.number(state.acceptance.seen_drafts),
        "steps": figures.sparse(state.tried_steps.reshape(-1, 1)),
        "mean": figures.numbers(state.belief.mean[:-PODS]),
        "spread": figures.packed(state.belief.covariance[:-PODS, :-PODS]),
        "surprise": figures.number(state.belief.surprise),
        "dayLoad": figures.sparse(state.day_load),
        "season": records.season(state.season),
        "firstAt": state.first_at,
        "lastAt": state.last_at,
        "changedAt": figures.time(state.changed_at),
        "restartedAt": figures.time(state.restarted_at),
        "disabledAt": state.disabled_at,
        "retries": state.retries,
        "trial": None if state.trial is None else records.trial(state.trial),
        "tried": {str(tag): round(at) for tag, at in state.tried.items()},
        "triedAt": figures.time(state.tried_at),
        "canary": None if state.canary is None else records.canary(state.canary),
        "failed": {str(k): round(at) for k, at in state.failed.items()},
        "pairs": None if state.pairs is None else records.pairs(state.pairs),
        "moves": records.moves(state.moves),
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
    fresh = new_state(environment, prior, figures.schedule(document["inForce"], most))
    memory = replace(
        fresh.acceptance,
        fast=figures.array(document["fast"], fresh.acceptance.fast.shape),
        slow=figures.array(document["slow"], fresh.acceptance.slow.shape),
        seen_drafts=figures.finite(document["seenDrafts"]),
    )
    trial = document["trial"]
    return replace(
        fresh,
        start_k=figures.k_of(document["startK"], most),
        acceptance=memory,
        day_load=figures.dense(document["dayLoad"], (BUCKETS, 2)),
        season=records.read_season(document.get("season")),
        last_at=figures.when(document["lastAt"]),
        changed_at=figures.past(document["changedAt"]),
        restarted_at=figures.past(document["restartedAt"]),
        disabled_at=figures.when(document["disabledAt"]),
        retries=int(document["retries"]),
        trial=None if trial is None else records.read_trial(trial, most),
        tried_at=figures.past(document["triedAt"]),
        canary=records.read_canary(document.get("canary"), most),
        failed=figures.times(document.get("failed", {})),
        pairs=records.read_pairs(document.get("pairs"), most),
        moves=records.read_moves(document["moves"], most),
    )


def _with_costs(state: State, document: Mapping[str, Any]) -> State:
    """`state` with the step costs, and with what says that they need not be tried again soon."""
    steps, belief = state.tried_steps, _belief(document, state.belief)
    return replace(
        state,
        first_at=figures.when(document["firstAt"]),
        tried_steps=figures.dense(document["steps"], (steps.size, 1)).reshape(steps.shape),
        tried=figures.times(document["tried"]),
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
    mean[:size] = figures.sound(np.asarray(document["mean"], dtype=float).reshape(size))
    covariance[:size, :size] = figures.unpacked(document["spread"], size)
    return Filter(mean, covariance, figures.finite(document["surprise"]))
