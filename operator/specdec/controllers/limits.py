"""What the tuner must respect now: the user's bounds, the engines' limits, the state of the fleet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from specdec import tuning
from specdec.api.quantities import parse_seconds
from specdec.api.resource import SpeculativeDeployment
from specdec.api.sources import Source
from specdec.api.tuning import Objective, SwitchingPolicy
from specdec.controllers.engines import Known
from specdec.controllers.windows import DAY_SECONDS, disruption
from specdec.desired import grace_period_seconds

# A page is stale after this many missed scrapes.
MISSED_SCRAPES: Final = 4
# Of the times that a switchback compares, so that most of each lies between two scrapes.
SCRAPES_A_SIDE: Final = 4
# Of a start-up schedule: more than this lose less than they take to read.
MOST_TIERS: Final = 6
# An estimate from public reports of these weights on H200 nodes. No restart is timed here: a pod tells when it was
# last made ready, not when first.
ESTIMATED_RESTART_SECONDS: Final = 480.0


def limits_of(
    resource: SpeculativeDeployment,
    known: Mapping[str, Known],
    *,
    pods: int,
    by_restart: bool,
    rolling: bool,
    restarts: tuple[float, ...],
    newest_sample: float | None,
    now: float,
) -> tuning.Limits:
    """pods: those that serve. by_restart: the pods were rendered to get K at their start.
    newest_sample: seconds since the epoch, None before the first.
    """
    spec = resource.spec
    bounds = [engine.speculation.limits for engine in known.values() if engine.speculation]
    graphs = [bound.graph_capture_tokens for bound in bounds if bound.graph_capture_tokens is not None]
    batched = [bound.max_num_batched_tokens for bound in bounds if bound.max_num_batched_tokens is not None]
    side = max(parse_seconds(spec.tuning.window), SCRAPES_A_SIDE * spec.monitoring.scrape_interval_seconds)
    return tuning.Limits(
        min_k=spec.tuning.min,
        max_k=spec.max_k,
        mode=tuning.Mode(spec.tuning.mode.value),
        paused=spec.paused,
        switching=switching(resource, known, pods, by_restart=by_restart),
        constraints=_constraints(spec.tuning.objective),
        min_gain_percent=float(spec.tuning.min_gain_percent),
        cooldown_seconds=DAY_SECONDS / max(spec.tuning.disruption.max_restarts_per_day, 1),
        live_cooldown_seconds=parse_seconds(spec.tuning.cooldown),
        min_drafts=spec.tuning.min_drafts,
        disruption=disruption(spec.tuning.disruption, restarts, now),
        on_broken_drafter=tuning.OnBrokenDrafter(spec.tuning.on_broken_drafter.value),
        graph_capture_tokens=min(graphs, default=None),
        max_num_seqs=spec.engine.max_num_seqs,
        max_num_batched_tokens=min(batched, default=spec.engine.max_num_batched_tokens),
        replicas=max(spec.replicas, 1),
        rollout_in_progress=rolling,
        metrics_age_seconds=None if newest_sample is None else max(now - newest_sample, 0.0),
        max_metrics_age_seconds=float(MISSED_SCRAPES * spec.monitoring.scrape_interval_seconds),
        restart_seconds=ESTIMATED_RESTART_SECONDS,
        max_unavailable=max(spec.rollout.max_unavailable, 1),
        most_tiers=MOST_TIERS if spec.engine.parallelism.data == 1 else 1,
        serving=pods,
        trial_possible=spec.replicas > 1,
        switchback_share=spec.tuning.switchback.share_percent / 100.0 if spec.tuning.switchback else 0.0,
        switchback_seconds=side,
        trial_start_seconds=float(spec.engine.startup_timeout_seconds + grace_period_seconds(spec.engine)),
    )


def switching(
    resource: SpeculativeDeployment, known: Mapping[str, Known], pods: int, *, by_restart: bool
) -> tuning.Switching:
    """Live where every serving engine can; else by restart where the policy and the budget allow it at all.

    Pods that once got K at their start stay with that way: the way back to live would restart them unasked.
    """
    policy, spec = resource.spec.tuning.switching, resource.spec
    able = bool(known) and len(known) >= pods and all(engine.live for engine in known.values())
    if spec.live_possible and able and not by_restart:
        return tuning.Switching.LIVE
    known_not_to = any(not engine.live for engine in known.values())
    if policy is SwitchingPolicy.RESTART or (
        policy is SwitchingPolicy.AUTOMATIC and (known_not_to or by_restart or not spec.live_possible)
    ):
        allowed = spec.tuning.disruption.max_restarts_per_day > 0
        return tuning.Switching.RESTART if allowed else tuning.Switching.NONE
    return tuning.Switching.NONE


def environment_of(resource: SpeculativeDeployment) -> tuning.Environment:
    """What must be equal for evidence to be carried over."""
    spec = resource.spec
    parallelism = spec.engine.parallelism
    return tuning.Environment(
        model=_place(spec.model.source),
        drafter=_place(spec.speculator.source) or spec.speculator.method.value,
        gpu=",".join(sorted(spec.placement.gpu_product)),
        layout=f"tp{parallelism.tensor} dp{parallelism.data}{' ep' if parallelism.expert else ''}",
        image=spec.engine.image,
        start_k=spec.speculator.num_speculative_tokens,
        max_num_seqs=spec.engine.max_num_seqs,
    )


def _constraints(objective: Objective) -> tuple[tuning.Constraint, ...]:
    return tuple(
        tuning.Constraint(tuning.LatencyMetric(c.metric.value), c.percentile, parse_seconds(c.max))
        for c in objective.constraints
    )


def _place(source: Source | None) -> str:
    if source is None:
        return ""
    if source.hugging_face:
        return f"{source.hugging_face.repo}@{source.hugging_face.revision or ''}"
    if source.pvc:
        return f"pvc:{source.pvc.claim_name}/{source.pvc.path or ''}"
    return f"image:{source.image.reference if source.image else ''}"
