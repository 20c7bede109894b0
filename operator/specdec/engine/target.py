"""One engine pod to talk to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """One engine and what opens it.

    pod, incarnation: as in `specdec.tuning.samples.Sample`.
    url: `http://host:port` without a path.
    control_token: opens the live speculation endpoint; api_key: the engine's own `--api-key`. Neither is ever shown.
    """

    pod: str
    incarnation: str
    url: str
    control_token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    def control_headers(self) -> dict[str, str]:
        """Headers of a request to the live endpoint (docs/engine-contract.md, Authentication)."""
        headers = {}
        if self.control_token:
            headers["X-Speculation-Authorization"] = f"Bearer {self.control_token}"
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers
