"""Where a request's tokens go: an OpenAI answer, streamed or whole, written from the engine's loop without waiting.

ASGI's `send` is a coroutine only because the client may read too slowly. `_push` runs it by hand: either it completes
at once, or the client is behind and its text stays here until a later step. So one engine step writes to all clients,
and no request needs a task or a queue of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from specdec_simulator.text import words

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_START_STREAM: Final[dict[str, Any]] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}
_DONE: Final = b"data: [DONE]\n\n"
# Of the answer `{"index": 0, ...}` of a chunk: what stands before and after its text.
_MORE: Final = b'"},"logprobs":null,"finish_reason":null,"token_ids":null}]'
_MORE_TEXT: Final = b'","logprobs":null,"finish_reason":null,"stop_reason":null}]'


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


class Shape:
    """One of the two OpenAI forms. head: the start of every chunk, up to its text."""

    def __init__(self, *, chat: bool, answer_id: str, model: str, created: int) -> None:
        self.chat = chat
        self.answer_id = answer_id
        self.model = model
        self.created = created
        kind = "chat.completion.chunk" if chat else "text_completion"
        common = _compact({"id": answer_id, "object": kind, "created": created, "model": model})[:-1]
        self.common = common
        text = b'{"index":0,"delta":{"content":"' if chat else b'{"index":0,"text":"'
        self.head = b"data: " + self.common + b',"choices":[' + text
        self.tail = _MORE if chat else _MORE_TEXT

    def last_tail(self, finish_reason: str) -> bytes:
        """Instead of `tail` in the last chunk."""
        return self.tail.replace(b'"finish_reason":null', b'"finish_reason":"' + finish_reason.encode() + b'"')

    def opening(self) -> bytes:
        """The chunk that names the role; only chat has one."""
        if not self.chat:
            return b""
        choice = (
            b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}'
        )
        return b"data: " + self.common + choice + b"\n\n"

    def whole(self, text: str, finish_reason: str, usage: dict[str, int]) -> bytes:
        """The answer in one piece."""
        if self.chat:
            choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        else:
            choice = {"index": 0, "text": text}
        choice |= {"logprobs": None, "finish_reason": finish_reason, "stop_reason": None}
        kind = "chat.completion" if self.chat else "text_completion"
        answer = {"id": self.answer_id, "object": kind, "created": self.created, "model": self.model}
        return _compact({**answer, "choices": [choice], "usage": usage})


class _Answer:
    """What both sinks share. done: nothing more will be written. first_word: see `words`.

    status, content_length: of the answer as it went out, None and 0 when it did not.
    """

    __slots__ = ("_first_word", "_prompt_tokens", "_send", "_shape", "_told", "content_length", "done", "status")

    def __init__(self, send: Send, shape: Shape, *, prompt_tokens: int, first_word: int) -> None:
        self._send = send
        self._shape = shape
        self._prompt_tokens = prompt_tokens
        self._first_word = first_word
        self._told = 0
        self.done = False
        self.status: int | None = None
        self.content_length = 0

    def _usage(self) -> dict[str, int]:
        total = self._prompt_tokens + self._told
        return {"prompt_tokens": self._prompt_tokens, "total_tokens": total, "completion_tokens": self._told}


class StreamedAnswer(_Answer):
    """Server-sent events, one for all tokens that a step yields. include_usage: a last event with the token counts."""

    __slots__ = ("_continuous_usage", "_include_usage", "_pending", "_started")

    def __init__(
        self,
        send: Send,
        shape: Shape,
        *,
        prompt_tokens: int,
        first_word: int,
        include_usage: bool,
        continuous_usage: bool,
    ) -> None:
        super().__init__(send, shape, prompt_tokens=prompt_tokens, first_word=first_word)
        self._include_usage = include_usage
        self._continuous_usage = continuous_usage
        self._started = False
        self._pending: deque[Message] = deque()

    def tokens(self, count: int, finish_reason: str | None) -> None:
        shape = self._shape
        text = words(self._first_word + self._told, count)
        self._told += count
        if finish_reason is None and self._started and not self._continuous_usage:
            self._write(b"".join((shape.head, text, shape.tail, b"}\n\n")), more=True)
            return
        tail = shape.tail if finish_reason is None else shape.last_tail(finish_reason)
        usage = b',"usage":' + _compact(self._usage()) if self._continuous_usage else b""
        opening = b"" if self._started else shape.opening()
        body = b"".join((opening, shape.head, text, tail, usage, b"}\n\n"))
        self._write(body if finish_reason is None else body + self._closing(), more=finish_reason is None)

    def broken(self, message: str) -> None:
        error = {"error": {"message": message, "type": "InternalServerError", "param": None, "code": 500}}
        self._write(b"data: " + _compact(error) + b"\n\n" + _DONE, more=False)

    def _closing(self) -> bytes:
        if not self._include_usage:
            return _DONE
        usage = b',"choices":[],"usage":' + _compact(self._usage()) + b"}\n\n"
        return b"data: " + self._shape.common + usage + _DONE

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.done:
            return
        self.done = not more
        if not self._started:
            self._started, self.status = True, 200
            self._pending.append(_START_STREAM)
        self._pending.append({"type": "http.response.body", "body": body, "more_body": more})
        for _ in range(_push(self._send, self._pending)):
            self._pending.popleft()
        if self.done and self._pending:
            _send_later(self._send, self._pending)


class WholeAnswer(_Answer):
    """One JSON body when the request is done."""

    __slots__ = ()

    def tokens(self, count: int, finish_reason: str | None) -> None:
        self._told += count
        if finish_reason is not None:
            text = words(self._first_word, self._told).decode()
            self._whole(200, self._shape.whole(text, finish_reason, self._usage()))

    def broken(self, message: str) -> None:
        error = {"error": {"message": message, "type": "InternalServerError", "param": None, "code": 500}}
        self._whole(500, _compact(error))

    def _whole(self, status: int, body: bytes) -> None:
        if self.done:
            return
        self.done = True
        self.status, self.content_length = status, len(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        messages: list[Message] = [start, {"type": "http.response.body", "body": body}]
        sent = _push(self._send, messages)
        if sent < len(messages):
            _send_later(self._send, messages[sent:])


def _push(send: Send, messages: Iterable[Message]) -> int:
    """How many of `messages` could be sent at once; fewer than all when the client's buffer is full."""
    sent = 0
    for message in messages:
        coroutine: Any = send(message)
        try:
            coroutine.send(None)
        except StopIteration:
            sent += 1
            continue
        coroutine.close()
        break
    return sent


_slow_ends: set[asyncio.Task[None]] = set()


def _send_later(send: Send, messages: Iterable[Message]) -> None:
    """The end of an answer whose client is behind: no later step would write it."""

    async def finish() -> None:
        for message in messages:
            await send(message)

    task = asyncio.ensure_future(finish())
    _slow_ends.add(task)
    task.add_done_callback(_slow_ends.discard)
