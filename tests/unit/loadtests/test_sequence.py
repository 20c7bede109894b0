"""Twins are told the same; another seed is another day."""

from itertools import islice
from pathlib import Path

import pytest

from loadtests.plan import PlanError
from loadtests.prompts import body, text
from loadtests.sequence import closed_loop, open_loop
from loadtests.trace import read_trace
from tests.unit.loadtests.builders import plan

MIXED = {"load": {"rate": 10}, "mix": {"chat": 1, "code": 1, "agent": 1}}


def test_twins_get_the_same_requests_at_the_same_moments() -> None:
    assert open_loop(plan(MIXED, seed=5)) == open_loop(plan(MIXED, seed=5))
    assert open_loop(plan(MIXED, seed=5)) != open_loop(plan(MIXED, seed=6))


def test_a_user_asks_the_same_however_fast_the_answers_come() -> None:
    made = plan({"load": {"users": 2}})
    assert list(islice(closed_loop(made, 0, 0), 20))[:5] == list(islice(closed_loop(made, 0, 0), 5))
    assert next(closed_loop(made, 0, 0)) != next(closed_loop(made, 1, 0))


def test_workers_share_the_open_loop_without_gap() -> None:
    whole = open_loop(plan(MIXED))
    shares = [whole[share::3] for share in range(3)]
    assert sorted(r.key for share in shares for r in share) == sorted(r.key for r in whole)


def test_keys_are_unique_over_phases() -> None:
    whole = open_loop(plan(MIXED, {"name": "again", **MIXED}))
    assert len({r.key for r in whole}) == len(whole)


def test_the_mix_is_kept() -> None:
    whole = open_loop(plan({"load": {"rate": 100}, "mix": {"chat": 3, "hard": 1}}))
    assert sum(r.domain == "hard" for r in whole) / len(whole) == pytest.approx(0.25, abs=0.05)


def test_a_trace_is_replayed_at_its_own_pace(tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:04,120,30\n2024-05-10 00:00:00,10,5\n")
    made = plan({"load": {"replay": {"file": str(trace), "speed": 2}}})
    assert [(r.at_seconds, r.prompt_tokens, r.output_tokens) for r in open_loop(made)] == [(0.0, 10, 5), (2.0, 120, 30)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "mooncake.jsonl",
            '{"timestamp": 500, "input_length": 1, "output_length": 1}\n'
            '{"timestamp": 750, "input_length": 7, "output_length": 3}\n',
        ),
        ("ours.csv", "arrival_seconds,prompt_tokens,output_tokens,domain\n0.5,1,1,chat\n0.75,7,3,chat\n"),
        ("burstgpt.csv", "Timestamp,Model,Request tokens,Response tokens\n0.5,GPT-4,1,1\n0.75,GPT-4,7,3\n"),
        (
            "azure.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.5,1,1\n2024-05-10 00:00:00.75,7,3\n",
        ),
    ],
)
def test_public_traces_are_understood(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    first, second = read_trace(path)
    assert first.arrival_seconds == 0.0
    assert second.arrival_seconds == pytest.approx(0.25)
    assert (second.prompt_tokens, second.output_tokens, second.domain) == (7, 3, "chat")


def test_a_trace_of_unknown_domains_is_refused_before_any_load(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_seconds,prompt_tokens,output_tokens,domain\n0,1,1,chat\n1,1,1,poetry\n")
    with pytest.raises(PlanError, match=r"request 2: domain 'poetry' is no scenario.*agent, chat"):
        open_loop(plan({"load": {"replay": {"file": str(path)}}}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no request"),
        ("when,prompt_tokens\n1,2\n", "request 1"),
        ("timestamp,prompt_tokens,output_tokens\nx,1,1\n", "x"),
    ],
)
def test_a_trace_that_cannot_be_read_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    with pytest.raises(PlanError, match=said):
        read_trace(path)


@pytest.mark.parametrize("tokens", [20, 200, 6000])
def test_prompts_have_the_length_asked_for(tokens: int) -> None:
    assert len(text("code", tokens, 1).split()) == pytest.approx(tokens, abs=8)


def test_prompts_differ_from_their_first_words_on() -> None:
    heads = {tuple(text("chat", 60, seed).split()[7:15]) for seed in range(200)}
    assert len(heads) == 200


def test_vllm_extensions_can_be_left_out() -> None:
    request = open_loop(plan(MIXED))[0]
    assert body(plan(MIXED), request, "m", "s").keys() >= {"ignore_eos", "min_tokens", "cache_salt"}
    assert not body(plan(MIXED, vllmExtensions=False), request, "m", "s").keys() & {"ignore_eos", "cache_salt"}


def test_agents_bring_tools_and_a_history() -> None:
    made = plan({"load": {"rate": 5}, "mix": {"agent": 1}})
    told = body(made, open_loop(made)[0], "m", "s")
    assert [message["role"] for message in told["messages"]] == ["system", "user", "assistant", "tool"]
    assert told["tools"]
