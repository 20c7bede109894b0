"""The operator's client of the live endpoint against the simulator, and its errors against whatever else answers."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from specdec.api.schedule import Schedule, Tier, constant
from specdec.engine.errors import (
    EngineUnavailable,
    EngineUnreachable,
    InvalidSchedule,
    LiveSwitchingUnavailable,
    ProtocolError,
    Refused,
    RequestTooLarge,
    RevisionConflict,
    Unauthorized,
)
from specdec.engine.live import MAX_ANSWER_BYTES, LiveClient
from specdec.engine.target import Target
from tests.support.simulator import SimulatedEngine, simulators, speculative_config


@pytest.fixture
def pod(simulator: SimulatedEngine) -> Target:
    return simulator.target()


async def revision(live: LiveClient, pod: Target) -> int:
    return (await live.get(pod)).schedule.revision


async def test_what_is_put_is_what_is_got(live: LiveClient, pod: Target) -> None:
    wanted = Schedule((Tier(1, 16, 7), Tier(17, 256, 3)))
    before = await revision(live, pod)
    put = await live.put(pod, wanted, revision=before + 1, if_revision=before)
    seen = await live.get(pod)
    assert put == seen.schedule
    assert seen.schedule.schedule(seen.limits.max_batch) == wanted


async def test_the_off_switch_travels_both_ways(live: LiveClient, pod: Target) -> None:
    put = await live.put(pod, constant(0, 256), revision=await revision(live, pod) + 1)
    assert put.schedule(256) == constant(0, 256)


async def test_it_tells_what_the_engine_can_do(live: LiveClient, pod: Target) -> None:
    seen = await live.get(pod)
    assert (seen.engine.name, seen.method, seen.start_num_speculative_tokens) == ("simulator", "dflash", 7)
    assert (seen.limits.max_batch, seen.limits.graph_capture_tokens) == (256, 2048)
    switching = seen.capability("LiveSwitching")
    assert switching is not None
    assert switching.status
    assert seen.capability("TimeTravel") is None


async def test_refusals_are_told_apart(live: LiveClient, simulator: SimulatedEngine) -> None:
    pod, stranger = simulator.target(), Target("pod-0", "1", simulator.url, control_token="wrong")
    now = await revision(live, pod)
    await live.put(pod, constant(3, 256), revision=now + 1)
    with pytest.raises(InvalidSchedule) as invalid:
        await live.put(pod, constant(3, 128), revision=now + 2)
    assert invalid.value.field == "entries[0].toBatch"
    with pytest.raises(RevisionConflict):
        await live.put(pod, constant(2, 256), revision=now + 1)
    with pytest.raises(Unauthorized):
        await live.get(stranger)


@pytest.mark.parametrize(
    ("arguments", "speculation", "reason", "said"),
    [
        pytest.param(["--data-parallel-size", "2"], None, "DataParallel", "data parallelism", id="several schedulers"),
        pytest.param(
            [], speculative_config(), "NoStartSchedule", r"per_batch_size\": \[\[1, 256, 7\]\]", id="no start schedule"
        ),
    ],
)
async def test_an_engine_that_cannot_switch_says_why(
    live: LiveClient, arguments: list[str], speculation: str | None, reason: str, said: str
) -> None:
    with simulators(arguments=arguments, speculation=speculation) as (engine,):
        seen = await live.get(engine.target())
        switching = seen.capability("LiveSwitching")
        assert switching is not None
        assert (switching.status, switching.reason) == (False, reason)
        assert [warning.reason for warning in seen.warnings] == [reason]
        with pytest.raises(LiveSwitchingUnavailable, match=said) as refused:
            await live.put(engine.target(), constant(3, 256), revision=1)
        assert refused.value.reason == "LiveSwitchingUnavailable"


async def test_stock_vllm_counts_as_an_engine_that_cannot_switch(live: LiveClient) -> None:
    with simulators(settings={"CONTRACT": "0"}) as (engine,), pytest.raises(LiveSwitchingUnavailable):
        await live.get(engine.target())


async def test_both_keys_open_an_engine_with_an_api_key(live: LiveClient) -> None:
    with simulators(api_key="open sesame") as (engine,):
        assert (await live.get(engine.target())).schedule.revision == 0
        without = Target("pod-0", "1", engine.url, control_token=engine.token)
        with pytest.raises(Unauthorized):
            await live.get(without)


async def test_a_hung_engine_loop_is_unavailable_and_unchanged(live: LiveClient) -> None:
    with simulators(settings={"FAULTS": "1"}) as (engine,):
        engine.fault(hang=True)
        with pytest.raises(EngineUnavailable):
            await live.put(engine.target(), constant(3, 256), revision=1)
        engine.heal()
        assert (await live.get(engine.target())).schedule.revision == 0
        assert (await live.put(engine.target(), constant(3, 256), revision=1)).revision == 1


async def test_no_secret_is_shown(live: LiveClient, simulator: SimulatedEngine) -> None:
    pod = Target("pod-0", "1", simulator.url, control_token="s3cret", api_key="k3y")
    with pytest.raises(Unauthorized) as refused:
        await live.get(pod)
    assert "s3cret" not in f"{pod!r} {refused.value!r} {refused.value}"
    assert "k3y" not in f"{pod!r} {refused.value!r} {refused.value}"


# What the simulator never does, from a server in its place.


def said(status: int, content: bytes | object = b"") -> bytes:
    """A whole answer, as it goes over the wire."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Answering(socketserver.StreamRequestHandler):
    """Gives one answer and closes, or says nothing until the other side leaves."""

    answer: bytes | None = None

    def handle(self) -> None:
        with suppress(ConnectionError):
            length = 0
            while line := self.rfile.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            # What is left unread resets the connection at its end, and the answer with it.
            self.rfile.read(length)
            if self.answer is None:
                self.rfile.read()
            else:
                self.wfile.write(self.answer)


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """The address of a server that gives `answer`."""
    handler = type("Handler", (Answering,), {"answer": answer})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def exchange(url: str) -> None:
    async with LiveClient(timeout_seconds=2.0) as client:
        await client.put(Target("pod-0", "1", url), constant(3, 8), revision=4)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(None, EngineUnreachable, id="no answer in time"),
        pytest.param(b"", EngineUnreachable, id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", EngineUnreachable, id="cut off in the middle"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", EngineUnreachable, id="no HTTP"),
        pytest.param(said(200, b"<html>"), ProtocolError, id="another server"),
        pytest.param(said(200, {"revision": 4}), ProtocolError, id="half an answer"),
        pytest.param(said(200, {"revision": 9, "off": False, "entries": []}), ProtocolError, id="mixed up"),
        pytest.param(said(418), ProtocolError, id="a status that the contract does not know"),
        pytest.param(said(302), ProtocolError, id="sent elsewhere"),
        pytest.param(said(200, b" " * (MAX_ANSWER_BYTES + 1)), ProtocolError, id="endless"),
        pytest.param(said(413), RequestTooLarge, id="too large"),
        pytest.param(said(503, b"upstream"), EngineUnavailable, id="a proxy's 503"),
        pytest.param(said(401, {"error": "Unauthorized"}), Unauthorized, id="vLLM's own 401"),
    ],
)
async def test_whatever_answers_becomes_an_error_of_the_tree(answer: bytes | None, error: type[Exception]) -> None:
    with answering(answer) as url, pytest.raises(error, match="pod-0"):
        await exchange(url)


async def test_nobody_listens() -> None:
    with answering(b"") as url:
        pass
    with pytest.raises(EngineUnreachable, match="pod-0"):
        await exchange(url)


async def test_a_long_refusal_is_cut() -> None:
    body = {"error": {"reason": "R" * 5000, "message": "M" * 100_000}}
    with answering(said(400, body)) as url, pytest.raises(Refused) as refused:
        await exchange(url)
    assert len(str(refused.value)) < 2000
