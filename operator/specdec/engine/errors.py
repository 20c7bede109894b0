"""What can go wrong between the operator and an engine.

EngineError
├── EngineUnreachable        no connection, or no answer in time
├── ProtocolError            an answer that the contract does not know
└── Refused                  an error answer of the contract; nothing was changed
    ├── InvalidSchedule            400
    ├── Unauthorized               401
    ├── RevisionConflict           409
    ├── RequestTooLarge            413
    ├── LiveSwitchingUnavailable   404 (no such endpoint) or 501
    └── EngineUnavailable          503
"""

from __future__ import annotations

from typing import Final


class EngineError(Exception):
    """An exchange with the engine of `pod` failed; the message says how and what to do."""

    def __init__(self, pod: str, message: str) -> None:
        super().__init__(f"{pod}: {message}")
        self.pod = pod


class EngineUnreachable(EngineError):
    """No connection, or no answer within the time limit. Whether a PUT took effect is not known: GET tells.

    timed_out: it may only be busy, where no connection says more of a wrong address or an end.
    """

    def __init__(self, pod: str, message: str, *, timed_out: bool = False) -> None:
        super().__init__(pod, message)
        self.timed_out = timed_out


class ProtocolError(EngineError):
    """The answer is not one of the contract: another version, another server, or a broken one."""


class Refused(EngineError):
    """The engine understood and refused. `field` names the part of the schedule, where there is one."""

    def __init__(self, pod: str, message: str, *, reason: str, field: str | None = None) -> None:
        super().__init__(pod, message if field is None else f"{message} ({field})")
        self.reason = reason
        self.field = field


class InvalidSchedule(Refused):
    """The schedule does not fit this engine."""


class Unauthorized(Refused):
    """The control token or the API key is missing or wrong."""


class RevisionConflict(Refused):
    """Another revision is in force than the caller supposed: read it, decide again."""


class RequestTooLarge(Refused):
    """The body is above the engine's limit."""


class LiveSwitchingUnavailable(Refused):
    """This engine cannot change K while it runs; a restart can."""


class EngineUnavailable(Refused):
    """The engine loop did not answer in time; safe to repeat."""


REFUSALS: Final[dict[int, type[Refused]]] = {
    400: InvalidSchedule,
    401: Unauthorized,
    404: LiveSwitchingUnavailable,
    409: RevisionConflict,
    413: RequestTooLarge,
    501: LiveSwitchingUnavailable,
    503: EngineUnavailable,
}
