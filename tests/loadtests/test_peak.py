"""The search for the peak against a server that can serve a known number of requests a second."""

from pathlib import Path

from loadtests.peak import Search, Trial
from loadtests.plan import load_plan
from loadtests.records import Target
from loadtests.run import Options
from loadtests.stubbed import StubProcess
from loadtests.trials import Trials, find_peaks
from tests.loadtests.plans import write_plan

SEATS, SECONDS_EACH = 4, 0.4
CAPACITY = SEATS / SECONDS_EACH
EXACT = {"style": "chat", "domain": "chat", "prompt": {"median": 20}, "output": {"median": 15, "spread": 0}}


def test_the_peak_is_where_the_server_is_full(tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path,
        {"name": "only", "seconds": 1, "load": {"rate": 1, "variation": 0.3}},
        scenarios={"chat": EXACT},
        objectives={"ttftMs": 350},
        drainSeconds=1,
    )
    seen: list[Trial | None] = []
    # the first token comes after 50 ms, the other 14 at 25 ms: 0.4 s in all
    with StubProcess("--ttft-ms", "50", "--step-ms", "25", "--seats", str(SEATS)) as stub:
        settings = Search(low=6, high=48, precision=0.5, trial_seconds=4)
        trials = Trials(load_plan(plan), Target("a", stub.url), tmp_path / "peak", Options(), settings)
        (peak,) = find_peaks(load_plan(plan), [trials], None, lambda *told: seen.extend(told[2:]))
    assert peak.rate is not None
    assert 0.6 * CAPACITY <= peak.rate <= 1.15 * CAPACITY
    assert peak.trials[0].passed
    assert not peak.trials[-1].passed or len(peak.trials) > 2
    assert seen == [told for trial in peak.trials for told in (None, trial)]
    assert (tmp_path / "peak" / "peak.json").exists()
