"""Samples -> state: the only way in which evidence enters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning import (
    acceptance,
    canary,
    candidates,
    clock,
    costing,
    pairs,
    season,
    surface,
    verdicts,
    work,
)
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample
from specdec.tuning.state import Recent, State
from specdec.tuning.window import (
    ACCEPTED,
    BUCKETS,
    CELL_TOKENS,
    DRAFT_TOKENS,
    DRAFTS,
    EXPECTED_TOKENS,
    GENERATED,
    ITL_COUNT,
    ITL_SUM,
    MIXED_PREFILL,
    MIXED_SECONDS,
    MIXED_STEPS,
    STEPS,
    Interval,
    Snapshot,
    between,
    merged,
    snapshots,
)

Floats = NDArray[np.float64]

REFIT_SECONDS: Final = 25.0
RECENT_HALF_LIFE_SECONDS: Final = 60.0
NOW_HALF_LIFE_SECONDS: Final = 20.0
LOAD_HALF_LIFE_SECONDS: Final = 90.0
DAY_HALF_LIFE_SECONDS: Final = 86_400.0
POSITION1_HALF_LIFE_SECONDS: Final = 20.0
POD_FORGOTTEN_SECONDS: Final = 600.0
BROKEN_BELOW: Final = 0.30
BROKEN_DRAFTS: Final = 200.0
IDENTITY_TOLERANCE: Final = 0.10


def observe(
    state: State, samples: Iterable[Sample], now: float, window_seconds: float = RECENT_HALF_LIFE_SECONDS
) -> State:
    """`state` after one round of scrapes.

    samples: at most one per pod, in any order; a pod whose scrape failed is left out. Counters that fell, engines that
    restarted and figures that are no counts are dropped; the pod's next interval starts at this sample.
    window_seconds: half-life of `State.recent`, and length of the windows in which a replica on trial is compared.
    """
    samples, state = tuple(samples), clock.followed(state, now)
    if state.canary is not None:
        state = replace(state, canary=canary.observed(state.canary, samples, now, window_seconds))
    if state.pairs is not None:
        slower = _slower(state, state.pairs.untuned_k)
        held = pairs.observed(state.pairs, samples, state.in_force, state.changed_at, now, slower=slower)
        state = replace(state, pairs=held)
    pods = {name: snap for name, snap in state.pods.items() if now - snap.at < POD_FORGOTTEN_SECONDS}
    intervals: dict[str, Interval] = {}
    suspect = 0
    pages = sorted((s for s in samples if not s.on_trial), key=lambda s: s.pod)
    for sample, seen in zip(pages, snapshots(pages), strict=True):
        if seen is None:
            suspect += 1
            continue
        interval = between(pods[sample.pod], seen) if sample.pod in pods else None
        pods[sample.pod] = seen
        if interval is not None and (interval.exact or seen.at - interval.seconds >= state.changed_at):
            intervals[sample.pod] = interval
            suspect += not _tokens_add_up(interval)
    state = _forget(state, pods, suspect, now, window_seconds)
    faded = state.load
    remembered = state.acceptance
    if intervals:
        state = _learn(state, merged(list(intervals.values())))
        state = replace(state, season=_season(state, faded, list(intervals.values()), now))
    watched = acceptance.watch_for_drift(state.acceptance, remembered) if intervals else state.acceptance
    if watched is not state.acceptance:
        state = replace(state, acceptance=watched, alarmed_at=now)
    return verdicts.judge(_watch_drafter(_learn_costs(state, intervals, now), now), now)


def _slower(state: State, k: int) -> work.Slower:
    """How much longer a step takes at another batch, by what is known of `k`."""

    def slower(before: float, after: float) -> float:
        log_ms = state.surface.log_ms(state.grid)[k]
        at = np.interp((before, after), np.arange(1, log_ms.size + 1), log_ms)
        return float(at[1] - at[0])

    return slower


def _forget(state: State, pods: Mapping[str, Snapshot], suspect: int, now: float, window_seconds: float) -> State:
    """`state` with the newest pages, in which what was learned before has faded."""
    elapsed = max(now - state.last_at, 0.0) if state.last_at is not None else 0.0
    return replace(
        state,
        pods=pods,
        slots=costing.slots_for(state.slots, pods),
        first_at=now if state.first_at is None else state.first_at,
        last_at=now,
        recent=state.recent.faded(0.5 ** (elapsed / window_seconds), suspect),
        acceptance=acceptance.forget(state.acceptance, elapsed),
        belief=surface.elapse(state.belief, elapsed),
        tried_steps=state.tried_steps * 0.5 ** (elapsed / DAY_HALF_LIFE_SECONDS),
        load_now=state.load_now * 0.5 ** (elapsed / NOW_HALF_LIFE_SECONDS),
        load=state.load * 0.5 ** (elapsed / LOAD_HALF_LIFE_SECONDS),
        day_load=state.day_load * 0.5 ** (elapsed / DAY_HALF_LIFE_SECONDS),
        position1=state.position1 * 0.5 ** (elapsed / POSITION1_HALF_LIFE_SECONDS),
    )


def _season(state: State, faded: Floats, seen: Sequence[Interval], now: float) -> season.Season:
    """faded: the load before this round was learned from. seen: what pods did; those unseen had as much to do."""
    elapsed = sum(interval.seconds for interval in seen) / len(seen)
    busy, batches = ((state.load - faded).sum(axis=0) * max(state.serving / len(seen), 1.0)).tolist()
    return season.watched(state.season, now, elapsed, busy, batches)


def _learn_costs(state: State, intervals: Mapping[str, Interval], now: float) -> State:
    in_force = candidates.table_of(state.in_force, state.grid.batches.size)
    seen = costing.measured(intervals, state.slots, state.start_k, in_force)
    belief = state.belief if seen is None else surface.learn(state.belief, seen, state.grid)
    if state.trial is None and now - state.fitted_at < REFIT_SECONDS:
        return replace(state, belief=belief)
    return replace(state, belief=belief, fitted_at=now, surface=surface.posterior(belief, state.grid))


def _learn(state: State, intervals: Iterable[Interval]) -> State:
    tried, loads = state.tried_steps.copy(), [each.tolist() for each in (state.load_now, state.load, state.day_load)]
    memory, position1, recent = state.acceptance, state.position1, state.recent
    for interval in intervals:
        rows = _cost_rows(interval, state.start_k)
        for k, bucket, steps, seconds, requests in rows:
            tried[k, bucket] += steps
            weight = seconds * requests / steps
            for buckets in loads:
                buckets[bucket][0] += weight
                buckets[bucket][1] += weight * requests / steps
        seen = acceptance.evidence(interval)
        memory = acceptance.learn(memory, seen, float(interval.totals[DRAFTS]))
        position1 = position1 + seen[:2, 0]
        recent = _recent(recent, interval, rows)
    return replace(
        state,
        tried_steps=tried,
        load_now=np.array(loads[0]),
        load=np.array(loads[1]),
        day_load=np.array(loads[2]),
        acceptance=memory,
        position1=position1,
        recent=recent,
    )


def _cost_rows(interval: Interval, start_k: int) -> list[tuple[int, int, float, float, float]]:
    """(K, bucket, steps, seconds, requests) of steps; with stock counters one row for the whole interval."""
    if interval.exact:
        return [
            (*divmod(key // 2, BUCKETS), steps, seconds, requests)
            for key, (steps, seconds, requests, _) in zip(interval.keys.tolist(), interval.cells.tolist(), strict=True)
            if key // 2 // BUCKETS <= start_k and requests > 0 and seconds > 0
        ]
    totals = interval.totals
    if totals[DRAFTS] <= 0 or totals[STEPS] <= 0 or totals[ITL_COUNT] <= 0:
        return []
    k = min(totals[DRAFT_TOKENS] / totals[DRAFTS], float(start_k))
    batch = totals[DRAFTS] / totals[STEPS]
    bucket = int(np.searchsorted(BATCH_BUCKET_ENDS, round(batch)))
    seconds = totals[STEPS] * totals[ITL_SUM] / totals[ITL_COUNT]
    return [(round(k), bucket, float(totals[STEPS]), float(seconds), float(totals[DRAFTS]))]


def _recent(recent: Recent, interval: Interval, rows: list[tuple[int, int, float, float, float]]) -> Recent:
    totals = interval.totals
    latency = interval.latencies
    if all(a.shape == b.shape for a, b in zip(recent.latency, latency, strict=True)):
        latency = tuple(a + b for a, b in zip(recent.latency, latency, strict=True))
    prefill = totals[MIXED_SECONDS] if totals[MIXED_PREFILL] > 0 and totals[MIXED_STEPS] > 0 else 0.0
    return Recent(
        seconds=recent.seconds + interval.seconds,
        drafts=recent.drafts + float(totals[DRAFTS]),
        draft_tokens=recent.draft_tokens + float(totals[DRAFT_TOKENS]),
        accepted=recent.accepted + float(totals[ACCEPTED].sum()),
        generated=recent.generated + float(totals[GENERATED]),
        steps=recent.steps + sum(row[2] for row in rows),
        step_seconds=recent.step_seconds + sum(row[3] for row in rows),
        request_seconds=recent.request_seconds + sum(row[3] * row[4] / row[2] for row in rows),
        prefill_seconds=recent.prefill_seconds + float(prefill),
        suspect=recent.suspect,
        latency=latency,
        bounds=interval.bounds,
    )


def _tokens_add_up(interval: Interval) -> bool:
    """Tokens that reached requests = drafts + accepted, over decode steps; else a restart or a broken counter."""
    if not interval.exact or interval.totals[EXPECTED_TOKENS] < 1000:
        return True
    return bool(abs(interval.totals[CELL_TOKENS] / interval.totals[EXPECTED_TOKENS] - 1) <= IDENTITY_TOLERANCE)


def _watch_drafter(state: State, now: float) -> State:
    """How long first tokens have been poor. While they are not, what was before makes no later try rarer."""
    trials, accepted = state.position1.tolist()
    since, retries = state.broken_since, state.retries
    if state.off:
        since = None
    elif trials >= BROKEN_DRAFTS and accepted / trials >= BROKEN_BELOW:
        since, retries = None, 0
    elif trials >= BROKEN_DRAFTS and since is None:
        since = now
    unchanged = (since, retries) == (state.broken_since, state.retries)
    return state if unchanged else replace(state, broken_since=since, retries=retries)
