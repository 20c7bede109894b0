"""For `locust -f` itself, with its own web UI, master and workers.

    SPECDEC_LOADTEST_PLAN=plan.yaml locust -f loadtests/locustfile.py MixedUser ArrivalUser --host http://...

With workers (`--master`, and `--worker` in processes of their own) each of them is told how many there are by
SPECDEC_LOADTEST_WORKERS=N, so that every request of the open loop is sent once. The model is the first that the server
lists, or SPECDEC_LOADTEST_MODEL; an API key is read from SPECDEC_LOADTEST_API_KEY.

Pick the user classes as with any locust file: `... MixedUser`, `... ChatUser AgentUser`, `... ArrivalUser`. Users
follow the plan's phases; records go to SPECDEC_LOADTEST_OUT (default `.`). `specdec loadtest run` does more:
twins, reports, conditions, a common start.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.generator.job import Job
from loadtests.generator.session import Session, listen
from loadtests.generator.users import (
    AgentUser,
    ArrivalUser,
    ChatUser,
    CodeUser,
    LongContextUser,
    MixedUser,
    PlanUser,
)
from loadtests.plan import Plan, load_plan
from loadtests.preflight import Access, served_model
from loadtests.records import json_line, requests_file

__all__ = ["AgentUser", "ArrivalUser", "ChatUser", "CodeUser", "LongContextUser", "MixedUser", "WholePlan"]

KEY_VARIABLE = "SPECDEC_LOADTEST_API_KEY"


def _plan() -> Plan:
    return load_plan(Path(os.environ.get("SPECDEC_LOADTEST_PLAN", "plan.yaml")))


class WholePlan(LoadTestShape):
    """As many users as the plan needs at once, until it is over; the users themselves keep to its phases."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._plan = _plan()

    def tick(self) -> tuple[int, float] | None:
        passed: float = self.get_run_time()  # type: ignore[no-untyped-call]
        if passed > self._plan.seconds + self._plan.drain_seconds:
            return None
        return self._plan.most_users + 1, 100.0


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, **_: Any) -> None:
    """A session per process that sends: its clock starts now, its records go to a file of its own."""
    if isinstance(environment.runner, MasterRunner):
        return
    plan = _plan()
    key = os.environ.get(KEY_VARIABLE)
    url = str(environment.host or "")
    job = Job(
        target="locust",
        url=url,
        model=served_model(url, os.environ.get("SPECDEC_LOADTEST_MODEL") or plan.model, Access(key)),
        plan=plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        folder=os.environ.get("SPECDEC_LOADTEST_OUT", "."),
        salt=secrets.token_hex(8),
        api_key_env=KEY_VARIABLE if key else None,
    )
    runner = environment.runner
    worker = runner if isinstance(runner, WorkerRunner) else None
    share, shares = (worker.worker_index, _workers()) if worker else (0, 1)
    PlanUser.session = Session(job, environment, share=share, shares=shares)
    PlanUser.session.start_at(time.time())
    records = requests_file(Path(job.folder), f"locust-{os.getpid()}").open("a", buffering=1)
    listen(environment, lambda record: records.writelines([json_line(record)]))


def _workers() -> int:
    return int(os.environ.get("SPECDEC_LOADTEST_WORKERS", "1"))
