"""What can go wrong between the operator and the API server.

KubeError
├── NotFound          the object, or its kind, does not exist
├── Conflict          another writer was faster, or the object was made anew under the same name
├── Rejected          the server refuses what was sent; sending it again will not help
├── Forbidden         a role, a quota, a policy or the state of the namespace stands against it
├── Unauthenticated   the server does not know who asks
├── Unavailable       no answer in time, or one that asks to try later
└── NotLeading        this replica does not hold the lease, so it must not write
"""

from __future__ import annotations

import json
import re
from typing import Any, Final


class KubeError(Exception):
    """A request to the API server that did not do what it was for."""


class NotFound(KubeError):
    """The object, or its kind, does not exist."""


class Conflict(KubeError):
    """Another writer was faster: read again, then decide again."""


class Rejected(KubeError):
    """The server refuses the object itself; only other content can help."""


class Forbidden(KubeError):
    """A role, a quota, a policy or the state of the namespace stands against it; the message says which."""


class Unauthenticated(KubeError):
    """The server does not know who asks: the token of the service account, or of the kubeconfig, is no longer good."""


class Unavailable(KubeError):
    """No answer in time, or one that asks to try later.

    retry_after_seconds: what the server asked for, None when it did not say.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotLeading(KubeError):
    """A write was stopped because this replica does not hold the lease."""


# The server's words, in a NotFound, for a kind whose definition is not installed.
KIND_UNKNOWN: Final = re.compile(r"404 page not found|could not find the requested resource")
# A field of the wrong type in a server-side apply is answered with 500, as if it were the server's fault.
MALFORMED_PATCH: Final = b"failed to create typed patch object"
_BY_STATUS: Final[dict[int, type[KubeError]]] = {
    400: Rejected,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: Rejected,
    409: Conflict,
    410: Conflict,
    413: Rejected,
    415: Rejected,
    422: Rejected,
}


def from_status(status: int, what: str, body: bytes, retry_after: str | None = None) -> KubeError:
    """The error for an answer with a status of 400 or above; `what` names the request."""
    text = f"{what}: {status} {_message(body)}".rstrip()
    if status == 500 and MALFORMED_PATCH in body:
        return Rejected(text)
    if kind := _BY_STATUS.get(status):
        return kind(text)
    return Unavailable(text, float(retry_after) if retry_after and retry_after.isdigit() else None)


def _message(body: bytes) -> str:
    try:
        answer: Any = json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace")
    return str(answer.get("message", ""))[:2000] if isinstance(answer, dict) else ""
