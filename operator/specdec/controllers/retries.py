"""When what the API server refused is asked of it again: after growing, jittered pauses, something else at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from specdec.api.manifest import Reference
from specdec.backoff import pause_seconds
from specdec.kube.kinds import Name
from specdec.observed import Refusal

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Refused:
    """attempt: what was asked for, such as a digest. due: loop time of the next try of the same."""

    attempt: str
    refusal: Refusal
    failures: int
    due: float


@dataclass(slots=True)
class Retries:
    """What was refused, by resource and child. chance: uniform in [0, 1), the jitter."""

    chance: Callable[[], float] = random.random
    _refused: dict[Name, dict[Reference, Refused]] = field(default_factory=dict)

    def held(self, owner: Name, child: Reference, attempt: str) -> Refusal | None:
        """The refusal of this very attempt while its pause lasts."""
        known = self._known(owner, child, attempt)
        return known.refusal if known is not None and _clock() < known.due else None

    def refused(self, owner: Name, attempt: str, refusal: Refusal) -> None:
        known = self._known(owner, refusal.child, attempt)
        failures = known.failures + 1 if known is not None else 1
        pause = pause_seconds(failures, self.chance(), first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        self._refused.setdefault(owner, {})[refusal.child] = Refused(attempt, refusal, failures, _clock() + pause)

    def taken(self, owner: Name, child: Reference) -> None:
        self._refused.get(owner, {}).pop(child, None)

    def seconds(self, owner: Name, refusals: Iterable[Refusal]) -> float | None:
        """Until the first of `refusals` may be tried again, None where none is known here."""
        known = self._refused.get(owner, {})
        due = [known[refusal.child].due for refusal in refusals if refusal.child in known]
        return max(min(due) - _clock(), 0.0) if due else None

    def forget(self, owner: Name) -> None:
        self._refused.pop(owner, None)

    def _known(self, owner: Name, child: Reference, attempt: str) -> Refused | None:
        found = self._refused.get(owner, {}).get(child)
        return found if found is not None and found.attempt == attempt else None


def _clock() -> float:
    return asyncio.get_running_loop().time()
