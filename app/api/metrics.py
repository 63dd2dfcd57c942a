"""Prometheus metrics of what this process answers: requests, problems, replays."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class HttpMetrics:
    """Requests by method, route and status, and how long they took; problems; replayed answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "lipserve_http_requests", "HTTP requests.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "lipserve_http_request_seconds",
            "Time from the request's head to the end of the answer.",
            ("method", "route"),
            registry=registry,
        )
        self._problems = Counter(
            "lipserve_problems",
            "Requests answered with a problem, by the end of its type.",
            ("problem",),
            registry=registry,
        )
        self._replays = Counter(
            "lipserve_idempotent_replays", "Requests answered again by their Idempotency-Key.", registry=registry
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request is answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def problem(self, slug: str) -> None:
        """One request is answered with a problem."""
        self._problems.labels(slug).inc()

    def replayed(self) -> None:
        """One request is answered with what an earlier one got."""
        self._replays.inc()
