"""The bodies of /v1/chat/completions and /v1/completions: read them, refuse what vLLM refuses, in its words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

CHARACTERS_PER_TOKEN: Final = 4
# The template around each message of a chat.
TOKENS_PER_MESSAGE: Final = 4


class RequestRefused(Exception):
    """An OpenAI error answer."""

    def __init__(self, status: HTTPStatus, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": int(status)}}


def bad_request(message: str, param: str | None = None) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, "BadRequestError", message, param)


@dataclass(frozen=True, slots=True)
class Generation:
    """What a body asks for. max_tokens: None when it sets no limit. key: its seed, None without one."""

    prompt_tokens: int
    max_tokens: int | None
    stream: bool
    include_usage: bool
    continuous_usage: bool
    key: str | None
    domain: str | None


def parse(body: bytes, *, chat: bool, models: Sequence[str], max_model_len: int, domain: str | None) -> Generation:
    """Read one body; raises RequestRefused. domain: from the request's header; the body's metadata comes second."""
    content = _json_object(body)
    _check_model(content.get("model"), models)
    if content.get("n", 1) not in (None, 1):
        raise bad_request("this simulator answers with one choice: n must be 1", "n")
    prompt_tokens = _chat_tokens(content.get("messages")) if chat else _prompt_tokens(content.get("prompt"))
    options = _mapping(content, "stream_options")
    stream = bool(content.get("stream", False))
    if options and not stream:
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
    seed = content.get("seed")
    return Generation(
        prompt_tokens=prompt_tokens,
        max_tokens=_max_tokens(content, prompt_tokens, max_model_len, chat=chat),
        stream=stream,
        include_usage=bool(options.get("include_usage", False)),
        continuous_usage=bool(options.get("continuous_usage_stats", False)),
        key=None if seed is None else f"seed {seed}",
        domain=domain or _mapping(content, "metadata").get("domain"),
    )


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise bad_request("the body must be a JSON object")
    return content


def _mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{name}: Input should be a valid dictionary", name)
    return value


def _check_model(model: Any, models: Sequence[str]) -> None:
    if model is not None and model not in models:
        message = f"The model `{model}` does not exist."
        raise RequestRefused(HTTPStatus.NOT_FOUND, "NotFoundError", message, "model")


def _chat_tokens(messages: Any) -> int:
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages: Field required: a list with at least one message", "messages")
    return sum(TOKENS_PER_MESSAGE + _text_tokens(_message_text(message)) for message in messages)


def _message_text(message: Any) -> str:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise bad_request("messages: every message needs a role", "messages")
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _prompt_tokens(prompt: Any) -> int:
    if isinstance(prompt, str):
        return _text_tokens(prompt)
    if isinstance(prompt, list) and prompt:
        if all(type(token) is int for token in prompt):
            return len(prompt)
        if len(prompt) == 1:
            return _prompt_tokens(prompt[0])
        raise bad_request("this simulator takes one prompt per request", "prompt")
    raise bad_request("prompt: Field required: a string or a list of token ids", "prompt")


def _text_tokens(text: str) -> int:
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def _max_tokens(content: Mapping[str, Any], prompt_tokens: int, max_model_len: int, *, chat: bool) -> int | None:
    name = "max_completion_tokens" if chat and content.get("max_completion_tokens") is not None else "max_tokens"
    value = content.get(name)
    if value is None and not chat:
        value = 16
    room = max_model_len - prompt_tokens
    if room < 1:
        raise bad_request(
            f"This model's maximum context length is {max_model_len} tokens. However, your request has {prompt_tokens}"
            " input tokens. Please reduce the length of the input messages.",
            "input_tokens",
        )
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise bad_request(f"{name} must be at least 1, got {value!r}.", name)
    if value > room:
        raise bad_request(
            f"'{name}' or 'max_completion_tokens' is too large: {value}. This model's maximum context length is"
            f" {max_model_len} tokens and your request has {prompt_tokens} input tokens ({value} > {max_model_len}"
            f" - {prompt_tokens}).",
            name,
        )
    return value
