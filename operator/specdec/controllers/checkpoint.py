"""The record that survives restarts: what was decided and learned, as one small JSON document in an owned ConfigMap."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from specdec.api.decision import AcceptedDecision, DecisionError
from specdec.api.names import CHECKPOINT_KEY, UNREADABLE_KEY

FORMAT: Final = 1
HISTORY_LENGTH: Final = 10
RESTARTS_KEPT: Final = 48
# In characters: with a checkpoint beside it, well below the mebibyte that a ConfigMap may hold.
UNREADABLE_LIMIT: Final = 128 * 1024

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision of the history, in the words of the status.

    before, after: the schedules in short. at: seconds since the epoch. A percentage is None until it is known.
    """

    at: float
    before: str
    after: str
    reason: str
    predicted_percent: float | None = None
    realised_percent: float | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that must outlive the operator.

    accepted: None before the first pass. asked_start_k: the user's start value when it was accepted; when the user
    changes it, that wins over what was tuned. since: seconds since the epoch at which `accepted` came into force.
    tuner: `tuning.dump`, None before the first sample. restarts: seconds since the epoch of restarts for tuning.
    unwatched: digests of the children that no watch shows, by kind. unreadable: the text of an earlier checkpoint that
    could not be read, kept for whoever can.
    """

    accepted: AcceptedDecision | None = None
    asked_start_k: int | None = None
    since: float | None = None
    tuner: str | None = None
    restarts: tuple[float, ...] = ()
    history: tuple[Entry, ...] = ()
    unwatched: dict[str, str] = field(default_factory=dict)
    unreadable: str | None = None

    def remember(self, entry: Entry) -> Self:
        """With `entry` as the newest of the history."""
        return replace(self, history=(entry, *self.history)[:HISTORY_LENGTH])

    def restarted(self, at: float) -> Self:
        return replace(self, restarts=(*self.restarts, at)[-RESTARTS_KEPT:])

    def data(self) -> dict[str, str]:
        """`data` of the ConfigMap; equal checkpoints give equal text."""
        document = {
            "format": FORMAT,
            "accepted": self.accepted and self.accepted.to_json(),
            "askedStartK": self.asked_start_k,
            "since": self.since,
            "tuner": self.tuner,
            "restarts": list(self.restarts),
            "history": [asdict(entry) for entry in self.history],
            "unwatched": self.unwatched,
        }
        kept = {} if self.unreadable is None else {UNREADABLE_KEY: self.unreadable}
        return {CHECKPOINT_KEY: json.dumps(document, sort_keys=True, separators=(",", ":")), **kept}


def read(config_map: Json | None) -> Checkpoint:
    """The checkpoint in a ConfigMap, an empty one where there is none.

    Raises CheckpointUnreadable with the reason, so that the caller can tell of it before it starts anew.
    """
    data = (config_map or {}).get("data") or {}
    text = data.get(CHECKPOINT_KEY)
    if text is None:
        return Checkpoint()
    try:
        stored = json.loads(text)
        if stored["format"] != FORMAT:
            raise CheckpointUnreadable(f"format {stored['format']!r}, this version reads {FORMAT}", text)
        return Checkpoint(
            accepted=AcceptedDecision.from_json(stored["accepted"]) if stored["accepted"] else None,
            asked_start_k=stored["askedStartK"],
            since=stored["since"],
            tuner=stored["tuner"],
            restarts=tuple(map(float, stored["restarts"])),
            history=tuple(Entry(**entry) for entry in stored["history"]),
            unwatched={str(kind): str(digest) for kind, digest in stored["unwatched"].items()},
            unreadable=data.get(UNREADABLE_KEY),
        )
    except (ValueError, KeyError, TypeError, AttributeError, DecisionError) as error:
        raise CheckpointUnreadable(str(error), text) from error


class CheckpointUnreadable(Exception):
    """The stored checkpoint is damaged or from another version. text: its beginning, as much as is worth keeping."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(why)
        self.text = text[:UNREADABLE_LIMIT]
