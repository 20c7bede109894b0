"""`python -m loadtests.generator alone|master JOBFILE` and `... worker HOST PORT`: one generator process."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path

from locust.log import setup_logging

from loadtests.generator.job import Job
from loadtests.generator.roles import run_alone, run_master, run_worker
from loadtests.priority import ask_for_priority


def main(arguments: list[str]) -> None:
    setup_logging("WARNING")  # type: ignore[no-untyped-call]
    logging.getLogger("locust.runners").setLevel("ERROR")
    ask_for_priority()
    gc.collect()
    gc.freeze()  # what locust loaded stays; collections during the run need not walk over it
    match arguments:
        case ["alone", file]:
            run_alone(Job.read(Path(file)))
        case ["master", file]:
            run_master(Job.read(Path(file)))
        case ["worker", host, port]:
            run_worker(host, int(port))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
