"""What is lost, done twice or held up when a part of the service is killed while it works.

.venv/bin/python -m benchmarks.faults [--rounds 3] [--write]
.venv/bin/python -m benchmarks.faults --storm 600 --jobs 1000 [--seed 0] [--write]

Every part dies by SIGKILL in the middle of a job of 2 s, with three more waiting, first on a service of one process
with SQLite, then on an API and two worker machines with PostgreSQL and Redis. Processes, database and broker are real;
the library behind them is the tests' fake one, which writes down what it computes. `--write` puts the table into
docs/faults.md. The storm is in benchmarks/storm.py.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accounts import Account, shown
from benchmarks.scene import PATIENCE_S, Scene, cluster, embedded
from benchmarks.storm import storm
from tests.conftest import eventually

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
JOB_S = 2.0
BATCH = 4
HEADER = (
    "service", "killed", "goes on when", "seconds until then, median", "most", "jobs", "how they ended",
    "jobs by starts", "jobs by times computed", "lost", "doubled results",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A part, what it means to go on after its death, and a function that kills and returns when that is so."""

    part: str
    goes_on: str
    strike: Callable[[Scene, dict[str, Any]], None]
    jobs: int = BATCH


def child(scene: Scene, job: dict[str, Any]) -> None:
    """Kill the child that runs the job."""
    scene.kill_child(job["worker"])

    def at_work() -> bool:
        return any(w["name"] == job["worker"] and w["job"] not in (None, job["id"]) for w in scene.workers())

    eventually(at_work, bool, PATIENCE_S)


def service(scene: Scene, job: dict[str, Any]) -> None:
    """Kill API and supervisor in one, and start them again."""
    scene.api.kill()
    scene.api.start()
    runs_again(scene, job)


def machine(scene: Scene, job: dict[str, Any]) -> None:
    """Kill the machine that runs the job; another has to notice."""
    host = scene.cluster.host_of(job)
    host.kill()
    runs_again(scene, job)
    host.start()


def supervisor(scene: Scene, job: dict[str, Any]) -> None:
    """Kill the machine's processes that run the job, and start them again at once."""
    host = scene.cluster.host_of(job)
    host.kill()
    host.start()
    runs_again(scene, job)


def api(scene: Scene, _job: dict[str, Any]) -> None:
    """Kill the API, and start it again."""
    scene.api.kill()
    scene.api.start()


def broker(scene: Scene, _job: dict[str, Any]) -> None:
    """Kill Redis, which forgets everything, and submit a job for the machine that is idle."""
    assert scene.redis is not None
    scene.redis.kill()
    job_id = scene.submit(JOB_S)
    eventually(lambda: scene.job(job_id), lambda job: job.get("started_at") is not None, PATIENCE_S)
    scene.redis.start()


def database(scene: Scene, _job: dict[str, Any]) -> None:
    """Kill PostgreSQL, and start it again."""
    assert scene.postgres is not None
    scene.postgres.kill()
    scene.postgres.start()
    scene.submit(JOB_S)


def runs_again(scene: Scene, job: dict[str, Any]) -> None:
    """Return when the job was started once more."""
    eventually(lambda: scene.job(job["id"]).get("attempt", 0), lambda attempt: attempt > job["attempt"], PATIENCE_S)


EMBEDDED = (
    Fault("child", "the slot runs the next job", child),
    Fault("service process (API and supervisor)", "the job runs again; started at once", service),
)
CLUSTER = (
    Fault("child", "the slot runs the next job", child),
    Fault("worker machine", "the job runs on another", machine),
    Fault("supervisor, started at once", "the job runs again", supervisor),
    Fault("API, started at once", "it is ready", api),
    Fault("broker, with its contents", "a new job runs on the idle machine", broker, jobs=1),
    Fault("database, started at once", "a new job is accepted", database, jobs=1),
)


def rounds_of(scene: Scene, fault: Fault, count: int) -> tuple[list[float], Account]:
    """Seconds of every round, and the account of all their jobs."""
    taken: list[float] = []
    first = scene.submitted
    for _ in range(count):
        scene.settle()
        jobs = [scene.submit(JOB_S) for _ in range(fault.jobs)]
        job = eventually(partial(scene.job, jobs[0]), lambda job: job.get("progress"), PATIENCE_S)
        begun = time.monotonic()
        fault.strike(scene, job)
        taken.append(time.monotonic() - begun)
        scene.finish()
    return taken, scene.account(set(range(first, scene.submitted)))


def rows(count: int) -> Iterator[list[str]]:
    """The table's rows, as they are measured."""
    for name, open_, faults in (("one process", embedded, EMBEDDED), ("cluster", cluster, CLUSTER)):
        with tempfile.TemporaryDirectory() as folder, open_(Path(folder)) as scene:
            scene.prepare(JOB_S)
            for fault in faults:
                taken, found = rounds_of(scene, fault, count)
                yield row(name, fault, taken, found)


def row(name: str, fault: Fault, taken: list[float], found: Account) -> list[str]:
    """The figures as they are shown."""
    return [
        name,
        fault.part,
        fault.goes_on,
        f"{statistics.median(taken):.2f}",
        f"{max(taken):.2f}",
        str(found.outcomes.total()),
        shown(found.outcomes),
        shown(found.starts),
        shown(found.computed),
        str(found.lost),
        str(found.doubled),
    ]


def main() -> None:
    """Read the command line, measure, print, and write if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--storm", type=float, default=0, help="seconds of random kills instead")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    section = "storm" if options.storm else "faults"
    text = markdown(
        storm(options.storm, options.jobs, options.seed) if options.storm else [HEADER, *rows(options.rounds)]
    )
    print(text)
    if options.write:
        from benchmarks.paper_table import write  # brings torch along

        write(PAGE, section, dated("faults", text))


def dated(module: str, text: str) -> str:
    """The table below the command that made it."""
    command = " ".join(["python -m", f"benchmarks.{module}", *(word for word in sys.argv[1:] if word != "--write")])
    return f"`{command}`, {datetime.datetime.now(tz=datetime.UTC).date()}:\n\n{text}"


def markdown(table: list[Any]) -> str:
    """Rows of cells as a table, the first being the heading."""
    heading, *rest = table
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, ["---"] * len(heading), *rest))


if __name__ == "__main__":
    main()
