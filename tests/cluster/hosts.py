"""Several machines, as far as the service can tell: processes with a name and a data directory of their own each."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tests.conftest import ROOT, RunningService, eventually, fake_model
from tests.preloaded import Preloaded, environment_of

TERMS = {
    "lease_s": 2,
    "quick_s": 0,
    "sweep_s": 0.3,
    "worker_module": "tests.jobs.fake_worker",
    "devices": "cpu",
    "log_format": "text",
}


class Host:
    """A machine that only runs jobs: `lipserve worker` with its children."""

    def __init__(self, directory: Path, name: str, settings: dict[str, Any]) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        self._settings = TERMS | settings | {"host_name": name, "data_dir": directory / name}
        self._process: Preloaded | None = None

    def start(self) -> None:
        self._process = Preloaded("worker", self._log, self._settings)

    def rename(self, name: str) -> None:
        """Have later commands believe that this machine is another."""
        self._settings["host_name"] = name

    def check(self) -> int:
        """Exit status of `lipserve worker --check` on this machine."""
        command = [sys.executable, "-m", "app", "worker", "--check"]
        return subprocess.run(command, cwd=ROOT, env=environment_of(self._settings), check=False).returncode

    def kill(self) -> None:
        """What a power cut does to the machine: nobody says good-bye; the children go with their supervisor."""
        if self._process is not None:
            self._process.kill()

    def terminate(self) -> int:
        """Ask for a graceful end; the exit status."""
        assert self._process is not None
        self._process.signal(signal.SIGTERM)
        return self._process.wait(30)

    def log(self) -> str:
        return self._log.read_text()


@dataclass
class Cluster:
    """An API without workers, and two machines that run jobs."""

    api: RunningService
    hosts: list[Host]
    directory: Path

    def host_of(self, job: dict[str, Any]) -> Host:
        """The machine that runs the job, or ran it."""
        return next(host for host in self.hosts if job["worker"].startswith(f"{host.name}/"))

    def submit(self, count: int, **step: Any) -> tuple[list[str], Path]:
        """Jobs of one model, each of which writes its seed into the ledger when it ends."""
        ledger = self.directory / uuid.uuid4().hex
        model = self.api.upload(fake_model(analyze=step, ledger=str(ledger)))
        jobs = [self.api.client.post("/v1/jobs", json={"model": model, "seed": seed}) for seed in range(count)]
        assert {job.status_code for job in jobs} == {202}, jobs[0].text
        return [job.json()["id"] for job in jobs], ledger

    def job(self, job_id: str) -> dict[str, Any]:
        return self.api.client.get(f"/v1/jobs/{job_id}").json()

    def running(self, job_id: str, within_s: float = 20) -> dict[str, Any]:
        """The job once it runs and reports."""
        return eventually(
            lambda: self.job(job_id), lambda job: job["status"] == "running" and job["progress"], within_s
        )

    def all_succeed_once(self, jobs: list[str], ledger: Path, within_s: float = 60) -> list[dict[str, Any]]:
        """Every job, after none is lost and none was finished twice."""
        finished = [self.api.finished(job, within_s) for job in jobs]
        assert Counter(job["status"] for job in finished) == {"succeeded": len(jobs)}
        assert sorted(map(int, ledger.read_text().split())) == list(range(len(jobs)))
        return finished


@contextmanager
def running_cluster(directory: Path, **settings: Any) -> Iterator[Cluster]:
    """All of it, ended at the block's end."""
    settings = {"blob_url": directory / "shared", "poll_s": 30} | settings
    hosts = [Host(directory, name, settings) for name in ("first", "second")]
    api = RunningService(directory / "api", **TERMS | settings | {"local_workers": False, "host_name": "api"})
    try:
        for host in hosts:
            host.start()
        api.start()
        seen = "/v1/workers"
        eventually(lambda: api.client.get(seen).json()["workers"], lambda found: idle(found) == 4, within_s=60)
        yield Cluster(api, hosts, directory)
    finally:
        api.stop()
        for host in hosts:
            host.kill()


def seconds(moment: str) -> float:
    """A moment of the API's as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def wait_of(job: dict[str, Any]) -> float:
    """Seconds that a job spent in the queue."""
    return seconds(job["started_at"]) - seconds(job["created_at"])


def idle(workers: list[dict[str, Any]]) -> int:
    return sum(worker["state"] == "idle" for worker in workers)


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on that server."""
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    name = f"cluster_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        server.dispose()
