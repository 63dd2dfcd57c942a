"""What is acknowledged is done once, whichever machine, broker or database goes away."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cluster.hosts import Cluster, fresh_database, running_cluster, wait_of
from tests.conftest import eventually, fake_model
from tests.object_store import ObjectStore
from tests.servers import Missing, Server, private_postgres, private_redis


@pytest.fixture
def redis() -> Iterator[Server]:
    """A Redis that a test may kill; it forgets everything."""
    try:
        with private_redis() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A PostgreSQL that a test may kill."""
    try:
        with private_postgres() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def cluster(postgres_url: str, tmp_path: Path) -> Iterator[Cluster]:
    """Without a broker."""
    with fresh_database(postgres_url) as url, running_cluster(tmp_path, database_url=url) as cluster:
        yield cluster


def test_a_machine_that_dies_loses_its_job_to_the_other_after_its_lease(cluster: Cluster) -> None:
    (job,), ledger = cluster.submit(1, do="sleep", seconds=3)
    lost = cluster.host_of(cluster.running(job))
    lost.kill()
    begin = time.monotonic()
    (finished,) = cluster.all_succeed_once([job], ledger)
    assert time.monotonic() - begin < 2 + 3 + 4
    assert finished["attempt"] == 2
    assert cluster.host_of(finished) is not lost
    names = {worker["name"].split("/")[0] for worker in cluster.api.client.get("/v1/workers").json()["workers"]}
    assert names == {cluster.host_of(finished).name}
    assert lost.check() == 1


@pytest.mark.slow
def test_a_machine_that_is_stopped_hands_its_job_over_at_once(cluster: Cluster) -> None:
    (job,), ledger = cluster.submit(1, do="sleep", seconds=1.5)
    stopped = cluster.host_of(cluster.running(job))
    begin = time.monotonic()
    assert stopped.terminate() == 0
    assert time.monotonic() - begin < 3
    (finished,) = cluster.all_succeed_once([job], ledger)
    assert cluster.host_of(finished) is not stopped
    assert wait_of(finished) < 4


@pytest.mark.slow
def test_models_and_data_sets_reach_machines_through_an_object_store(
    postgres_url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    bucket = object_store.bucket()
    settings = {"blob_url": f"s3://{bucket}/lipserve", "blob_options": json.dumps(object_store.options)}
    with fresh_database(postgres_url) as url, running_cluster(tmp_path, database_url=url, **settings) as cluster:
        points = io.BytesIO()
        np.save(points, np.zeros((3, 2)))
        dataset = cluster.api.client.post("/v1/datasets", content=points.getvalue()).json()["id"]
        model = cluster.api.upload(fake_model(test="object store"))
        body = {"model": model, "dataset": dataset, "methods": ["dataset"]}
        job = cluster.api.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"}).json()
        assert job["status"] == "succeeded", job
        kept = {f"lipserve/files/{model[:2]}/{model}", f"lipserve/datasets/{dataset[:2]}/{dataset}"}
        graphs = {key for key in object_store.keys(bucket) if key.startswith("lipserve/artifacts/")}
        assert len(graphs) == 1
        assert object_store.keys(bucket) == kept | graphs
        for path in (f"/v1/models/{model}", f"/v1/datasets/{dataset}"):
            assert cluster.api.client.delete(path).status_code == 204
        assert object_store.keys(bucket) == set()
        assert not [path for path in tmp_path.rglob("files/**/*") if path.is_file()]


@pytest.mark.slow
def test_a_broker_that_is_killed_and_wiped_loses_nothing(postgres_url: str, redis: Server, tmp_path: Path) -> None:
    settings = {"dispatcher": "celery", "broker_url": redis.url, "poll_s": 2}
    with fresh_database(postgres_url) as url, running_cluster(tmp_path, database_url=url, **settings) as cluster:
        before = cluster.submit(20, do="sleep", seconds=0.2)
        redis.kill()
        begin = time.monotonic()
        during = cluster.submit(20, do="sleep", seconds=0.05)
        assert time.monotonic() - begin < 5
        for jobs, ledger in (before, during):
            cluster.all_succeed_once(jobs, ledger)
        redis.start()
        eventually(lambda: worst_wait(cluster), lambda wait: wait < 0.3, within_s=60)


@pytest.mark.slow
def test_a_machine_ends_within_seconds_while_the_broker_is_down(
    postgres_url: str, redis: Server, tmp_path: Path
) -> None:
    settings = {"dispatcher": "celery", "broker_url": redis.url, "poll_s": 1}
    with fresh_database(postgres_url) as url, running_cluster(tmp_path, database_url=url, **settings) as cluster:
        (job,), ledger = cluster.submit(1, do="sleep", seconds=2)
        stopped = cluster.host_of(cluster.running(job))
        redis.kill()
        time.sleep(1)
        begin = time.monotonic()
        assert stopped.terminate() == 0
        assert time.monotonic() - begin < 5
        cluster.all_succeed_once([job], ledger)


@pytest.mark.slow
@pytest.mark.parametrize("outage_s", [0.5, 5])
def test_a_job_outlives_its_database(outage_s: float, postgres: Server, tmp_path: Path) -> None:
    """For less than a lease, and for longer."""
    with running_cluster(tmp_path, database_url=postgres.url, poll_s=1) as cluster:
        (job,), ledger = cluster.submit(1, do="sleep", seconds=4)
        cluster.running(job)
        postgres.kill()
        time.sleep(outage_s)
        postgres.start()
        eventually(lambda: cluster.api.client.get("/readyz").status_code, lambda status: status == 200, within_s=30)
        cluster.all_succeed_once([job], ledger)
        assert cluster.api.analyze(fake_model(test="after the outage")).json()["status"] == "succeeded"


@pytest.mark.slow
def test_five_times_a_machine_dies_at_work_and_nothing_is_lost(cluster: Cluster) -> None:
    jobs, ledger = cluster.submit(60, do="sleep", seconds=0.3)
    for round_ in range(5):
        time.sleep(1)
        victim = cluster.hosts[round_ % 2]
        victim.kill()
        victim.start()
    finished = [cluster.api.finished(job, within_s=120) for job in jobs]
    assert {job["status"] for job in finished} == {"succeeded"}
    # A machine may die between a job's last line and its result, which is then computed once more.
    done = ledger.read_text().split()
    assert set(map(int, done)) == set(range(60))
    assert len(done) <= 60 + 5


def worst_wait(cluster: Cluster) -> float:
    """The longest wait, in seconds, of jobs that come in pairs to two idle machines: both have to be rung for."""
    waits = []
    for _ in range(3):
        jobs, ledger = cluster.submit(2, do="sleep", seconds=0.4)
        waits += map(wait_of, cluster.all_succeed_once(jobs, ledger))
    return max(waits)
