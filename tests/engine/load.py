"""Closed-loop load on a server from a few threads, and what its counters say about the time in between."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx

from tests.engine.servers import SERVED_NAME

SAMPLE: Final = re.compile(r"^([a-z_:]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')


class Engine(Protocol):
    """An engine behind a URL: a process beside the tests, or a pod. It serves SERVED_NAME."""

    @property
    def url(self) -> str: ...

    @property
    def http(self) -> httpx.Client: ...


@dataclass
class Outcome:
    """completed, failed: requests; failures: what the first few said."""

    completed: int = 0
    tokens: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def load(engine: Engine, concurrency: int, *, max_tokens: int = 48, prompt_tokens: int = 12) -> Iterator[Outcome]:
    """`concurrency` clients, each with one request under way at any time, until the block ends."""
    outcome, lock, stop = Outcome(), threading.Lock(), threading.Event()

    def client(seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=engine.url, timeout=120.0) as http:
            while not stop.is_set():
                prompt = [chance.randrange(10, 1000) for _ in range(prompt_tokens)]
                _one(http, prompt, max_tokens, outcome, lock)

    threads = [threading.Thread(target=client, args=(seed,), daemon=True) for seed in range(concurrency)]
    for thread in threads:
        thread.start()
    try:
        yield outcome
    finally:
        stop.set()
        for thread in threads:
            thread.join(120.0)


def _one(http: httpx.Client, prompt: list[int], max_tokens: int, outcome: Outcome, lock: threading.Lock) -> None:
    body = {"model": SERVED_NAME, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True}
    try:
        answer = http.post("/v1/completions", json=body)
        tokens = answer.json()["usage"]["completion_tokens"] if answer.status_code == httpx.codes.OK else 0
        failure = "" if tokens == max_tokens else f"{answer.status_code}: {answer.text[:200]}"
    except (httpx.HTTPError, KeyError, ValueError) as error:
        tokens, failure = 0, f"{type(error).__name__}: {error}"
    with lock:
        outcome.tokens += tokens
        outcome.completed += not failure
        if failure:
            outcome.failures.append(failure)


class Page:
    """One reading of /metrics. at: seconds, monotonic."""

    def __init__(self, text: str) -> None:
        self.at = time.monotonic()
        self.samples = [(n, dict(LABEL.findall(labels)), float(v)) for n, labels, v in SAMPLE.findall(text)]

    def total(self, name: str, **labels: str) -> float:
        """Sum over the samples of `name` that carry `labels`."""
        return sum(v for n, found, v in self.samples if n == name and _carries(found, labels))

    def values(self, name: str, label: str) -> dict[str, float]:
        """Totals of `name` by the value of `label`."""
        keys = {found[label] for n, found, _ in self.samples if n == name and label in found}
        return {key: self.total(name, **{label: key}) for key in sorted(keys)}


def _carries(found: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    return all(found.get(label) == value for label, value in wanted.items())


def page(engine: Engine) -> Page:
    return Page(engine.http.get("/metrics").text)


@dataclass(frozen=True)
class Between:
    """What happened between two pages."""

    before: Page
    after: Page

    def rise(self, name: str, **labels: str) -> float:
        return self.after.total(name, **labels) - self.before.total(name, **labels)

    @property
    def draft_tokens_per_draft(self) -> float:
        return self.rise("vllm:spec_decode_num_draft_tokens_total") / self.rise("vllm:spec_decode_num_drafts_total")

    @property
    def mean_k(self) -> float:
        """Draft tokens per draft; 0 where nothing was drafted."""
        drafts = self.rise("vllm:spec_decode_num_drafts_total")
        return self.draft_tokens_per_draft if drafts else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.rise("vllm:generation_tokens_total") / (self.after.at - self.before.at)
