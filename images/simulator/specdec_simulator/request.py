"""One request inside the engine."""

from __future__ import annotations

from typing import Protocol

from specdec_simulator.acceptance import Luck


class Sink(Protocol):
    """Where the tokens of one request go: to a client, or to a list in a test. Must not block and must not raise."""

    def tokens(self, count: int, finish_reason: str | None) -> None:
        """`count` more tokens; `finish_reason` (stop, length) with the last ones."""

    def broken(self, message: str) -> None:
        """No more tokens will come: the engine gave the request up."""


class Request:
    """prompt_tokens, output_tokens: what it will have when done. Times: seconds on the engine's clock."""

    __slots__ = (
        "arrived",
        "blocks",
        "finish_reason",
        "first_token_at",
        "generated",
        "gone",
        "last_token_at",
        "left_to_prefill",
        "luck",
        "max_tokens",
        "output_tokens",
        "preemptions",
        "prompt_tokens",
        "scheduled_at",
        "sink",
    )

    def __init__(
        self,
        *,
        prompt_tokens: int,
        output_tokens: int,
        max_tokens: int,
        finish_reason: str,
        luck: Luck,
        sink: Sink,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.max_tokens = max_tokens
        self.finish_reason = finish_reason
        self.luck = luck
        self.sink = sink
        self.generated = 0
        # Tokens to compute before it decodes; after a preemption also those that it had generated.
        self.left_to_prefill = prompt_tokens
        self.blocks = 0
        self.preemptions = 0
        self.gone = False
        self.arrived = 0.0
        self.scheduled_at: float | None = None
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
