"""Prometheus metrics: HTTP traffic is counted here, jobs and workers are read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.jobs.slots import WorkerView
from app.jobs.states import Status


class HttpMetrics:
    """Requests by method, route and status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._requests = Counter("lipserve_http_requests", "HTTP requests.", labels, registry=registry)
        self._seconds = Histogram(
            "lipserve_http_request_seconds",
            "Time from the request's head to the end of the answer.",
            ("method", "route"),
            registry=registry,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request is answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class JobMetrics(Collector):
    """Jobs by status, the queue's depth, and workers by state."""

    def __init__(self, counts: Callable[[], Mapping[Status, int]], workers: Callable[[], list[WorkerView]]) -> None:
        self._counts = counts
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Read the table and the slots."""
        counts = self._counts()
        jobs = GaugeMetricFamily("lipserve_jobs", "Jobs in the table.", labels=["status"])
        for status, count in counts.items():
            jobs.add_metric([status], count)
        yield jobs
        yield GaugeMetricFamily("lipserve_queue_depth", "Jobs that wait.", value=counts[Status.QUEUED])
        workers = GaugeMetricFamily("lipserve_worker_up", "Workers.", labels=["worker", "device", "state"])
        for view in self._workers():
            workers.add_metric([view.name, view.device, view.state], 1)
        yield workers

    def describe(self) -> list[Metric]:
        """Nothing is known before the first collection."""
        return []
