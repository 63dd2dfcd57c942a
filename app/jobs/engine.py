"""What every process of the service has, with or without an API: the stores, the bells, and the jobs it runs."""

from __future__ import annotations

from ..settings import Settings
from ..store.artifacts import ArtifactRepository
from ..store.blobs import open_blobs
from ..store.database import Database
from ..store.jobs import JobRepository
from ..store.notifications import Listener
from .artifacts import Artifacts, max_bytes
from .dispatch import dispatcher_of
from .supervisor import Supervisor
from .watch import Watch


class Engine:
    """Opened when it is built, the database brought up to date; at work between `start` and `stop`."""

    def __init__(self, settings: Settings, runs_jobs: bool) -> None:
        self.database = Database(settings.sqlalchemy_url())
        self.database.migrate()
        self.blobs = open_blobs(settings, "files", settings.max_upload_bytes)
        self.datasets = open_blobs(settings, "datasets", settings.max_dataset_bytes)
        captures = open_blobs(settings, "artifacts", max_bytes(settings.max_upload_bytes), is_lasting=False)
        self.artifacts = Artifacts(ArtifactRepository(self.database), captures)
        self.repository = JobRepository(self.database, settings.retention_s)
        self.watch = Watch()
        self.dispatcher = dispatcher_of(settings, self.repository)
        self._listener = Listener(self.database, self.watch.changed, self.dispatcher.hear)
        self._supervisor = self._new_supervisor(settings) if runs_jobs else None

    def _new_supervisor(self, settings: Settings) -> Supervisor:
        return Supervisor(
            settings,
            self.database,
            blobs=self.blobs,
            datasets=self.datasets,
            artifacts=self.artifacts,
            watch=self.watch,
            dispatcher=self.dispatcher,
        )

    def start(self) -> None:
        """Hear of what other processes do, and take jobs if this one runs any."""
        self._listener.start()
        if self._supervisor is not None:
            self._supervisor.start()

    def stop(self) -> None:
        """Put running jobs back into the queue, and close everything."""
        if self._supervisor is not None:
            self._supervisor.stop()
        else:
            self.dispatcher.close()
        self._listener.stop()
        self.database.close()
