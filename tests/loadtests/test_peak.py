"""The search for the peak against a server that can serve a known number of requests a second."""

from pathlib import Path

from loadtests.peak import Search, Trial, Trials, find_peak
from loadtests.plan import load_plan
from loadtests.records import Target
from loadtests.run import Options
from loadtests.stubbed import StubProcess
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
    seen: list[Trial] = []
    # the first token comes after 50 ms, the other 14 at 25 ms: 0.4 s in all
    with StubProcess("--ttft-ms", "50", "--step-ms", "25", "--seats", str(SEATS)) as stub:
        settings = Search(low=6, high=48, precision=0.5, trial_seconds=4)
        trials = Trials(load_plan(plan), Target("a", stub.url), tmp_path / "peak", Options(), settings)
        (tmp_path / "peak").mkdir()
        peak = find_peak(trials, seen.append)
    assert peak.rate is not None
    assert 0.6 * CAPACITY <= peak.rate <= 1.15 * CAPACITY
    assert seen[0].passed
    assert not seen[-1].passed or len(seen) > 2
    assert list(peak.trials) == seen
    assert (tmp_path / "peak" / "peak-a.json").exists()
