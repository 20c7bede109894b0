"""The engines that the demo offers, and what a real one is told of the text."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import yaml

from loadtests.plan import load_plan, parse_plan
from specdec_simulator import acceptance
from tests.demo.engines import ENGINES, REPOSITORY, Engine, named
from tests.demo.steps import DemoError
from tests.demo.text import Text, rates


def test_an_engine_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(DemoError, match=r"ENGINE is 'gpu'; set it to one of: simulator, vllm"):
        named("gpu")


@pytest.mark.parametrize("engine", [pytest.param(engine, id=name) for name, engine in ENGINES.items()])
def test_an_engines_example_holds_both_twins_and_its_plan_is_a_plan(engine: Engine) -> None:
    found = list(yaml.safe_load_all(engine.example.read_text()))
    assert [twin["metadata"]["name"] for twin in found] == list(engine.twins)
    assert [twin["spec"]["tuning"]["mode"] for twin in found] == ["Auto", "Off"]
    for twin in found:
        del twin["metadata"]["name"], twin["spec"]["tuning"]["mode"]
    assert found[0] == found[1], "twins differ in nothing else"
    plan = load_plan(engine.plan)
    assert all(plan.scenario(name).domain in acceptance.load() for phase in plan.phases for name in phase.mix)


def test_a_phase_accepts_the_mean_of_its_mix_by_tokens() -> None:
    lengths = {"prompt": {"median": 8}, "output": {"median": 30}}
    plan = parse_plan(
        {
            "scenarios": {
                "a": {"style": "chat", "domain": "easy", **lengths},
                "b": {"style": "chat", "domain": "hard", **lengths | {"output": {"median": 90}}},
            },
            "phases": [{"name": "p", "seconds": 10, "load": {"users": 1}, "mix": {"a": 1, "b": 1}}],
        },
        REPOSITORY,
    )
    assert rates(plan, plan.phases[0], {"easy": (0.8, 0.4), "hard": (0.4, 0.0)}) == pytest.approx([0.5, 0.1])


class Rig(HTTPServer):
    """Keeps what it is told; refuses while `broken`."""

    broken = False

    def __init__(self) -> None:
        self.told: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Rig

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.broken:
            self.server.told.append(body)
        self.send_response(503 if self.server.broken else 200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        thread = Thread(target=rig.serve_forever)
        thread.start()
        yield rig
        rig.shutdown()
        thread.join()


def test_an_engine_is_told_once_a_phase_and_again_when_it_did_not_listen(rig: Rig) -> None:
    phases = [{"name": name, "seconds": 10, "load": {"users": 1}, "mix": {"chat": 1}} for name in ("one", "two")]
    text = Text(parse_plan({"phases": phases}, REPOSITORY), {"chat": (0.5,)}, [f"http://127.0.0.1:{rig.server_port}"])
    rig.broken = True
    text.follow(0.0)
    rig.broken = False
    for t in (2.0, 4.0, 11.0, 13.0, 25.0):
        text.follow(t)
    assert rig.told == [b'{"rates":[0.5]}'] * 2
