"""Who may use the live speculation endpoint: whoever knows the token in a file (docs/engine-contract.md)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from specdec_vllm.schedule import Refusal

TOKEN_FILE_VARIABLE: Final = "SPECDEC_CONTROL_TOKEN_FILE"  # noqa: S105 - names a file, holds no token
CONTROL_HEADER: Final = "x-speculation-authorization"
SHARED_HEADER: Final = "authorization"
SCHEME: Final = "bearer"
MAX_TOKEN_BYTES: Final = 4096


def authenticate(headers: Mapping[str, str], token: bytes) -> None:
    """Raises Refusal (401) unless `headers` (lower-case names) carry `token`. An empty token opens nothing."""
    presented = headers.get(CONTROL_HEADER, headers.get(SHARED_HEADER, ""))
    scheme, _, value = presented.partition(" ")
    # Compared whatever the scheme is, so that the time tells nothing.
    same = hmac.compare_digest(value.strip().encode("utf-8", "surrogateescape"), token)
    if not (same and token and scheme.lower() == SCHEME):
        raise Refusal(401, "Unauthorized", "this needs the control token in X-Speculation-Authorization: Bearer TOKEN")


def control_token() -> bytes:
    """The token in the file named by SPECDEC_CONTROL_TOKEN_FILE, empty when there is none.

    Read at each request: the file is small, and a rotated secret must count from the next request on.
    """
    path = os.environ.get(TOKEN_FILE_VARIABLE)
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_TOKEN_BYTES).strip()
    except OSError:
        return b""
