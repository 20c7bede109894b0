"""What an engine starts with: K, and the schedule that makes it capture graphs for every K it may be told later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from specdec.api.decision import AcceptedDecision, RestartTrial
from specdec.api.schedule import Schedule, Tier
from specdec.api.spec import Spec


@dataclass(frozen=True, slots=True)
class Start:
    """k: start value, 0 for no speculation. schedule: start-up schedule, None for k at every batch size."""

    k: int
    schedule: Schedule | None

    @classmethod
    def of(cls, spec: Spec, chosen: AcceptedDecision | RestartTrial) -> Self:
        """How the engines of a decision, or of a trial, start."""
        live = isinstance(chosen, AcceptedDecision) and chosen.switching == "Live"
        decided = None if live else chosen.schedule
        if decided is None and spec.live_possible and chosen.start_k > 0:
            return cls(chosen.start_k, every_k(chosen.start_k, spec.engine.max_num_seqs))
        return cls(chosen.start_k, decided)


def every_k(max_k: int, max_batch: int) -> Schedule | None:
    """max_k nearly everywhere, and each smaller K once, at the largest batches.

    An engine captures CUDA graphs only for a K that its start-up schedule names. None where there is but one K to name.
    """
    named = min(max_k, max_batch)
    if named == 1:
        return None
    first = max_batch - named + 1
    rest = (Tier(first + step, first + step, max_k - step) for step in range(1, named))
    return Schedule((Tier(1, first, max_k), *rest))
