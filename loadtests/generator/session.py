"""One generator's run against one target: its clock, its client, and what became of each request."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import gevent
from locust.env import Environment

from loadtests.failures import Kind, RequestError
from loadtests.generator.client import StreamClient
from loadtests.generator.job import Job, Progress
from loadtests.generator.punctuality import Punctuality
from loadtests.prompts import body
from loadtests.records import RequestRecord
from loadtests.sequence import PlannedRequest
from loadtests.stream import Measured

DOMAIN_HEADER: Final = "X-Specdec-Domain"
_DIGITS: Final = 3


class Session:
    """share, shares: this process sends every `shares`-th request of the open loop, beginning with number `share`."""

    def __init__(self, job: Job, environment: Environment, *, share: int = 0, shares: int = 1) -> None:
        self.job = job
        self.plan = job.parsed_plan()
        self.share, self.shares = share, shares
        self.punctuality = Punctuality(self.plan.late_ms)
        self.in_flight = 0
        self._sent = self._done = self._failed = self._tokens = self._missed = 0
        self._environment = environment
        self._zero = 0.0
        self._numbers = count()
        self._route = "chat/completions" if self.plan.api == "chat" else "completions"
        self._client = StreamClient(
            job.url,
            api_key=os.environ.get(job.api_key_env) if job.api_key_env else None,
            timeout_seconds=self.plan.timeout_seconds,
            connections=self.plan.max_in_flight + self.plan.most_users,
            ca_file=job.ca_file,
            insecure=job.insecure,
        )

    def start_at(self, unix_seconds: float) -> None:
        """Second 0 of the plan is at this wall-clock time, the same for all targets and workers."""
        self._zero = time.perf_counter() + (unix_seconds - time.time())

    def now(self) -> float:
        """Seconds since the start of the plan, negative before."""
        return time.perf_counter() - self._zero

    def wait_until(self, seconds: float) -> None:
        gevent.sleep(max(0.0, seconds - self.now()))

    def next_user(self) -> int:
        """A number for a closed-loop user that no user of any worker shares."""
        return next(self._numbers) * self.shares + self.share

    def prepare(self, request: PlannedRequest) -> bytes:
        """The request's body. Long prompts take milliseconds to make: do it before the moment to send."""
        return json.dumps(body(self.plan, request, self.job.model, self.job.salt)).encode()

    def send(self, request: PlannedRequest, content: bytes) -> RequestRecord:
        """Send, wait for the end, record. Never raises but for being stopped, which is recorded too."""
        self.in_flight += 1
        self._sent += 1
        at = self.now()
        if request.at_seconds is not None:
            self.punctuality.sent((at - request.at_seconds) * 1e3)
        try:
            record = self._attempt(request, content, at)
        except gevent.GreenletExit:
            self._finished(self._record(request, at, _failed(Kind.UNFINISHED, "stopped at the end of the run", None)))
            raise
        finally:
            self.in_flight -= 1
        self._finished(record)
        return record

    def refuse(self, request: PlannedRequest) -> None:
        """Count a request that could not be sent because too many are under way."""
        self._sent += 1
        detail = f"{self.in_flight} requests in flight"
        self._finished(self._record(request, self.now(), _failed(Kind.NOT_SENT, detail, None)))

    def progress(self) -> Progress:
        late = round(self.punctuality.late_share, 5)
        return Progress(round(self.now(), 1), self._sent, self._done, self._failed, self._tokens, late, self._missed)

    def _attempt(self, request: PlannedRequest, content: bytes, at: float) -> RequestRecord:
        try:
            measured = self._client.stream(self._route, content, {DOMAIN_HEADER: request.domain})
        except RequestError as error:
            return self._record(request, at, _failed(error.kind, error.detail, error.status))
        return self._record(request, at, _succeeded(measured))

    def _record(self, request: PlannedRequest, at: float, outcome: dict[str, Any]) -> RequestRecord:
        planned = request.at_seconds
        return RequestRecord(
            key=request.key,
            phase=self.plan.phases[request.phase].name,
            scenario=request.scenario,
            domain=request.domain,
            at=round(at, 4),
            lag_ms=0.0 if planned is None else round((at - planned) * 1e3, _DIGITS),
            warmup=(at if planned is None else planned) < self.plan.warmup_seconds,
            **outcome,
        )

    def _is_good(self, record: RequestRecord) -> bool:
        times = {"ttft_ms": record.ttft_ms, "tpot_ms": record.tpot_ms, "e2el_ms": record.e2el_ms}
        return record.failure is None and self.plan.objectives.met_by(**times)

    def _finished(self, record: RequestRecord) -> None:
        self._done += 1
        self._failed += record.failure is not None
        self._missed += not record.warmup and not self._is_good(record)
        self._tokens += record.output_tokens or 0
        self._environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="STREAM",
            name=record.scenario,
            response_time=record.e2el_ms or 0.0,
            response_length=record.output_tokens or 0,
            exception=None if record.failure is None else RequestError(Kind(record.failure), record.detail or ""),
            context={"record": record},
        )


def listen(environment: Environment, take: Callable[[RequestRecord], None]) -> None:
    """Hand each record that goes through locust's request event to `take`."""

    def on_request(context: dict[str, Any], **_: object) -> None:
        take(context["record"])

    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]


def _failed(kind: Kind, detail: str, status: int | None) -> dict[str, Any]:
    return {"failure": str(kind), "detail": detail, "status": status}


def _succeeded(measured: Measured) -> dict[str, Any]:
    return {
        "ttft_ms": round(measured.ttft_ms, _DIGITS),
        "tpot_ms": None if measured.tpot_ms is None else round(measured.tpot_ms, _DIGITS),
        "e2el_ms": round(measured.e2el_ms, _DIGITS),
        "itl_ms": tuple(round(gap, 2) for gap in measured.itl_ms),
        "prompt_tokens": measured.prompt_tokens,
        "output_tokens": measured.output_tokens,
        "chunk_tokens": measured.chunk_tokens,
    }
