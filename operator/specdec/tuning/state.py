"""Everything the tuner remembers about one resource. Opaque to callers, immutable, and small enough for a ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, constant
from specdec.tuning import acceptance, surface
from specdec.tuning.acceptance import AcceptanceMemory
from specdec.tuning.canary import Canary
from specdec.tuning.decisions import Move
from specdec.tuning.pairs import Pairs
from specdec.tuning.prior import Environment, Prior
from specdec.tuning.season import Season
from specdec.tuning.surface import Filter, Grid, Surface
from specdec.tuning.window import BUCKETS, EMPTY, Snapshot

Floats = NDArray[np.float64]

SERVING_SECONDS: Final = 90.0  # since a pod's last page


@dataclass(frozen=True, slots=True)
class Recent:
    """What was seen of late, forgotten exponentially with the half-life given to `observe`.

    seconds: pod-seconds observed. step_seconds, request_seconds: of decode steps, and times their batch.
    latency: per latency metric, histogram counts (cumulative, then the count). bounds: their upper ends in seconds.
    """

    seconds: float = 0.0
    drafts: float = 0.0
    draft_tokens: float = 0.0
    accepted: float = 0.0
    generated: float = 0.0
    steps: float = 0.0
    step_seconds: float = 0.0
    request_seconds: float = 0.0
    prefill_seconds: float = 0.0
    suspect: float = 0.0
    latency: tuple[Floats, ...] = (EMPTY, EMPTY, EMPTY)
    bounds: tuple[tuple[float, ...], ...] = ((), (), ())

    def faded(self, keep: float, suspect: int) -> Recent:
        """The same, each count times `keep`, and `suspect` more pages that cannot be right."""
        return Recent(
            self.seconds * keep,
            self.drafts * keep,
            self.draft_tokens * keep,
            self.accepted * keep,
            self.generated * keep,
            self.steps * keep,
            self.step_seconds * keep,
            self.request_seconds * keep,
            self.prefill_seconds * keep,
            self.suspect * keep + suspect,
            tuple(counts * keep for counts in self.latency),
            self.bounds,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A schedule that is tried for a while; `back_to` comes after it. untuned: not to learn, but to be held against."""

    until: float
    back_to: Schedule
    untuned: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """See the package's docstring for the functions that take and return it.

    tried_steps: shape (start_k + 1, BUCKETS), engine steps seen by K and batch bucket, forgotten slowly.
    slots: which pods have a level in `belief`, by name; `surface` is what `belief` says on the grid.
    load_now, load, day_load: shape (BUCKETS, 2): request-seconds and their mean batch times request-seconds, of
    seconds, minutes and a day.
    broken_since, losing_since: since when first tokens have been poor, and since when no K has paid.
    position1: recent trials and acceptances on position 1, shape (2,), forgotten within a minute.
    canary: the replica that tries another start value. failed: start values that a replica tried in vain, and when.
    season: the load that each hour of the week usually brings.
    pairs: of times without and with tuning; None before the first.
    """

    environment: Environment
    prior: Prior
    in_force: Schedule
    start_k: int
    acceptance: AcceptanceMemory
    tried_steps: Floats
    load_now: Floats
    load: Floats
    day_load: Floats
    grid: Grid
    belief: Filter
    surface: Surface
    slots: Mapping[str, int] = field(default_factory=dict)
    pods: Mapping[str, Snapshot] = field(default_factory=dict)
    recent: Recent = Recent()
    position1: Floats = field(default_factory=lambda: np.zeros(2))
    broken_since: float | None = None
    losing_since: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    fitted_at: float = -np.inf
    changed_at: float = -np.inf
    alarmed_at: float = -np.inf
    restarted_at: float = -np.inf
    disabled_at: float | None = None
    retries: int = 0
    trial: Trial | None = None
    tried: Mapping[int, float] = field(default_factory=dict)
    tried_at: float = -np.inf
    canary: Canary | None = None
    failed: Mapping[int, float] = field(default_factory=dict)
    pairs: Pairs | None = None
    season: Season = field(default_factory=Season)
    moves: tuple[Move, ...] = ()

    @property
    def seen_drafts(self) -> float:
        """Drafts ever seen."""
        return self.acceptance.seen_drafts

    @property
    def k_in_use(self) -> float:
        """Draft tokens per draft of late; the start value before the first draft."""
        return self.recent.draft_tokens / self.recent.drafts if self.recent.drafts >= 1 else float(self.start_k)

    @property
    def exact(self) -> bool:
        """Whether an engine has counters per K and batch size; before the first scrape that is hoped."""
        return not self.pods or any(pod.exact for pod in self.pods.values())

    @property
    def serving(self) -> int:
        """Pods that the last rounds showed."""
        return sum((self.last_at or 0.0) - pod.at <= SERVING_SECONDS for pod in self.pods.values())

    @property
    def off(self) -> bool:
        """Whether speculation is switched off by an earlier decision."""
        return self.in_force.off


def in_line(state: State, in_force: Schedule, start_k: int, *, on_trial: bool) -> State:
    """`state` once more as the fleet is, after others than the tuner have decided; trials in its memory end.

    on_trial: whether a replica still runs with another start value.
    """
    canary = state.canary if on_trial else None
    if (state.in_force, state.start_k) == (in_force, start_k):
        return state if canary is state.canary else replace(state, canary=canary)
    return replace(state, in_force=in_force, start_k=start_k, trial=None, canary=canary)


def new_state(
    environment: Environment, prior: Prior, in_force: Schedule | None = None, start_k: int | None = None
) -> State:
    """A state that has seen nothing.

    in_force: the engines' start-up schedule; None means `start_k` everywhere.
    start_k: what the engines were started with; None means the environment's, which is the largest possible.
    """
    start = min(start_k or environment.start_k, environment.start_k)
    on = surface.grid(prior.costs, environment.max_num_seqs, environment.start_k)
    belief = surface.ignorant(on)
    return State(
        environment=environment,
        prior=prior,
        in_force=in_force or constant(start, environment.max_num_seqs),
        start_k=start,
        acceptance=acceptance.from_profile(prior.acceptance, prior.acceptance_drafts),
        tried_steps=np.zeros((environment.start_k + 1, BUCKETS)),
        load_now=np.zeros((BUCKETS, 2)),
        load=np.zeros((BUCKETS, 2)),
        day_load=np.zeros((BUCKETS, 2)),
        grid=on,
        belief=belief,
        surface=surface.posterior(belief, on),
    )
