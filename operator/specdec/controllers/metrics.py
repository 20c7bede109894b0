"""The operator's own metrics, in the Prometheus format."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from specdec import __version__, tuning
from specdec.controllers.accepting import PENDING, VERDICTS
from specdec.controllers.checkpoint import Checkpoint
from specdec.engine.errors import EngineUnavailable, EngineUnreachable, Unauthorized
from specdec.engine.scrape import ScrapeReason
from specdec.kube.kinds import Name

PREFIX: Final = "specdec_operator"
OF_RESOURCE: Final = ("namespace", "name")
PASS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15)


@dataclass(slots=True, eq=False)
class Conditions(Collector):
    """A series for each condition, made when it is asked for: ten gauges per resource would take 8 KiB of memory."""

    _stands: dict[Name, tuple[str, ...]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def stand(self, name: Name, entries: Sequence[Mapping[str, Any]]) -> None:
        """The resource has just these conditions."""
        now = tuple(sys.intern(entry[key]) for entry in entries for key in ("type", "status", "reason"))
        with self._lock:
            if not now:
                self._stands.pop(name, None)
            elif self._stands.get(name) != now:
                self._stands[name] = now

    def clear(self) -> None:
        """None of any resource."""
        with self._lock:
            self._stands.clear()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """What it is, without its series."""
        labels = (*OF_RESOURCE, "type", "status", "reason")
        yield GaugeMetricFamily(f"{PREFIX}_condition", "1 for each condition as it stands.", labels=labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called from the thread that answers for the metrics."""
        (family,) = self.describe()
        with self._lock:
            stands = list(self._stands.items())
        for name, words in stands:
            for at in range(0, len(words), 3):
                family.add_metric((name.namespace, name.name, *words[at : at + 3]), 1.0)
        yield family


@dataclass(slots=True)
class Metrics:
    """Every figure the operator tells of itself and of what it tunes. Series of a resource vanish with it."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    passes: Histogram = field(init=False)
    failures: Counter = field(init=False)
    requests: Histogram = field(init=False)
    requests_total: Counter = field(init=False)
    leading: Gauge = field(init=False)
    resources: Gauge = field(init=False)
    k_in_force: Gauge = field(init=False)
    schedule_revision: Gauge = field(init=False)
    accepted_length: Gauge = field(init=False)
    tokens_per_second: Gauge = field(init=False)
    gain_percent: Gauge = field(init=False)
    switchback_gain: Gauge = field(init=False)
    switchback_pairs: Gauge = field(init=False)
    decisions: Counter = field(init=False)
    holds: Counter = field(init=False)
    verdicts: Counter = field(init=False)
    scrape_failures: Counter = field(init=False)
    live_failures: Counter = field(init=False)
    conditions: Conditions = field(init=False)

    def __post_init__(self) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...] = OF_RESOURCE) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, (*OF_RESOURCE, *labels), registry=self.registry)

        def seconds(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)

        Gauge(f"{PREFIX}_build_info", "Always 1.", ("version",), registry=self.registry).labels(__version__).set(1)
        self.passes = seconds("reconcile_seconds", "Duration of one pass over one resource.", PASS_SECONDS)
        self.failures = counter("reconcile_failures", "Passes that failed, by error.", "error")
        self.requests = seconds("api_request_seconds", "Requests to the API server.", REQUEST_SECONDS, "verb")
        self.requests_total = Counter(
            f"{PREFIX}_api_requests",
            "Requests to the API server; code 0: no answer.",
            ("verb", "code"),
            registry=self.registry,
        )
        self.leading = gauge("leading", "1 while this replica acts.", ())
        self.resources = gauge("resources", "SpeculativeDeployments that have a loop.", ())
        self.k_in_force = gauge("num_speculative_tokens", "K in force at the present batch size; 0: off.")
        self.schedule_revision = gauge("decision_revision", "Revision of the accepted decision.")
        self.accepted_length = gauge("mean_accepted_length", "Tokens per draft, the bonus token included.")
        self.tokens_per_second = gauge("tokens_per_second", "Generated tokens of all pods, per second.")
        self.gain_percent = gauge("gain_percent", "Tokens per second over the untuned start value, percent; estimated.")
        self.switchback_pairs = gauge("switchback_pairs", "Pairs of an untuned and a tuned time, compared.")
        self.switchback_gain = gauge(
            "switchback_gain_percent",
            "Tokens per second of tuned over untuned times, percent; measured, with its 90 % interval.",
            (*OF_RESOURCE, "bound"),
        )
        self.decisions = counter("decisions", "Decisions acted on, by kind and reason.", "kind", "reason")
        self.holds = counter("holds", "Ticks that ended in a hold, by reason.", "reason")
        self.verdicts = counter("verdicts", "Moves judged, by verdict.", "verdict")
        self.scrape_failures = counter("scrape_failures", "Metrics pages not read, by reason.", "reason")
        self.conditions = Conditions()
        self.registry.register(self.conditions)
        self.live_failures = counter("live_failures", "Exchanges with the live endpoint that failed.", "error")

    def request(self, verb: str, code: int, seconds: float) -> None:
        """Observer of `kube.client`."""
        self.requests.labels(verb).observe(seconds)
        self.requests_total.labels(verb, str(code)).inc()

    def tuned(self, name: Name, checkpoint: Checkpoint, summary: tuning.Summary) -> None:
        """The gauges of one resource after a tick."""
        labels, batch = (name.namespace, name.name), max(round(summary.batch or 1.0), 1)
        self.k_in_force.labels(*labels).set(summary.schedule.k_at(batch))
        if checkpoint.accepted is not None:
            self.schedule_revision.labels(*labels).set(checkpoint.accepted.revision)
        gain = summary.gain_over_untuned
        figures = (
            (self.accepted_length, summary.mean_accepted_length),
            (self.tokens_per_second, summary.tokens_per_second),
            (self.gain_percent, None if gain is None else gain.mean_percent),
        )
        for gauge, value in figures:
            if value is not None:
                gauge.labels(*labels).set(value)
            else:
                gauge.remove(*labels)
        self._switched_back(name, summary.pairs)

    def _switched_back(self, name: Name, pairs: tuning.Pairs | None) -> None:
        gain = None if pairs is None else pairs.gain()
        labels = {"namespace": name.namespace, "name": name.name}
        if pairs is None:
            self.switchback_pairs.remove_by_labels(labels)
        else:
            self.switchback_pairs.labels(**labels).set(pairs.seen.count)
        if gain is None:
            self.switchback_gain.remove_by_labels(labels)
            return
        for bound in ("mean", "lower", "upper"):
            self.switchback_gain.labels(**labels, bound=bound).set(getattr(gain, f"{bound}_percent"))

    def taken_up(self, name: Name) -> None:
        """Begin the counters that alerts and panels look at: one that appears as 1 hides its first event from them."""
        labels = (name.namespace, name.name)
        for reason in (tuning.Reason.DID_NOT_DELIVER, tuning.Reason.SWITCHBACK_REFUTED):
            self.decisions.labels(*labels, tuning.Kind.TAKE_BACK.value, reason.value)
        for verdict in VERDICTS.values():
            self.verdicts.labels(*labels, verdict)
        for failure in ScrapeReason:
            self.scrape_failures.labels(*labels, failure.value)
        for error in (EngineUnreachable, EngineUnavailable, Unauthorized):
            self.live_failures.labels(*labels, error.__name__)

    def judged(self, name: Name, before: Checkpoint, after: Checkpoint) -> None:
        """Count the moves of the history that were pending in `before` and have a verdict in `after`."""
        pending = {entry.at for entry in before.history if entry.verdict == PENDING}
        for entry in after.history:
            if entry.at in pending and entry.verdict is not None and entry.verdict != PENDING:
                self.verdicts.labels(name.namespace, name.name, entry.verdict).inc()

    def stands(self, name: Name, resource: Mapping[str, Any] | None) -> None:
        """One series for each condition of the resource as it is stored, none when it is gone."""
        self.conditions.stand(name, ((resource or {}).get("status") or {}).get("conditions") or ())

    def forget(self, name: Name) -> None:
        """Drop the series of a resource that is gone."""
        self.stands(name, None)
        for metric in (*self._gauges, *self._counters):
            metric.remove_by_labels({"namespace": name.namespace, "name": name.name})

    def forget_all(self) -> None:
        """Drop the series of all resources: another replica tells of them now."""
        self.conditions.clear()
        for metric in (*self._gauges, *self._counters):
            metric.clear()

    @property
    def _gauges(self) -> tuple[Gauge, ...]:
        return (
            self.k_in_force,
            self.schedule_revision,
            self.accepted_length,
            self.tokens_per_second,
            self.gain_percent,
            self.switchback_gain,
            self.switchback_pairs,
        )

    @property
    def _counters(self) -> tuple[Counter, ...]:
        return (
            self.failures,
            self.decisions,
            self.holds,
            self.verdicts,
            self.scrape_failures,
            self.live_failures,
        )

    @property
    def leads(self) -> bool:
        return bool(self.leading._value.get())

    def serve(self, port: int) -> None:
        """Answer on `port` from a thread, so that a busy loop still shows its figures."""
        start_http_server(port, registry=self.registry)
