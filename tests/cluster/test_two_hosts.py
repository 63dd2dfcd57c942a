"""Two machines, an API on a third, one PostgreSQL; rung by the database, or by Celery through Redis.

Slots look at the table unasked every 30 s only, so that jobs which start at once were rung for.
"""

import statistics
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest

from tests.cluster.hosts import Cluster, fresh_database, running_cluster, seconds, wait_of
from tests.conftest import fake_model


@pytest.fixture(scope="module", params=["celery", pytest.param("embedded", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp(request.param)
    settings = {"dispatcher": request.param}
    if request.param == "celery":
        settings["broker_url"] = request.getfixturevalue("redis_url")
    with (
        fresh_database(request.getfixturevalue("postgres_url")) as url,
        running_cluster(directory, database_url=url, **settings) as cluster,
    ):
        yield cluster


def test_every_machine_is_seen_and_only_those_that_are_there(cluster: Cluster) -> None:
    assert [host.check() for host in cluster.hosts] == [0, 0]
    workers = cluster.api.client.get("/v1/workers").json()["workers"]
    assert sorted(worker["name"] for worker in workers) == ["first/0", "first/1", "second/0", "second/1"]
    cluster.hosts[0].rename("third")
    assert cluster.hosts[0].check() == 1
    cluster.hosts[0].rename("first")


def test_sixty_jobs_are_done_once_by_both(cluster: Cluster) -> None:
    jobs, ledger = cluster.submit(60, do="sleep", seconds=0.05)
    finished = cluster.all_succeed_once(jobs, ledger)
    shares = [sum(cluster.host_of(job) is host for job in finished) for host in cluster.hosts]
    assert min(shares) >= 10, shares
    assert {job["attempt"] for job in finished} == {1}


def test_a_job_starts_at_once_wherever_it_runs(cluster: Cluster) -> None:
    waits = []
    for _ in range(6):
        (job,), ledger = cluster.submit(1, do="sleep", seconds=0)
        (found,) = cluster.all_succeed_once([job], ledger)
        waits.append(wait_of(found))
    assert statistics.median(waits) < 0.3, waits


def test_who_waits_is_woken_when_a_job_ends_elsewhere(cluster: Cluster) -> None:
    delays = []
    for _ in range(6):
        (job,), _ = cluster.submit(1, do="sleep", seconds=0.5)
        found = cluster.api.client.get(f"/v1/jobs/{job}", params={"wait": 30}).json()
        delays.append(time.time() - seconds(found["finished_at"]))
    assert statistics.median(delays) < 0.25, delays


def test_progress_is_streamed_from_elsewhere_as_it_comes(cluster: Cluster) -> None:
    (job,), _ = cluster.submit(1, do="tick", times=8, every=0.25)
    delays = []
    headers = {"Accept": "text/event-stream"}
    with cluster.api.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as stream:
        for line in stream.iter_lines():
            if line.startswith("event:") and line.endswith("progress"):
                delays.append(time.time())
    gaps = [after - before for before, after in pairwise(delays)]
    assert len(gaps) >= 2
    assert max(gaps) < 0.9, gaps


def test_a_cancel_reaches_the_machine_that_runs_the_job(cluster: Cluster) -> None:
    jobs, _ = cluster.submit(2, do="sleep_in_native_code", seconds=60)
    started = [cluster.api.client.get(f"/v1/jobs/{job}").json() for job in jobs]
    deadline = time.monotonic() + 10
    while {job["status"] for job in started} != {"running"} and time.monotonic() < deadline:
        started = [cluster.job(job) for job in jobs]
    assert {cluster.host_of(job).name for job in started} == {"first", "second"}
    for job in jobs:
        begin = time.monotonic()
        cluster.api.client.post(f"/v1/jobs/{job}/cancel")
        ended = cluster.api.client.get(f"/v1/jobs/{job}", params={"wait": 10}).json()
        assert ended["status"] == "canceled"
        assert time.monotonic() - begin < 1


def test_an_upload_does_not_wait_behind_long_jobs(cluster: Cluster) -> None:
    """The slots for inspections are rung for although every other slot, and every ring, is held up."""
    jobs, _ = cluster.submit(8, do="sleep", seconds=60)
    for job in jobs[:2]:
        cluster.running(job)
    begin = time.monotonic()
    cluster.api.upload(fake_model(test="not behind long jobs"))
    assert time.monotonic() - begin < 2
    for job in jobs:
        cluster.api.client.post(f"/v1/jobs/{job}/cancel")
        assert cluster.api.finished(job)["status"] == "canceled"


def test_many_clients_at_once_lose_nothing(cluster: Cluster) -> None:
    model = cluster.api.upload(fake_model(test="many clients"))
    answers: list[httpx.Response] = []

    def ask(seed: int) -> None:
        body = {"model": model, "seed": seed}
        answers.append(httpx.post(f"{cluster.api.url}/v1/jobs", json=body, headers={"Prefer": "wait=30"}, timeout=60))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}
    assert {answer.json()["result"]["echo"]["seed"] for answer in answers} == set(range(24))
