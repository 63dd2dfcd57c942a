"""One slot with the fake library, a real database and real files, driven by hand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.exc import OperationalError

from app.jobs.artifacts import Artifacts
from app.jobs.devices import Device, spare_device
from app.jobs.slot_context import SlotContext
from app.jobs.slots import WorkerSlot
from app.jobs.watch import Watch
from app.lipschitz.formats import ARCHIVE
from app.settings import Settings
from app.store.artifacts import ArtifactRepository
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.jobs import JobRepository
from tests.conftest import fake_model
from tests.jobs.rows import ANALYSES, queued

GPU = Device("cuda:0", spare_device().environment | {"CUDA_VISIBLE_DEVICES": "0"})


class Outage:
    """A repository whose database is away for as long as `is_on`; the queries that it met are counted."""

    def __init__(self, repository: JobRepository) -> None:
        self.is_on = False
        self.met = 0
        self._repository = repository

    def __getattr__(self, name: str) -> Callable[..., Any]:
        query = getattr(self._repository, name)

        def asked(*arguments: Any, **named: Any) -> Any:
            if self.is_on:
                self.met += 1
                raise OperationalError(name, {}, Exception("the server is gone"))
            return query(*arguments, **named)

        return asked


class Bench:
    def __init__(self, folder: Path, device: Device | None = None, **settings: Any) -> None:
        given = {"worker_module": "tests.jobs.fake_worker", "warm_spare": False, "lease_s": 3} | settings
        self.settings = Settings(data_dir=folder, **given)
        self.database = Database(self.settings.sqlalchemy_url())
        self.database.migrate()
        self.repository = JobRepository(self.database)
        self.outage = Outage(self.repository)
        self.blobs = Blobs(folder / "files", 2**30, 0)
        self.stop = threading.Event()
        self.artifacts = Artifacts(ArtifactRepository(self.database), Blobs(folder / "artifacts", 2**30, 0))
        stores = (self.blobs, self.blobs, self.artifacts)
        calls = (self.stop.is_set, lambda: None, lambda _: None)
        self.around = SlotContext(self.settings, self.outage, *stores, Watch(), "me", *calls)
        self.slot = WorkerSlot(0, device or spare_device(), ANALYSES, self.around)

    def submit(self, tenant: str = "", is_program: bool = False, timeout_s: float = 30, **told: Any) -> str:
        """The id of a queued job on a file of its own."""
        data = ARCHIVE + json.dumps(told).encode() if is_program else fake_model(**told)
        digest = self.digest = hashlib.sha256(data).hexdigest()
        path = self.settings.data_dir / "files" / Blobs.key(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return self._queued(digest, tenant, timeout_s)

    def _queued(self, digest: str, tenant: str = "", timeout_s: float = 30) -> str:
        blob, request = Blobs.key(digest), {"seed": 0}
        return queued(self.repository, tenant=tenant, model=digest, blob=blob, request=request, timeout_s=timeout_s)

    def run_again(self) -> RowMapping:
        """The row of another job on the last file."""
        return self._run("", self._queued(self.digest))

    def run(self, tenant: str = "", **told: Any) -> RowMapping:
        """A job's row after its run."""
        return self._run(tenant, self.submit(tenant, **told))

    def _run(self, tenant: str, job: str) -> RowMapping:
        assert self.prepared()
        assert self.slot.run_next()
        row = self.repository.get(tenant, job)
        assert row is not None
        return row

    def prepared(self, within_s: float = 20) -> bool:
        """Whether the slot has a warm child in time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.slot.prepare():
                return True
            time.sleep(0.05)
        return False

    @property
    def pid(self) -> int | None:
        return self.slot.view().pid

    @property
    def capturing_pid(self) -> int | None:
        warm = self.slot._other.warm
        return None if warm is None else warm.child.pid

    def close(self) -> None:
        self.stop.set()
        self.slot.drop_child()
        self.around.factory.close()
        self.database.close()
