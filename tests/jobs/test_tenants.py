"""What one tenant has, another neither sees nor changes; files are shared by content and go with the last row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import JobActive, ModelInUse, Problem, UnknownDataset, UnknownJob, UnknownModel
from app.jobs.admission import ModelService
from app.jobs.datasets import DatasetService
from app.jobs.dispatcher import Slot
from app.jobs.record import JobRecord
from app.jobs.service import JobService, Submission
from app.jobs.states import ACTIVE, CLAIM, SUCCEED, Status
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.database import Database
from app.store.job_queries import Filter
from app.store.jobs import JobRepository
from app.store.uploads import dataset_repository, model_repository
from tests.jobs.rows import ANALYSES, MODEL, add_model, no_artifacts

REQUEST = {"methods": "auto", "seed": 0, "dataset": None}


class Nobody:
    """A dispatcher without slots: the tests take the jobs themselves."""

    def notify(self, job_id: str, priority: int) -> None: ...

    def hear(self, job_id: str) -> None: ...

    def serve(self, slots: Sequence[Slot]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def service(database: Database) -> JobService:
    for tenant in ("acme", "zeta"):
        add_model(database, tenant)
    return JobService(JobRepository(database), Nobody(), Watch(), Settings())


def submitted(service: JobService, tenant: str, **given: object) -> JobRecord:
    return service.submit(Submission(MODEL, REQUEST, timeout_s=60, tenant=tenant, **given))  # type: ignore[arg-type]


def succeed(repository: JobRepository) -> None:
    """Do the job that is next."""
    row = repository.claim(CLAIM, ANALYSES, "me", 30)
    assert row is not None
    repository.finish(JobRecord.of(row).fence, SUCCEED, result={"upper": 2.0}, witness=b"npz", certificate={"a": 1})


def test_a_job_is_its_tenants_alone(service: JobService, database: Database) -> None:
    job = submitted(service, "acme")
    succeed(JobRepository(database))
    assert service.witness("acme", job.id) == b"npz"
    assert service.certificate("acme", job.id) == {"a": 1}
    for look in (service.get, service.witness, service.certificate, service.cancel, service.delete):
        with pytest.raises(UnknownJob):
            look("zeta", job.id)
    assert [found.id for found in service.page("acme", Filter(), 10, None)] == [job.id]
    assert service.page("zeta", Filter(), 10, None) == []
    assert service.counts()[Status.SUCCEEDED] == 1
    service.delete("acme", job.id)


def test_an_active_job_is_not_touched_by_another_tenant(service: JobService) -> None:
    job = submitted(service, "acme")
    with pytest.raises(UnknownJob):
        service.cancel("zeta", job.id)
    with pytest.raises(JobActive):
        service.delete("acme", job.id)
    assert service.get("acme", job.id).status is Status.QUEUED


def test_an_answer_is_given_again_to_its_tenant_only(service: JobService, database: Database) -> None:
    first = submitted(service, "acme")
    succeed(JobRepository(database))
    again = submitted(service, "acme")
    assert (again.cached, again.status, again.tenant) == (True, Status.SUCCEEDED, "acme")
    assert again.id != first.id
    assert service.result(again) == {"upper": 2.0}
    other = submitted(service, "zeta")
    assert (other.cached, other.status) == (False, Status.QUEUED)


def test_models_and_data_sets_of_others_do_not_exist(service: JobService, database: Database) -> None:
    datasets = dataset_repository(database)
    row = {"tenant": "acme", "id": "d" * 64, "name": "n", "size_bytes": 1, "inputs": {}, "labels": None}
    datasets.add(row, lambda: None)
    add_model(database, "acme", "c" * 64)
    models = ModelService(model_repository(database), None, no_artifacts(database), service, 1)  # type: ignore[arg-type]
    assert [model.id for model in models.page("zeta", 10, None)] == [MODEL]
    assert len(models.page("acme", 10, None)) == 2
    for refuse in (models.get, models.delete):
        with pytest.raises(UnknownModel):
            refuse("zeta", "c" * 64)
    for look in (DatasetService(datasets, None).get, DatasetService(datasets, None).delete):  # type: ignore[arg-type]
        with pytest.raises(UnknownDataset):
            look("zeta", "d" * 64)
    for request, problem in (({}, UnknownModel), ({"dataset": "d" * 64}, UnknownDataset)):
        model = MODEL if request else "c" * 64
        with pytest.raises(problem):
            service.submit(Submission(model, REQUEST | request, timeout_s=60, tenant="zeta"))


def test_a_file_goes_with_its_last_row(service: JobService, database: Database) -> None:
    models, dropped = model_repository(database), list[str]()
    assert models.remove("acme", MODEL, ACTIVE, lambda: dropped.append("file"))
    assert dropped == []
    assert not models.remove("acme", MODEL, ACTIVE, lambda: dropped.append("file"))
    assert models.remove("zeta", MODEL, ACTIVE, lambda: dropped.append("file"))
    assert dropped == ["file"]


def test_a_model_stays_for_the_jobs_of_its_own_tenant(service: JobService, database: Database) -> None:
    models = ModelService(model_repository(database), None, no_artifacts(database), service, 1)  # type: ignore[arg-type]
    submitted(service, "acme")
    models.delete("zeta", MODEL)
    with pytest.raises(ModelInUse):
        models.delete("acme", MODEL)


def test_a_model_is_not_removed_under_a_job_that_comes_in(service: JobService, database: Database) -> None:
    """Whoever is first: the job is refused, or the model stays."""
    models = ModelService(model_repository(database), Files(), no_artifacts(database), service, 1)  # type: ignore[arg-type]
    for _ in range(30):
        add_model(database, "acme")
        made, removed = race(lambda: submitted(service, "acme", use_cache=False), lambda: models.delete("acme", MODEL))
        assert isinstance(made, UnknownModel) != isinstance(removed, ModelInUse)
        if isinstance(made, JobRecord):
            service.cancel("acme", made.id)


def test_a_file_is_there_for_every_row_however_they_come_and_go(database: Database) -> None:
    """One tenant deletes while another brings the same bytes."""
    models, files = model_repository(database), Files()
    for _ in range(30):
        add_model(database, "acme")
        files.there = True
        values = {"tenant": "zeta", "id": MODEL, "name": "n", "format": "onnx", "size_bytes": 3, "inspection": {}}
        race(
            lambda values=values: models.add(values, files.keep),  # type: ignore[misc]
            lambda: models.remove("acme", MODEL, ACTIVE, lambda: files.remove(MODEL)),
        )
        assert models.get("zeta", MODEL) is not None
        assert files.there
        models.remove("zeta", MODEL, ACTIVE, lambda: files.remove(MODEL))
        assert not files.there


class Files:
    """One file that is there or not."""

    there = True

    def keep(self) -> None:
        self.there = True

    def remove(self, _sha256: str) -> None:
        self.there = False


def race(*works: Callable[[], object]) -> list[object]:
    """What each gives, or the problem that it raises, all of them started together."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        start.wait()
        try:
            return work()
        except Problem as problem:
            return problem

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
