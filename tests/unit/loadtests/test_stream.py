"""Times and tokens out of a server-sent event stream."""

import errno
import json
import socket
import ssl

import pytest

from loadtests.failures import REMEDY, Kind, RequestError, of_exception, of_status
from loadtests.stream import Answer


def chunk(text: str = "word ", **fields: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}], **fields}).encode() + b"\n"


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens}


LAST = b"data: " + json.dumps({"choices": [], "usage": usage(7)}).encode() + b"\n"
DONE = b"data: [DONE]\n"


def read(*lines: tuple[bytes, float]) -> Answer:
    answer = Answer(sent=100.0)
    for line, at in lines:
        answer.feed(line, at)
    return answer


def test_times_are_those_of_chunks_with_output() -> None:
    role = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n'
    found = read((role, 100.01), (b"\n", 100.01), (chunk(), 100.05), (chunk(), 100.08), (LAST, 101.0), (DONE, 101.0))
    measured = found.measured()
    assert measured.ttft_ms == pytest.approx(50)
    assert measured.itl_ms == pytest.approx((30,))
    assert measured.e2el_ms == pytest.approx(80)


def test_tokens_come_from_usage_not_from_chunks() -> None:
    measured = read((chunk(), 100.1), (chunk(), 100.4), (LAST, 100.4), (DONE, 100.4)).measured()
    assert (measured.prompt_tokens, measured.output_tokens) == (9, 7)
    assert measured.tpot_ms == pytest.approx(300 / 6)


def test_usage_in_each_chunk_shows_the_tokens_of_each_step() -> None:
    lines = [(chunk(usage=usage(n)), 100.0 + n) for n in (1, 4, 6, 7)]
    assert read(*lines, (LAST, 108.0), (DONE, 108.0)).measured().chunk_tokens == (1, 3, 2, 1)


def test_a_token_that_makes_no_text_yet_counts_where_usage_shows_it() -> None:
    lines = [(chunk(text, usage=usage(n)), 100.0 + n) for n, text in ((1, "w"), (4, ""), (7, ""))]
    measured = read(*lines, (LAST, 108.0), (DONE, 108.0)).measured()
    assert measured.chunk_tokens == (1, 3, 3)
    assert measured.e2el_ms == pytest.approx(7000)


def test_one_token_has_no_time_per_output_token() -> None:
    one = b"data: " + json.dumps({"choices": [], "usage": usage(1)}).encode() + b"\n"
    assert read((chunk(), 100.1), (one, 100.1), (DONE, 100.1)).measured().tpot_ms is None


@pytest.mark.parametrize("field", ["reasoning_content", "tool_calls"])
def test_reasoning_and_tool_calls_are_output_too(field: str) -> None:
    line = b"data: " + json.dumps({"choices": [{"delta": {field: "x"}}]}).encode()
    assert read((line, 100.2), (LAST, 100.3), (DONE, 100.3)).measured().ttft_ms == pytest.approx(200)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        pytest.param([chunk()], Kind.CLOSED, id="the stream breaks off"),
        pytest.param([], Kind.NOT_OPENAI, id="nothing at all"),
        pytest.param([chunk(), DONE], Kind.NO_USAGE, id="no usage"),
        pytest.param([LAST, DONE], Kind.NOT_OPENAI, id="no output"),
        pytest.param([b"<html>"], Kind.NOT_OPENAI, id="a web page"),
        pytest.param([b"data: {"], Kind.NOT_OPENAI, id="half an event"),
        pytest.param([b"data: [1]"], Kind.NOT_OPENAI, id="an array"),
        pytest.param([b'data: {"x": 1}'], Kind.NOT_OPENAI, id="no choices"),
        pytest.param([b'data: {"error": {"message": "died"}}'], Kind.STREAM_ERROR, id="an error inside"),
        pytest.param([b'data: {"choices": [], "usage": {"tokens": 1}}'], Kind.NO_USAGE, id="strange usage"),
    ],
)
def test_what_is_no_answer_gets_its_kind(lines: list[bytes], kind: Kind) -> None:
    with pytest.raises(RequestError) as raised:
        read(*[(line, 101.0) for line in lines]).measured()
    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(), Kind.REFUSED),
        (OSError(errno.EHOSTUNREACH, "no route"), Kind.REFUSED),
        (socket.gaierror(-2, "unknown"), Kind.NAME),
        (ssl.SSLError("wrong version"), Kind.TLS),
        (TimeoutError(), Kind.TIMEOUT),
        (ConnectionResetError(), Kind.CLOSED),
        (RuntimeError("?"), Kind.OTHER),
    ],
)
def test_errors_of_the_network_get_their_kind(error: Exception, kind: Kind) -> None:
    assert of_exception(error).kind is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.UNAUTHORIZED),
        (403, Kind.UNAUTHORIZED),
        (404, Kind.NOT_FOUND),
        (422, Kind.BAD_REQUEST),
        (429, Kind.TOO_MANY),
        (503, Kind.SERVER_ERROR),
        (302, Kind.NOT_OPENAI),
    ],
)
def test_statuses_get_their_kind(status: int, kind: Kind) -> None:
    error = of_status(status, "said so")
    assert error.kind is kind
    assert "said so" in error.detail


def test_every_kind_has_a_remedy() -> None:
    assert set(REMEDY) == set(Kind)
