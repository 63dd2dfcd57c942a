"""A service at work whose parts can be killed: this machine's service on SQLite, or two worker machines and an API."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from app.settings import Settings
from benchmarks.accounts import Account, account
from tests.cluster.hosts import Cluster, running_cluster
from tests.conftest import RunningService, eventually, fake_model
from tests.servers import Server, private_postgres, private_redis

TERMS: dict[str, Any] = {
    "lease_s": 6,
    "sweep_s": 2,
    "poll_s": 1,
    "worker_module": "tests.jobs.fake_worker",
    "devices": "cpu",
    "log_format": "json",
}
"""The defaults but for the lease, which is 30 s by default, one CPU slot a machine, and the tests' fake library."""
PATIENCE_S = 120.0


class Part(Protocol):
    """What can be killed and started again."""

    def kill(self) -> None:
        """Without warning."""

    def start(self) -> None:
        """Return when it is there."""


@dataclass
class Scene:
    """What runs, and the submissions made to it. Each has a seed of its own, which its job writes into the ledger."""

    cluster: Cluster
    database_url: str
    ledger: Path
    postgres: Server | None = None
    redis: Server | None = None
    models: dict[float, str] = field(default_factory=dict)
    submitted: int = 0

    @property
    def api(self) -> RunningService:
        """The process that answers requests."""
        return self.cluster.api

    def prepare(self, seconds: float) -> None:
        """Upload the model whose analysis sleeps for so long."""
        step = {"do": "sleep", "seconds": seconds}
        self.models[seconds] = self.api.upload(fake_model(analyze=step, ledger=str(self.ledger)))

    def submit(self, seconds: float) -> str:
        """The id of a new job, once the service has accepted it: asked again, under one key, until it has."""
        seed, self.submitted = self.submitted, self.submitted + 1
        body, headers = {"model": self.models[seconds], "seed": seed}, {"Idempotency-Key": f"seed-{seed}"}

        def ask() -> httpx.Response | None:
            try:
                return httpx.post(f"{self.api.url}/v1/jobs", json=body, headers=headers, timeout=30)
            except httpx.TransportError:
                return None

        answer = eventually(ask, lambda answer: answer is not None and answer.is_success, PATIENCE_S, every_s=0.05)
        return str(answer.json()["id"])

    def ask(self, path: str) -> dict[str, Any]:
        """What the API answers; nothing while it does not."""
        try:
            answer = self.api.client.get(path)
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.is_success else {}

    def job(self, job_id: str) -> dict[str, Any]:
        """The job, empty while the API does not answer."""
        return self.ask(f"/v1/jobs/{job_id}")

    def workers(self) -> list[dict[str, Any]]:
        """The slots for analyses, as far as the API tells."""
        found = self.ask("/v1/workers").get("workers", [])
        return [worker for worker in found if "analyze" in worker["kinds"]]

    def kill_child(self, name: str) -> None:
        """Kill the child of the slot with that name, if it has one."""
        pid = next((worker["pid"] for worker in self.workers() if worker["name"] == name), None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        """Kill every process of the service, and start them again."""
        parts: list[Part] = [*self.cluster.hosts, self.api]
        for part in parts:
            part.kill()
        for part in parts:
            part.start()

    def settle(self) -> None:
        """Return when every slot for analyses is idle."""
        slots = max(1, len(self.cluster.hosts))
        eventually(self.workers, lambda found: [w["state"] for w in found] == ["idle"] * slots, PATIENCE_S, every_s=0.1)

    def finish(self) -> None:
        """Return when every submission's job is over, or when that has taken far too long: those are lost."""
        deadline = time.monotonic() + PATIENCE_S
        while self.account(set(range(self.submitted))).lost and time.monotonic() < deadline:
            time.sleep(0.2)

    def account(self, seeds: set[int]) -> Account:
        """What became of those submissions."""
        return account(self.database_url, seeds, self.ledger)


@contextmanager
def embedded(directory: Path, **settings: Any) -> Iterator[Scene]:
    """One process with API, supervisor and SQLite, and its children."""
    service = RunningService(directory / "data", **TERMS | settings)
    try:
        service.start()
        url = Settings(data_dir=directory / "data").sqlalchemy_url()
        yield Scene(Cluster(service, [], directory), url, directory / "ledger")
    finally:
        service.stop()


@contextmanager
def cluster(directory: Path, **settings: Any) -> Iterator[Scene]:
    """An API and two worker machines, with PostgreSQL and Redis of their own."""
    with private_postgres() as postgres, private_redis() as redis:
        places = {"dispatcher": "celery", "broker_url": redis.url, "database_url": postgres.url}
        with running_cluster(directory, **TERMS | places | settings) as running:
            yield Scene(running, postgres.url, directory / "ledger", postgres, redis)
