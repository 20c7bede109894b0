"""One streamed answer, read line by line: when its tokens came and how many there were.

Pure: time is an argument. Times are seconds of one monotonic clock; `sent` is when the request went out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from loadtests.failures import Kind, RequestError

_CONTENT_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls")


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds, and tokens from the server's usage.

    itl_ms: shape (chunks - 1,), gaps between chunks that carried output.
    chunk_tokens: shape (chunks,), tokens per chunk, where the server reports usage in each chunk; else empty.
    tpot_ms: (last - first) / (tokens - 1), None below two tokens.
    """

    ttft_ms: float
    tpot_ms: float | None
    e2el_ms: float
    itl_ms: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int
    chunk_tokens: tuple[int, ...]


@dataclass(slots=True)
class Answer:
    """Collects a server-sent event stream. `feed` each line with the moment at which it was there."""

    sent: float
    moments: list[float] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    done: bool = False
    events: int = 0

    def feed(self, line: bytes, at: float) -> None:
        """Raises RequestError for an error event and for anything that is no OpenAI stream."""
        line = line.strip()
        if not line.startswith(b"data:"):
            self._other_line(line)
            return
        payload = line[5:].strip()
        self.events += 1
        if payload == b"[DONE]":
            self.done = True
            return
        self._event(payload, at)

    def measured(self) -> Measured:
        """The result of a stream that has ended. Raises RequestError when it did not end as it should."""
        if not self.done:
            raise RequestError(
                Kind.CLOSED if self.events else Kind.NOT_OPENAI,
                "the stream ended without [DONE]" if self.events else "the answer holds no event",
            )
        if self.output_tokens is None or self.prompt_tokens is None:
            raise RequestError(Kind.NO_USAGE, "the stream ended without usage")
        if not self.moments:
            raise RequestError(Kind.NOT_OPENAI, "the stream ended without any output")
        first, last = self.moments[0], self.moments[-1]
        tokens = self.output_tokens
        return Measured(
            ttft_ms=(first - self.sent) * 1e3,
            tpot_ms=(last - first) * 1e3 / (tokens - 1) if tokens > 1 else None,
            e2el_ms=(last - self.sent) * 1e3,
            itl_ms=tuple((b - a) * 1e3 for a, b in zip(self.moments, self.moments[1:], strict=False)),
            prompt_tokens=self.prompt_tokens,
            output_tokens=tokens,
            chunk_tokens=self._chunk_tokens(),
        )

    def _event(self, payload: bytes, at: float) -> None:
        try:
            event = json.loads(payload)
            error, choices, usage = (
                event.get("error"),
                event["choices"] if "error" not in event else [],
                event.get("usage"),
            )
        except (ValueError, AttributeError, KeyError) as wrong:
            raise RequestError(Kind.NOT_OPENAI, f"not an OpenAI event: {payload[:120]!r}") from wrong
        if error is not None:
            message = error.get("message") if isinstance(error, dict) else error
            raise RequestError(Kind.STREAM_ERROR, str(message))
        before = self.output_tokens or 0
        if usage:
            self._usage(usage)
        # a token that is half a character makes no text yet; usage per chunk shows that it came all the same
        if choices and (_has_output(choices[0]) or (self.output_tokens or 0) > before):
            self.moments.append(at)
            self.totals.append(self.output_tokens or 0)

    def _usage(self, usage: dict[str, int]) -> None:
        try:
            self.prompt_tokens, self.output_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        except (KeyError, TypeError, ValueError) as wrong:
            raise RequestError(Kind.NO_USAGE, f"usage without token counts: {usage!r}") from wrong

    def _other_line(self, line: bytes) -> None:
        if line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            raise RequestError(Kind.NOT_OPENAI, f"not an event stream: {line[:120]!r}")

    def _chunk_tokens(self) -> tuple[int, ...]:
        """Differences of the running totals; empty when usage came only at the end."""
        if not self.totals or self.totals[0] == 0:
            return ()
        return tuple(b - a for a, b in zip([0, *self.totals], self.totals, strict=False))


def _has_output(choice: dict[str, object]) -> bool:
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(delta.get(name) for name in _CONTENT_FIELDS)
