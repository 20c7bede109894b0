"""One tick of a resource's tuner: a round's answers in, what to accept out. Pure; time and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from specdec import tuning
from specdec.api.decision import RestartTrial
from specdec.api.quantities import parse_seconds
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import constant
from specdec.controllers.accepting import accepted_with, judged, outdone, wanted_live
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Round
from specdec.controllers.limits import environment_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """checkpoint: what is accepted now, the same as before unless `answer` is a decision or a verdict came."""

    checkpoint: Checkpoint
    tuner: tuning.State
    answer: tuning.Decision | tuning.Hold


def ticked(
    resource: SpeculativeDeployment,
    checkpoint: Checkpoint,
    tuner: tuning.State | None,
    seen: Round,
    limits: tuning.Limits,
    *,
    now: float,
    chance: float,
    donor: tuning.State | None = None,
) -> Outcome:
    """Learn from `seen`, then decide within `limits`, which the caller has just read from fresh state.

    donor: the tuner of another resource of the same environment, to begin with where nothing of one's own is known.
    """
    window = parse_seconds(resource.spec.tuning.window)
    # Costs learned in another environment, as with another image or largest batch, are not those of this one.
    if tuner is None or tuner.environment != environment_of(resource):
        tuner = restored(resource, checkpoint, now, donor)
    state = tuning.observe(tuning.prepared(tuner, limits, now, chance), seen.samples, now, window)
    latest = max((engine.revision or 0 for engine in seen.known.values()), default=0)
    noted = judged(outdone(checkpoint, latest), state.moves)
    answer = tuning.recommend(state, limits, now, chance)
    if isinstance(answer, tuning.Decision):
        back_to = state.trial.back_to if state.trial is not None else None
        noted = accepted_with(noted, answer, limits.switching, now, back_to)
        state = tuning.acted(state, answer, now, chance)
        noted = saved(noted, state)
    return Outcome(noted, state, answer)


def restored(
    resource: SpeculativeDeployment, checkpoint: Checkpoint, now: float, donor: tuning.State | None = None
) -> tuning.State:
    """What was learned before, or a new state where nothing fits any more, with what `donor` learned as its prior.

    In force is what was accepted.
    """
    accepted = checkpoint.accepted
    assert accepted is not None
    wanted = wanted_live(accepted, resource.spec.engine.max_num_seqs)
    state = tuning.in_line(
        _learned(resource, checkpoint, donor), wanted, accepted.start_k, on_trial=accepted.trial is not None
    )
    if accepted.schedule is None or accepted.switching != "Live":
        # An edit of the spec has put K back: what was tried then is over.
        state = replace(state, trial=None)
    return _with_canary(state, accepted.trial, now)


def _learned(resource: SpeculativeDeployment, checkpoint: Checkpoint, donor: tuning.State | None) -> tuning.State:
    environment, prior = environment_of(resource), tuning.estimated_prior()
    told = log.bind(resource=resource.name, namespace=resource.namespace)

    def tell(why: str) -> None:
        told.info("step costs are learned anew", why=why)

    if checkpoint.tuner is not None:
        try:
            return tuning.load(checkpoint.tuner, environment, prior, tell)
        except tuning.CheckpointError as error:
            told.info("learning begins anew", why=str(error))
    fresh = tuning.new_state(environment, prior)
    return fresh if donor is None or donor.environment != environment else tuning.inherited(fresh, donor)


def _with_canary(state: tuning.State, trial: RestartTrial | None, now: float) -> tuning.State:
    """A replica that runs on trial while nothing is remembered of it is compared from now on."""
    if trial is None or state.canary is not None:
        return state
    schedule = trial.schedule or constant(trial.start_k, state.environment.max_num_seqs)
    return replace(state, canary=tuning.Canary(trial.start_k, schedule, tuning.Gain(0.0, 0.0, 0.0), now))


def saved(checkpoint: Checkpoint, tuner: tuning.State) -> Checkpoint:
    """`checkpoint` with what `tuner` has learned."""
    return replace(checkpoint, tuner=tuning.dump(tuner))
