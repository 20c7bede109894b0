"""Locust user classes: closed-loop users wait for each answer before they ask again, the arrival user only for time."""

from __future__ import annotations

from typing import ClassVar

import gevent
from gevent.pool import Pool
from locust import User, task

from loadtests.generator.session import Session
from loadtests.sequence import PlannedRequest, closed_loop, open_loop


class PlanUser(User):
    """A user that follows the plan of `session`, which must be set before users start."""

    abstract = True
    session: ClassVar[Session]

    def rest(self) -> None:
        """Nothing more to do: wait to be stopped."""
        while True:
            gevent.sleep(60)


class MixedUser(PlanUser):
    """Closed loop: takes part in the phases that want that many users, with their mix unless the class has its own."""

    mix: ClassVar[dict[str, float] | None] = None

    @task
    def follow_plan(self) -> None:
        number = self.session.next_user()
        starts = self.session.plan.starts()
        for index, phase in enumerate(self.session.plan.phases):
            if (phase.load.users or 0) > number:
                self.session.wait_until(starts[index])
                self._ask(number, index, starts[index] + phase.seconds, phase.load.think_seconds)
        self.rest()

    def _ask(self, number: int, phase: int, until: float, think_seconds: float) -> None:
        for request in closed_loop(self.session.plan, number, phase, self.mix):
            if self.session.now() >= until:
                return
            record = self.session.send(request, self.session.prepare(request))
            # a server that is down refuses within microseconds: do not turn that into a busy loop
            gevent.sleep(max(think_seconds, 0.2 if record.failure else 0.0))


class ChatUser(MixedUser):
    mix = {"chat": 1.0}  # noqa: RUF012 - locust reads it from the class


class CodeUser(MixedUser):
    mix = {"code": 1.0}  # noqa: RUF012


class LongContextUser(MixedUser):
    mix = {"longContext": 1.0}  # noqa: RUF012


class AgentUser(MixedUser):
    mix = {"agent": 1.0}  # noqa: RUF012


class ArrivalUser(PlanUser):
    """Open loop: sends each planned request at its moment, however long the answers take. One per process."""

    fixed_count = 1

    @task
    def follow_plan(self) -> None:
        pool = Pool()
        try:
            for request in open_loop(self.session.plan)[self.session.share :: self.session.shares]:
                self._send(pool, request)
            self.rest()
        finally:
            pool.kill(block=True, timeout=5)

    def _send(self, pool: Pool, request: PlannedRequest) -> None:
        assert request.at_seconds is not None
        content = self.session.prepare(request)
        self.session.wait_until(request.at_seconds)
        if len(pool) >= max(1, self.session.plan.max_in_flight // self.session.shares):
            self.session.refuse(request)
        else:
            pool.spawn(self.session.send, request, content)
