"""Prometheus metrics of jobs and workers, read from the tables when somebody asks: those of every host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import RowMapping

from ..jobs.record import Kind
from ..jobs.slot_context import WorkerView
from ..jobs.states import Status
from ..store.endings import EndingRepository

WAITS_S = (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400)
GPU_MEMORY = {"used": "gpu_memory_used_bytes", "total": "gpu_memory_total_bytes"}
"""What a slot's details call it."""


class EndingMetrics:
    """Counts jobs that end while this process runs, each once.

    Two transactions may commit in the other order than their events are numbered, so the last window is read twice.
    """

    def __init__(self, registry: CollectorRegistry, endings: EndingRepository) -> None:
        self._endings = endings
        self._lock = threading.Lock()
        self._floor = self._newest = endings.newest_event()
        self._counted: set[str] = set()
        self._waits = Histogram(
            "lipserve_job_wait_seconds",
            "Time that jobs waited in the queue.",
            buckets=WAITS_S,
            registry=registry,
        )
        self._seconds = Histogram(
            "lipserve_job_seconds",
            "Time from a job's start to its end.",
            ("methods", "status"),
            buckets=DURATIONS_S,
            registry=registry,
        )
        self._cached = Counter("lipserve_cache_hits", "Jobs answered from an earlier one.", registry=registry)

    def update(self) -> None:
        """Count what ended since the last call."""
        with self._lock:
            newest = self._endings.newest_event()
            rows = self._endings.ended_since(self._floor, Kind.ANALYZE)
            for row in rows:
                if row["id"] not in self._counted:
                    self._count(row)
            self._floor, self._newest = self._newest, newest
            self._counted = {row["id"] for row in rows}

    def _count(self, row: RowMapping) -> None:
        if row["cached"]:
            self._cached.inc()
        elif row["started_at"] is not None:
            self._waits.observe(row["started_at"] - row["created_at"])
            methods = "+".join(sorted(filter(None, row["methods"].split(","))))
            self._seconds.labels(methods, row["status"]).observe(row["finished_at"] - row["started_at"])


class JobMetrics(Collector):
    """Jobs by status, the queue's depth, workers by state and their GPU memory, as they are now."""

    def __init__(self, counts: Callable[[], Mapping[Status, int]], workers: Callable[[], Sequence[WorkerView]]) -> None:
        self._counts = counts
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        counts = self._counts()
        jobs = GaugeMetricFamily("lipserve_jobs", "Jobs in the table.", labels=["status"])
        for status, count in counts.items():
            jobs.add_metric([status], count)
        yield jobs
        yield GaugeMetricFamily("lipserve_queue_depth", "Jobs that wait.", value=counts[Status.QUEUED])
        yield from self._of_workers()

    def describe(self) -> list[Metric]:
        """Nothing is known before the first collection."""
        return []

    def _of_workers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("lipserve_worker_up", "Workers.", labels=["worker", "device", "state"])
        memory = GaugeMetricFamily(
            "lipserve_gpu_memory_bytes",
            "Memory of the workers' GPUs, by whatever process it is used.",
            labels=["worker", "device", "kind"],
        )
        for view in self._workers():
            up.add_metric([view.name, view.device, view.state], 1)
            for kind, name in GPU_MEMORY.items():
                if name in view.details:
                    memory.add_metric([view.name, view.device, kind], view.details[name])
        yield from (up, memory)
