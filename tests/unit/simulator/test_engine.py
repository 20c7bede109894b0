"""The step engine in fake time: what it schedules, what it counts, and what it keeps whatever comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdec_simulator.counters import Counters, at_least
from specdec_simulator.engine import Engine
from tests.unit.simulator.builders import COSTS, Memory, engine, request, run, submitted


def cell(engine: Engine, k: int, bucket: int, *, mixed: bool = False) -> int:
    found = engine.counters.cells.get((k, bucket, mixed))
    return found.steps if found else 0


def test_every_request_gets_its_tokens_and_leaves_nothing_behind() -> None:
    one = engine()
    memories = submitted(one, 20, output=77)
    run(one)
    assert [m.total for m in memories] == [77] * 20
    assert {m.finish_reason for m in memories} == {"length"}
    assert (one.running, list(one.waiting), one.kv_usage) == ([], [], 0.0)


def test_the_first_token_comes_from_the_prefill_and_then_up_to_k_more_per_step() -> None:
    one = engine(k=3)
    (memory,) = submitted(one, 1, output=200)
    run(one)
    assert memory.steps[0] == 1
    assert max(memory.steps) == 4
    assert min(memory.steps[:-1]) >= 1


def test_a_long_prompt_is_computed_in_chunks_beside_the_others() -> None:
    one = engine(max_num_batched_tokens=1000)
    submitted(one, 1, prompt=50, output=500)
    run(one, steps=5)
    late, memory = request(prompt=3500, output=5, key="late")
    one.submit(late, 1.0)
    run(one, now=1.0, steps=3)
    assert memory.steps == []
    run(one, now=2.0, steps=1)
    assert memory.steps == [1]
    mixed = [counts for (_, _, is_mixed), counts in one.counters.cells.items() if is_mixed]
    assert sum(counts.prefill_tokens for counts in mixed) == 50 + 3500


def test_k_is_looked_up_by_the_requests_of_the_step() -> None:
    one = engine(table=(0, 7, 7, *(2,) * 62), max_num_seqs=64)
    submitted(one, 6, output=60)
    run(one)
    assert cell(one, 2, 3) > 0
    assert not any(cell(one, 7, bucket) for bucket in (2, 3))


def test_off_generates_one_token_a_step_and_drafts_nothing() -> None:
    one = engine(table=(0,) * 65)
    (memory,) = submitted(one, 1, output=30)
    run(one)
    assert memory.steps == [1] * 30
    assert (one.counters.drafts, one.counters.draft_tokens) == (0, 0)


def test_a_full_batch_makes_the_rest_wait() -> None:
    one = engine(max_num_seqs=4)
    memories = submitted(one, 6, output=40)
    one.begin(0.0)
    assert (len(one.running), len(one.waiting)) == (4, 2)
    one.finish(0.1)
    run(one, now=0.1)
    assert [m.total for m in memories] == [40] * 6
    assert one.counters.queue_time.sum > 0


def test_a_full_kv_cache_preempts_the_youngest_and_loses_no_token() -> None:
    one = engine(kv_blocks=40, max_num_seqs=8)
    memories = submitted(one, 4, prompt=100, output=200)
    run(one)
    assert one.counters.preemptions > 0
    assert [m.total for m in memories] == [200] * 4
    assert one.free_blocks == 40
    assert one.counters.first_token.count == one.counters.e2e.count == 4


def test_an_abort_frees_its_place_at_any_moment() -> None:
    one = engine(max_num_seqs=2)
    requests = [request(output=1000, key=str(n)) for n in range(3)]
    for made, _ in requests:
        one.submit(made, 0.0)
    one.abort(requests[2][0])
    one.begin(0.0)
    one.abort(requests[0][0])
    one.finish(0.1)
    assert [len(memory.steps) for _, memory in requests] == [0, 1, 0]
    assert one.running == [requests[1][0]]
    one.abort(requests[1][0])
    one.abort(requests[1][0])
    assert (one.kv_usage, one.counters.finished["abort"]) == (0.0, 3)


def test_giving_up_tells_every_client() -> None:
    one = engine(max_num_seqs=2)
    memories = submitted(one, 4, output=1000)
    run(one, steps=3)
    one.abort_all("going down")
    assert [m.error for m in memories] == ["going down"] * 4
    assert run(one, now=9.0) == 9.0


@pytest.mark.parametrize(("batch", "tokens"), [(1, 8), (32, 256), (64, 512)])
def test_a_step_takes_what_the_table_says(batch: int, tokens: int) -> None:
    one = engine(table=(7,) * 65)
    submitted(one, batch, prompt=10, output=10_000)
    run(one, steps=2)
    assert one.begin(10.0) == pytest.approx((COSTS.verify.at(tokens) + COSTS.draft_ms(7, 7, batch)) / 1000)


def test_beyond_the_captured_graphs_a_step_falls_off_the_cliff() -> None:
    def step_seconds(capture_tokens: int | None) -> float:
        one = engine(capture_tokens=capture_tokens)
        submitted(one, 32, prompt=10, output=1000)
        run(one, steps=2)
        return one.begin(1.0) or 0.0

    assert step_seconds(255) == pytest.approx(step_seconds(256) + COSTS.cliff_ms / 1000)
    assert step_seconds(256) == step_seconds(None)


def test_a_smaller_k_makes_the_same_batch_faster() -> None:
    def step_seconds(k: int) -> float:
        one = engine(table=(k,) * 65)
        submitted(one, 48, prompt=10, output=1000)
        run(one, steps=2)
        return one.begin(1.0) or 0.0

    times = [step_seconds(k) for k in range(8)]
    assert times == sorted(times)
    assert times[7] > 1.3 * times[0]


def test_the_same_traffic_gives_the_same_result() -> None:
    def outcome() -> tuple[list[list[int]], float]:
        one = engine(max_num_seqs=8)
        memories = submitted(one, 30, output=90)
        return [m.steps for m in memories], run(one)

    assert outcome() == outcome()


def identities(counters: Counters) -> None:
    """What docs/engine-contract.md promises of the exact counters."""
    cells = counters.cells.values()
    assert [sum(c.accepted[count] for c in cells) for count in range(8)] == counters.accepted
    assert sum(c.generated_tokens for c in cells) == counters.generated_tokens
    assert sum(c.steps for c in cells) == counters.step_tokens.count
    assert sum(sum(c.accepted) * k for (k, _, _), c in counters.cells.items()) == counters.draft_tokens
    assert sum(c.seconds for c in cells) == pytest.approx(counters.busy_seconds)
    assert all(not any(c.accepted[k + 1 :]) for (k, _, _), c in counters.cells.items())
    reached = at_least(counters.accepted)
    assert reached == sorted(reached, reverse=True)
    assert sum(reached) == sum(index * drafts for index, drafts in enumerate(counters.accepted))


@settings(max_examples=40, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 600), st.integers(1, 60), st.booleans()), min_size=1, max_size=25
    ),
    k=st.integers(1, 7),
    seqs=st.integers(1, 8),
    blocks=st.integers(45, 120),
    budget=st.integers(16, 700),
)
def test_whatever_comes_and_goes_the_books_balance(
    arrivals: list[tuple[int, int, int, bool]], k: int, seqs: int, blocks: int, budget: int
) -> None:
    one = engine(k=k, max_num_seqs=seqs, kv_blocks=blocks, max_num_batched_tokens=budget)
    kept: list[tuple[int, Memory]] = []
    now = 0.0
    for number, (steps, prompt, output, leaves) in enumerate(arrivals):
        made, memory = request(prompt=prompt, output=output, key=str(number))
        one.submit(made, now)
        now = run(one, now, steps=steps)
        if leaves:
            one.abort(made)
        else:
            kept.append((output, memory))
    run(one, now)
    assert [memory.total for _, memory in kept] == [output for output, _ in kept]
    assert (one.free_blocks, one.running, len(one.waiting)) == (blocks, [], 0)
    identities(one.counters)
