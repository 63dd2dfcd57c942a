"""What Prometheus reads: every job counted once, whoever ran it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from app.api.job_metrics import EndingMetrics
from app.store.database import Database
from app.store.endings import EndingRepository
from app.store.tables import events, jobs
from tests.conftest import RunningService, eventually, fake_model


def value(service: RunningService, pattern: str) -> float:
    """The number behind the series that fits, 0 where there is none."""
    found = re.search(rf"^{pattern} (\S+)$", service.client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_jobs_are_counted_when_they_end(start_service: Callable[..., RunningService]) -> None:
    service = start_service(max_queued_per_owner=1)
    model = service.upload(fake_model(test="counted"))
    request = {"model": model, "methods": ["gradient", "autolip"]}
    for _ in ("computed", "cached"):
        headers = {"Prefer": "wait=20", "Idempotency-Key": uuid.uuid4().hex}
        for _ in ("first", "replayed"):
            assert service.client.post("/v1/jobs", json=request, headers=headers).status_code == 200
    refused = fake_model(analyze={"do": "refuse", "slug": "unsupported-operator", "detail": "Foo"})
    assert service.analyze(refused).json()["status"] == "failed"
    count = r'lipserve_job_seconds_count\{methods="autolip\+gradient",status="succeeded"\}'
    for _ in ("counted", "and only once"):
        assert value(service, count) == 1
        assert value(service, r'lipserve_job_seconds_count\{methods="auto",status="failed"\}') == 1
        assert value(service, "lipserve_job_wait_seconds_count") == 2
        assert value(service, "lipserve_cache_hits_total") == 1
        assert value(service, "lipserve_idempotent_replays_total") == 2
    blocker = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 69}), wait=None).json()
    while service.client.get(blocker["urls"]["self"]).json()["status"] != "running":
        pass
    statuses = [service.client.post("/v1/jobs", json={"model": model, "seed": seed}).status_code for seed in (7, 8)]
    assert statuses == [202, 429]
    assert value(service, r'lipserve_problems_total\{problem="quota-exceeded"\}') == 1
    assert value(service, "lipserve_queue_depth") == 1
    busy = r'lipserve_worker_up\{device="cpu",state="busy",worker="[^"]+"\}'
    eventually(lambda: value(service, busy), lambda seen: seen == 1)


def insert(database: Database, event: int, status: str) -> None:
    """A job that is over, with the event of that number."""
    job = {
        "id": str(uuid.uuid4()), "kind": "analyze", "status": status, "model": "m", "blob": "b", "request": {},
        "methods": ",autolip,", "metadata": {}, "cache_key": "c", "cached": False, "priority": 5, "timeout_s": 1,
        "created_at": 1.0, "started_at": 2.0, "finished_at": 4.0, "attempt": 1, "losses": 0, "has_witness": False,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(jobs.insert().values(**job))
        connection.execute(events.insert().values(id=event, job=job["id"], at=4.0, type="status", data={}))


def test_a_transaction_that_commits_late_is_counted_too(database: Database) -> None:
    insert(database, 1, "failed")
    registry = CollectorRegistry()
    metrics = EndingMetrics(registry, EndingRepository(database))

    def seen() -> float | None:
        metrics.update()
        return registry.get_sample_value("lipserve_job_seconds_sum", {"methods": "autolip", "status": "succeeded"})

    assert seen() is None, "what ended before this process is not its to count"
    insert(database, 10, "succeeded")
    assert seen() == 2
    insert(database, 9, "succeeded")
    assert seen() == 4
    assert seen() == 4
