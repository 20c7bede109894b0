"""Start, drain and end of a simulator, as vLLM was seen to do it; and what it refuses to start with."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

import httpx
import pytest

from specdec_simulator.cli import main
from tests.support.chat import Answer, stream_chat
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simulator import SimulatedEngine, simulators, speculative_config, wait_until_healthy

SLOW = {"TIME_SCALE": "3"}


def port_is_open(engine: SimulatedEngine) -> bool:
    host, port = engine.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def test_the_port_stays_closed_while_it_starts() -> None:
    began = time.monotonic()
    with simulators(settings={"START_SECONDS": "1.5"}, wait=False) as (engine,):
        while not port_is_open(engine):
            assert engine.process.poll() is None, engine.log.read_text()
            time.sleep(0.02)
        assert time.monotonic() - began >= 1.5
        wait_until_healthy(engine)


def test_it_can_be_stopped_while_it_starts() -> None:
    with simulators(settings={"START_SECONDS": "60"}, wait=False) as (engine,):
        while "the port opens" not in engine.log.read_text():
            assert engine.process.poll() is None, engine.log.read_text()
            time.sleep(0.02)
        engine.terminate()
        assert engine.wait() == 0


async def start_stream(engine: SimulatedEngine, client: httpx.AsyncClient, max_tokens: int) -> asyncio.Task[Answer]:
    """A stream of which the first token has come."""
    task = asyncio.create_task(stream_chat(client, engine.model, max_tokens=max_tokens))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            page = (await client.get("/metrics")).text
            if 'time_to_first_token_seconds_count{engine="0",model_name="deepseek-v4-flash"} 1.0' in page:
                return task
            await asyncio.sleep(0.01)


async def test_with_a_shutdown_timeout_it_drains() -> None:
    with simulators(arguments=["--shutdown-timeout", "20"], settings=SLOW) as (engine,):
        async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
            stream = await start_stream(engine, client, 100)
            engine.terminate()
            while (refused := await stream_chat(client, engine.model)).status == 200:
                assert not stream.done(), "the drain was not seen"
            assert refused.status == 500
            assert (await client.get("/health")).status_code == 200
            answer = await stream
            assert (answer.usage["completion_tokens"], answer.finish_reason) == (100, "length")
        assert await asyncio.to_thread(engine.wait) == 0


async def test_without_one_it_aborts_what_is_in_flight() -> None:
    with simulators(settings=SLOW) as (engine,):
        async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
            stream = await start_stream(engine, client, 100_000)
            engine.terminate()
            answer = await stream
            assert answer.finish_reason is None
            assert answer.error is not None
            assert "shut down" in answer.error
        assert await asyncio.to_thread(engine.wait) == 0


async def test_the_drain_ends_with_its_time() -> None:
    with simulators(arguments=["--shutdown-timeout", "1"], settings=SLOW) as (engine,):
        async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
            stream = await start_stream(engine, client, 100_000)
            began = time.monotonic()
            engine.terminate()
            assert (await stream).error is not None
            assert time.monotonic() - began >= 1
        assert await asyncio.to_thread(engine.wait) == 0


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    said: str


class Start:
    """Starts that must end by themselves, in this process: most of a new one is the start of Python."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._output = monkeypatch, output

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(str(ended.code))
        return Ended(code, self._output.readouterr().err)


@pytest.fixture
def started_with(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Start:
    return Start(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["serve", "m", "--foo"], 2), (["serve", "m", "--speculative-config", "{}"], 1)]
)
def test_the_process_ends_with_the_code(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "specdec_simulator", *arguments]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False).returncode == code


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["serve", "m", "--speculate"], "unrecognized arguments: --speculate", id="an unknown flag"),
        pytest.param(["serve", "m", "--port", "many"], "--port", id="a port that is no number"),
        pytest.param(["serve", "m", "--max-num-seqs", "0"], "--max-num-seqs", id="no sequences"),
        pytest.param(["serve", "m", "--dtype", "int3"], "invalid choice: 'int3'", id="an unknown choice"),
        pytest.param(["frobnicate"], "invalid choice", id="an unknown command"),
        pytest.param([], "required", id="no command"),
    ],
)
def test_a_bad_command_line_ends_with_two(started_with: Start, arguments: list[str], complaint: str) -> None:
    ended = started_with(*arguments)
    assert ended.code == 2
    assert complaint in ended.said


BAD_CONFIGS = [
    pytest.param("{", "not JSON", id="no JSON"),
    pytest.param("[]", "JSON object", id="not an object"),
    pytest.param(speculative_config(0), "greater than 0", id="K = 0"),
    pytest.param(speculative_config(8), "above 7", id="K above the block"),
    pytest.param(speculative_config(7, method="dflesh"), "method", id="an unknown method"),
    pytest.param('{"method": "dflash", "num_speculative_tokens": 3}', "model", id="no drafter"),
    pytest.param(speculative_config(7, num_tokens=1), "Unexpected keyword argument", id="an unknown field"),
    pytest.param(
        speculative_config(7, num_speculative_tokens_per_batch_size=[[2, 8, 3]]),
        "batch size 1",
        id="a late range",
    ),
    pytest.param(
        speculative_config(7, rejection_sample_method="synthetic"), "exactly one", id="synthetic without rates"
    ),
    pytest.param(
        speculative_config(2, rejection_sample_method="synthetic", synthetic_acceptance_rates=[0.2, 0.5]),
        "non-increasing",
        id="rates that rise",
    ),
]


@pytest.mark.parametrize(("config", "complaint"), BAD_CONFIGS)
def test_a_bad_speculative_config_ends_with_one(started_with: Start, config: str, complaint: str) -> None:
    ended = started_with("serve", "m", "--speculative-config", config)
    assert ended.code == 1
    assert complaint in ended.said


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        pytest.param(
            ["--max-model-len", "9000", "--num-gpu-blocks-override", "10"],
            {},
            "KV cache blocks",
            id="no room",
        ),
        pytest.param(["--compilation-config", "{"], {}, "compilation-config", id="no JSON"),
        pytest.param([], {"SPECDEC_SIM_MIX": "poetry=1"}, "poetry", id="an unknown domain"),
        pytest.param([], {"SPECDEC_SIM_SEEDS": "1"}, "SPECDEC_SIM_SEEDS", id="an unknown setting"),
        pytest.param([], {"SPECDEC_SIM_TIME_SCALE": "0"}, "TIME_SCALE", id="time that stands still"),
        pytest.param([], {"SPECDEC_SIM_COSTS": "/nowhere.json"}, "/nowhere.json", id="no cost table"),
    ],
)
def test_what_cannot_be_served_ends_with_one(
    started_with: Start, arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    ended = started_with("serve", "m", *arguments, **environment)
    assert ended.code == 1
    assert complaint in ended.said


def test_the_command_line_for_the_real_pair_is_accepted() -> None:
    arguments = (
        "--trust-remote-code --kv-cache-dtype fp8 --block-size 256 --tokenizer-mode deepseek_v4 --max_model_len 128k"
        " --tool-call-parser deepseek_v4 --enable-auto-tool-choice --reasoning-parser deepseek_v4 -O3"
        " --tensor-parallel-size 4 --enable-expert-parallel --no-enable-flashinfer-autotune"
        " --gpu-memory-utilization=0.92"
    )
    with simulators(arguments=arguments.split()) as (engine,):
        assert engine.healthy()
