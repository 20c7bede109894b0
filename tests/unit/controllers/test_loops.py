"""One loop per resource: when it works, when it waits, and whom it leaves alone. Hours pass in no time here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from specdec.controllers.loops import LONGEST_PAUSE_SECONDS, SLOTS, Again, Loops
from specdec.kube.errors import NotLeading, Unavailable
from specdec.kube.kinds import Name
from tests.support.clock import in_no_time

ONE, OTHER = Name("default", "one"), Name("default", "other")


class Work:
    """Answers with `again`, or raises what `fails` gives; notes when it was called."""

    def __init__(self, again: Again | None = None, fails: Callable[[Name], Exception | None] = lambda _: None) -> None:
        self.again, self.fails = again or Again(), fails
        self.at: dict[Name, list[float]] = {}

    async def __call__(self, name: Name) -> Again:
        self.at.setdefault(name, []).append(asyncio.get_running_loop().time())
        if error := self.fails(name):
            raise error
        return self.again


def run(loops: Loops, seconds: float, *names: Name) -> None:
    async def main() -> None:
        loops.start()
        for name in names:
            loops.wake(name)
        await asyncio.sleep(seconds)
        loops.stop()
        await loops.stopped()

    in_no_time(main())


def test_a_resource_at_rest_is_looked_at_once() -> None:
    work = Work()
    run(Loops(work), 3600, ONE)
    assert len(work.at[ONE]) == 1


def test_a_resource_is_looked_at_when_it_asked_to_be() -> None:
    work = Work(Again(15.0))
    run(Loops(work), 61, ONE)
    assert work.at[ONE] == [0.0, 15.0, 30.0, 45.0, 60.0]


def test_failures_are_tried_again_ever_more_rarely_with_jitter() -> None:
    work = Work(fails=lambda _: ValueError("no"))
    run(Loops(work, chance=lambda: 1.0), 2000, ONE)
    pauses = [b - a for a, b in zip(work.at[ONE], work.at[ONE][1:], strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS, rel=0.02)
    assert len(work.at[ONE]) < 30


def test_the_server_may_ask_for_a_longer_pause() -> None:
    work = Work(fails=lambda _: Unavailable("later", retry_after_seconds=50.0))
    run(Loops(work, chance=lambda: 0.0), 49, ONE)
    assert len(work.at[ONE]) == 1


def test_a_bad_resource_does_not_hold_up_another() -> None:
    work = Work(Again(1.0), fails=lambda name: ValueError("no") if name == ONE else None)
    told: Counter[Name] = Counter()
    run(Loops(work, failed=lambda name, _: told.update([name])), 100, ONE, OTHER)
    assert len(work.at[OTHER]) == 100
    assert told.keys() == {ONE}


def test_changes_while_working_lead_to_one_more_pass() -> None:
    passes = 0
    loops: Loops

    async def work(name: Name) -> Again:
        nonlocal passes
        passes += 1
        if passes == 1:
            for _ in range(5):
                loops.wake(name)
        return Again()

    loops = Loops(work)
    run(loops, 10, ONE)
    assert passes == 2


def test_a_repair_ends_the_pause_after_a_failure() -> None:
    times: list[float] = []
    broken = True

    async def work(_: Name) -> Again:
        times.append(asyncio.get_running_loop().time())
        if broken:
            raise ValueError("no")
        return Again()

    async def main() -> None:
        nonlocal broken
        loops = Loops(work, chance=lambda: 1.0)
        loops.start()
        loops.wake(ONE)
        await asyncio.sleep(200)
        broken = False
        loops.wake(ONE)
        await asyncio.sleep(2)
        assert 200 <= times[-1] <= 201
        loops.stop()
        await loops.stopped()

    in_no_time(main())


def test_what_is_gone_has_no_loop_until_it_comes_again() -> None:
    work = Work(Again(gone=True))

    async def main() -> None:
        loops = Loops(work)
        loops.start()
        loops.wake(ONE)
        await asyncio.sleep(1)
        assert loops.known == 0
        loops.wake(ONE)
        await asyncio.sleep(1)
        assert len(work.at[ONE]) == 2
        loops.stop()
        await loops.stopped()

    in_no_time(main())


def test_nothing_is_worked_on_before_the_start_nor_after_the_stop() -> None:
    work = Work(Again(1.0))

    async def main() -> None:
        loops = Loops(work)
        loops.wake(ONE)
        await asyncio.sleep(10)
        assert not work.at
        loops.start()
        await asyncio.sleep(2.5)
        loops.stop()
        await loops.stopped()
        passes = len(work.at[ONE])
        loops.wake(ONE)
        await asyncio.sleep(10)
        assert len(work.at[ONE]) == passes == 3

    in_no_time(main())


def test_stopped_and_started_at_once_goes_on() -> None:
    work = Work(Again(1.0))

    async def main() -> None:
        loops = Loops(work)
        loops.start()
        loops.wake(ONE)
        await asyncio.sleep(2.5)
        loops.stop()
        loops.start()
        await asyncio.sleep(5)
        assert len(work.at[ONE]) >= 7
        loops.stop()
        await loops.stopped()

    in_no_time(main())


def test_after_a_late_renewal_of_the_lease_a_loop_goes_on_soon_and_quietly() -> None:
    late = [NotLeading("no lease")]
    work = Work(fails=lambda _: late.pop() if late else None)
    told: list[Name] = []
    run(Loops(work, failed=lambda name, _: told.append(name)), 10, ONE)
    assert len(work.at[ONE]) == 2
    assert not told


def test_a_thousand_resources_share_the_slots() -> None:
    working = most = 0

    async def work(_: Name) -> Again:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.01)
        working -= 1
        return Again()

    run(Loops(work), 60, *(Name("default", str(number)) for number in range(1000)))
    assert most == SLOTS


@pytest.mark.parametrize(
    ("asked", "within", "seconds"), [(None, None, None), (15.0, None, 15.0), (None, 60.0, 60.0), (15.0, 60.0, 15.0)]
)
def test_the_earlier_of_two_reasons_to_look_again_counts(
    asked: float | None, within: float | None, seconds: float | None
) -> None:
    assert Again(asked).within(within).seconds == seconds
