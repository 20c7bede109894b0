"""The tuner needs nothing but the pages: parsed as the operator parses them, they give the same decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from specdec.engine import page
from specdec.simulate import run, workloads
from specdec.simulate.suite import borrowed_costs
from specdec.simulate.tuned import EPOCH, Tuned, tuner
from specdec.simulate.world import build
from specdec.tuning import Decision, Prior, acceptance_profiles, estimated_costs, estimated_prior
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample

FIRST = (1, *(end + 1 for end in BATCH_BUCKET_ENDS[:-1]))
CLOSED = [f"{a}-{b}" if a < b else f"{b}" for a, b in zip(FIRST, BATCH_BUCKET_ENDS, strict=True)]
BUCKETS = (*CLOSED, f"{BATCH_BUCKET_ENDS[-1] + 1}+")


def exposition(sample: Sample) -> bytes:
    """`sample` as the text that its engine would have served."""
    return "\n".join(_lines(sample)).encode() + b"\n"


def _lines(sample: Sample) -> Iterator[str]:
    labels, stock = 'engine="0",model_name="m"', sample.stock
    counters = {
        "spec_decode_num_drafts_total": stock.drafts,
        "spec_decode_num_draft_tokens_total": stock.draft_tokens,
        "spec_decode_num_accepted_tokens_total": stock.accepted_tokens,
        "generation_tokens_total": stock.generated_tokens,
        "prompt_tokens_total": stock.prompt_tokens,
        "iteration_tokens_total_count": stock.engine_steps,
        "num_requests_running": 1.0,
    }
    for name, value in counters.items():
        yield f"vllm:{name}{{{labels}}} {value!r}"
    for position, value in enumerate(stock.accepted_per_position):
        yield f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{{labels},position="{position}"}} {value!r}'
    for cell in sample.cells:
        phase = "mixed" if cell.mixed else "decode"
        at = f'{labels},k="{cell.k}",batch="{BUCKETS[cell.bucket]}",phase="{phase}"'
        figures = {
            "steps": cell.steps,
            "step_seconds": cell.step_seconds,
            "step_requests": cell.requests,
            "step_prefill_tokens": cell.prefill_tokens,
            "drafts": cell.drafts,
            "generated_tokens": cell.generated_tokens,
        }
        for name, value in figures.items():
            yield f"specdec:{name}_total{{{at}}} {value!r}"
        for position, (verified, accepted) in enumerate(zip(cell.verified, cell.accepted, strict=True)):
            yield f'specdec:verified_tokens_total{{{at},position="{position}"}} {verified!r}'
            yield f'specdec:accepted_tokens_total{{{at},position="{position}"}} {accepted!r}'


def read(text: bytes, pod: str, incarnation: str, at: float) -> Sample:
    """What the operator's scraper makes of a page."""
    seen = page.parse(text)
    return Sample(pod, incarnation, at, seen.stock, seen.cells, seen.schedule_revision)


Recording = list[tuple[float, list[tuple[str, str, float, bytes]]]]


def test_a_recording_of_pages_is_all_that_the_tuner_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = replace(workloads.find("steady"), seconds=900.0, load=((0.0, 0.3),), balance=(1.0, 1.0), slower=(1, 1))
    world = build(workload, estimated_costs(), acceptance_profiles(packaged(ESTIMATED_PROFILES)))
    prior = Prior(borrowed_costs(), estimated_prior().acceptance)
    recording: Recording = []
    told: list[Decision | None] = []
    scraped = Tuned.scraped

    def recorded(self: Tuned, samples: list[Sample], seconds: float) -> Decision | None:
        pages = [(s.pod, s.incarnation, s.at, exposition(s)) for s in samples]
        recording.append((seconds, pages))
        told.append(scraped(self, [read(text, pod, inc, at) for pod, inc, at, text in pages], seconds))
        return told[-1]

    monkeypatch.setattr(Tuned, "scraped", recorded)
    run.Run(world, ("oracle", "constant-7", "specdec-live"), (3,), prior).go()
    monkeypatch.undo()
    alone = tuner(workload, prior, "specdec-live", 3, 7)
    for (seconds, pages), before in zip(recording, told, strict=True):
        samples = [read(text, pod, incarnation, at) for pod, incarnation, at, text in pages]
        assert alone.scraped(samples, seconds) == before
    decisions = [decision for decision in told if decision is not None]
    assert decisions
    assert decisions[0].at > EPOCH
    assert len({len(pages) for _, pages in recording}) == 1


def test_stock_and_exact_counters_tell_of_the_same_steps() -> None:
    """Also with short answers, where the batch moves much between two scrapes."""
    agents = replace(workloads.find("prefill"), seconds=600.0)
    prior = Prior(borrowed_costs(), estimated_prior().acceptance)
    profiles = acceptance_profiles(packaged(ESTIMATED_PROFILES))
    running = run.Run(build(agents, estimated_costs(), profiles), ("oracle", "specdec-live"), (1,), prior)
    running.go()
    for lane in range(agents.replicas):
        sample = running.counters.sample(lane, EPOCH, exact=True)
        latency = sample.stock.inter_token_latency
        assert latency is not None
        waited = sum(cell.step_seconds * cell.requests / cell.steps for cell in sample.cells)
        requests = sum(cell.requests for cell in sample.cells)
        assert latency.count == pytest.approx(requests)
        assert latency.sum_seconds == pytest.approx(waited, rel=0.03)
