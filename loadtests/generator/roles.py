"""The three ways to generate: alone, as the master of several workers, as one of the workers."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

import gevent
import gevent.fileobject
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.generator.job import DONE, GO, PROGRESS, READY, Job, Progress
from loadtests.generator.session import Session, listen
from loadtests.generator.users import ArrivalUser, MixedUser, PlanUser
from loadtests.records import GeneratorReport, RequestRecord, json_line, requests_file, write_json

CLOSED: Final = MixedUser
WORKERS_SECONDS: Final = 300.0
_USERS: Final[list[type[PlanUser]]] = [MixedUser, ArrivalUser]


def say(kind: str, **content: object) -> None:
    """One JSON line to the process that started this one."""
    print(json.dumps({"kind": kind, **content}), flush=True)


def run_alone(job: Job) -> None:
    """Generate in this process; records go to the run folder. Starts when told to on standard input."""
    environment = _environment(1)
    session = Session(job, environment)
    PlanUser.session = session
    with requests_file(Path(job.folder), job.target).open("a") as file:
        listen(environment, lambda record: _write(file, record))
        runner = environment.create_local_runner()
        say(READY)
        session.start_at(_told_start())
        session.wait_until(0.0)
        heart = gevent.spawn(session.punctuality.beat)
        _start(runner, session, 1)
        _follow(session, file)
        heart.kill()
        runner.quit()
    _finish(job, session.punctuality.report())


def _environment(workers: int) -> Environment:
    ArrivalUser.fixed_count = workers
    return Environment(user_classes=list(_USERS), catch_exceptions=True, reset_stats=False)


def _start(runner: Runner, session: Session, workers: int) -> None:
    users = session.plan.most_users + workers
    runner.start(users, spawn_rate=max(users, 100))


def _follow(session: Session, file: TextIO) -> None:
    """Report once a second until the plan is over and all answers are in, or the drain time has passed."""
    parent = os.getppid()
    end = session.plan.seconds
    while session.now() < end or (session.in_flight and session.now() < end + session.plan.drain_seconds):
        gevent.sleep(min(1.0, max(0.02, end - session.now())))
        file.flush()
        say(PROGRESS, **asdict(session.progress()))
        if os.getppid() != parent:
            sys.exit("the process that started this generator is gone")


def _write(file: TextIO, record: RequestRecord) -> None:
    file.write(json_line(record))


def _told_start() -> float:
    """Unix time of second 0, from standard input."""
    line = gevent.fileobject.FileObject(sys.stdin, "r").readline()
    word, _, moment = line.strip().partition(" ")
    if word != GO:
        sys.exit("told to stop before the start")
    return float(moment)


def _finish(job: Job, report: GeneratorReport) -> None:
    write_json(Path(job.folder) / f"generator-{job.target}.json", asdict(report))
    say(DONE)


def run_master(job: Job) -> None:
    """Wait for the workers, tell them the plan and the start, and write what they send."""
    environment = _environment(job.expect_workers)
    runner = environment.create_master_runner("*", job.bind_port)
    gathered = _Gathered(job)
    runner.register_message("specdec_records", gathered.take)
    _await_workers(runner, job)
    say(READY)
    start = _told_start()
    for client_id in list(runner.clients):
        share = runner.get_worker_index(client_id)  # type: ignore[no-untyped-call]
        told = {"job": asdict(job), "start": start, "share": share, "shares": job.expect_workers}
        runner.send_message("specdec_job", told, client_id=client_id)
    PlanUser.session = Session(job, environment)  # the master sends nothing, but it counts the users
    PlanUser.session.start_at(start)
    gevent.sleep(1)  # let the job reach the workers before their users
    _start(runner, PlanUser.session, job.expect_workers)
    gathered.follow(PlanUser.session)
    runner.quit()
    gathered.close()
    _finish(job, gathered.report())


def _await_workers(runner: MasterRunner, job: Job) -> None:
    end = time.monotonic() + WORKERS_SECONDS
    while len(runner.clients.ready) < job.expect_workers:
        if time.monotonic() > end:
            sys.exit(
                f"only {len(runner.clients.ready)} of {job.expect_workers} workers came within {WORKERS_SECONDS:g} s"
            )
        gevent.sleep(0.2)


class _Gathered:
    """What the workers of one run sent."""

    def __init__(self, job: Job) -> None:
        self._file = requests_file(Path(job.folder), job.target).open("a")
        self._progress: dict[int, Progress] = {}
        self._reports: dict[int, GeneratorReport] = {}
        self._expected = job.expect_workers

    def take(self, msg: Any, **_: object) -> None:
        self._file.writelines(msg.data["lines"])
        self._progress[msg.data["share"]] = Progress(**msg.data["progress"])
        if msg.data["report"]:
            self._reports[msg.data["share"]] = GeneratorReport(**msg.data["report"])

    def follow(self, session: Session) -> None:
        end = session.plan.seconds + session.plan.drain_seconds + 15
        while len(self._reports) < self._expected and session.now() < end:
            gevent.sleep(1)
            self._file.flush()
            seen = list(self._progress.values())
            total = Progress(
                t=round(session.now(), 1),
                sent=sum(p.sent for p in seen),
                done=sum(p.done for p in seen),
                failed=sum(p.failed for p in seen),
                output_tokens=sum(p.output_tokens for p in seen),
                late_share=max((p.late_share for p in seen), default=0.0),
                missed=sum(p.missed for p in seen),
            )
            say(PROGRESS, **asdict(total))

    def close(self) -> None:
        self._file.close()

    def report(self) -> GeneratorReport:
        """Sums over the workers; a worker that never reported leaves its beats missing, so all count as late."""
        reports = list(self._reports.values())
        lost = self._expected - len(reports)
        names = ("sends", "late_sends", "cpu_seconds", "memory_mib")
        return GeneratorReport(
            beats=sum(r.beats for r in reports) + lost,
            late_beats=sum(r.late_beats for r in reports) + lost,
            worst_ms=max((r.worst_ms for r in reports), default=0.0),
            seconds=max((r.seconds for r in reports), default=0.0),
            **{name: sum(getattr(r, name) for r in reports) for name in names},
        )


def run_worker(master_host: str, master_port: int) -> None:
    """Serve one run of a master, then end."""
    environment = _environment(1)
    runner = environment.create_worker_runner(master_host, master_port)
    told: gevent.event.AsyncResult[dict[str, Any]] = gevent.event.AsyncResult()

    def on_job(msg: Any, **_: object) -> None:
        content = msg.data
        job = Job(**content["job"])
        session = Session(job, environment, share=content["share"], shares=content["shares"])
        session.start_at(content["start"])
        PlanUser.session = session
        told.set(content)

    runner.register_message("specdec_job", on_job)
    print(f"waiting for a run of the leader at {master_host}:{master_port}", flush=True)
    try:
        told.get(timeout=WORKERS_SECONDS * 2)
    except gevent.Timeout:
        sys.exit(f"error: no run came from {master_host}:{master_port} within {WORKERS_SECONDS * 2:g} s; is it there?")
    _work(runner, environment)


def _work(runner: WorkerRunner, environment: Environment) -> None:
    session = PlanUser.session
    lines: list[str] = []
    listen(environment, lambda record: lines.append(json_line(record)))
    heart = gevent.spawn(session.punctuality.beat)
    end = session.plan.seconds

    def deliver(report: GeneratorReport | None) -> None:
        content = {"lines": lines[:], "progress": asdict(session.progress()), "share": session.share}
        lines.clear()
        runner.send_message("specdec_records", content | {"report": asdict(report) if report else None})

    while session.now() < end or (session.in_flight and session.now() < end + session.plan.drain_seconds):
        gevent.sleep(min(1.0, max(0.02, end - session.now())))
        deliver(None)
    heart.kill()
    runner.stop()
    deliver(session.punctuality.report())
    gevent.sleep(1)
    runner.quit()
