"""The tuner. Pure: time and chance are arguments, nothing here reads a clock, a socket or the cluster.

    state = new_state(environment, prior)            # or load(text, environment, prior)
    state = prepared(state, limits, now, chance)     # what follows from the limits
    state = observe(state, samples, now)             # one round of scrapes
    answer = recommend(state, limits, now, chance)   # Decision | Hold
    state = acted(state, answer, now)                # only after a Decision reached the engines
    text = dump(state)                               # <= 16 KiB, for the checkpoint

`summarise` gives the figures of the status, `explain` all that an answer rests on.
"""

from specdec.tuning.canary import Canary
from specdec.tuning.checkpoint import dump, load
from specdec.tuning.decisions import Decision, Gain, Hold, Kind, Move, Reason, Verdict
from specdec.tuning.explaining import explain
from specdec.tuning.figures import CheckpointError
from specdec.tuning.limits import Constraint, Disruption, LatencyMetric, Limits, Mode, OnBrokenDrafter, Switching
from specdec.tuning.observing import observe
from specdec.tuning.pairs import Finding, Pairs
from specdec.tuning.pooling import inherited
from specdec.tuning.prior import (
    CostTable,
    Environment,
    Prior,
    PriorError,
    acceptance_profiles,
    cost_table,
    estimated_costs,
    estimated_prior,
)
from specdec.tuning.recommending import acted, first_schedule, prepared, recommend
from specdec.tuning.state import State, in_line, new_state
from specdec.tuning.summary import Summary, summarise
from specdec.tuning.switchback import in_words as pairs_in_words
from specdec.tuning.telling import Candidate, Explanation
from specdec.tuning.trials import in_words as canary_in_words
from specdec.tuning.verdicts import promises

__all__ = [
    "Canary",
    "Candidate",
    "CheckpointError",
    "Constraint",
    "CostTable",
    "Decision",
    "Disruption",
    "Environment",
    "Explanation",
    "Finding",
    "Gain",
    "Hold",
    "Kind",
    "LatencyMetric",
    "Limits",
    "Mode",
    "Move",
    "OnBrokenDrafter",
    "Pairs",
    "Prior",
    "PriorError",
    "Reason",
    "State",
    "Summary",
    "Switching",
    "Verdict",
    "acceptance_profiles",
    "acted",
    "canary_in_words",
    "cost_table",
    "dump",
    "estimated_costs",
    "estimated_prior",
    "explain",
    "first_schedule",
    "in_line",
    "inherited",
    "load",
    "new_state",
    "observe",
    "pairs_in_words",
    "prepared",
    "promises",
    "recommend",
    "summarise",
]
