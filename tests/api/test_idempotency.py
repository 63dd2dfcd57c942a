"""`Idempotency-Key`: the same request is answered again, and done once, whatever happens in between."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from app.store.database import Database
from app.store.idempotency import Claim, Earlier, IdempotencyRepository
from app.store.tables import idempotency
from tests.conftest import RunningService, eventually, fake_model


def key(value: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": value or uuid.uuid4().hex}


def jobs_of(service: RunningService, model: str) -> list[dict[str, Any]]:
    return service.client.get("/v1/jobs", params={"model": model}).json()["jobs"]


def assert_replayed(first: httpx.Response, second: httpx.Response) -> None:
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    for name in ("location", "content-type", "retry-after"):
        assert second.headers.get(name) == first.headers.get(name)


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full((3, 2), 7.0))
    return buffer.getvalue()


def test_a_job_is_submitted_once(service: RunningService) -> None:
    model, headers = service.upload(fake_model(test="once")), key()
    request = {"model": model, "metadata": {"once": True}}
    first = service.client.post("/v1/jobs", json=request, headers=headers)
    service.finished(first.json()["id"])
    second = service.client.post("/v1/jobs", json=request, headers=headers)
    assert first.status_code == 202
    assert_replayed(first, second)
    assert len(jobs_of(service, model)) == 1
    assert service.client.post("/v1/jobs", json=request, headers=key()).json()["id"] != first.json()["id"]


@pytest.mark.parametrize(
    ("url", "data", "status"),
    [
        ("/v1/models", fake_model(test="idempotent upload"), 201),
        ("/v1/datasets", npy(), 201),
        ("/v1/analyze?seed=7", fake_model(test="idempotent one-shot"), 202),
    ],
)
def test_uploads_are_answered_again_however_the_form_is_cut(
    service: RunningService, url: str, data: bytes, status: int
) -> None:
    headers = key()
    files = {"file": ("same name", data)}
    first, second = (service.client.post(url, files=files, headers=headers) for _ in range(2))
    assert first.request.headers["content-type"] != second.request.headers["content-type"], "the boundary differs"
    assert first.status_code == status
    assert_replayed(first, second)


def test_a_finished_job_is_replayed_with_its_result(service: RunningService) -> None:
    headers = key() | {"Prefer": "wait=30"}
    first, second = (
        service.client.post("/v1/analyze", content=fake_model(test="with result"), headers=headers) for _ in range(2)
    )
    assert first.status_code == 200
    assert first.json()["result"]
    assert_replayed(first, second)


def test_a_refusal_is_kept_and_replayed(service: RunningService) -> None:
    headers, request = key(), {"model": "0" * 64}
    first, second = (service.client.post("/v1/jobs", json=request, headers=headers) for _ in range(2))
    assert first.status_code == 404
    assert_replayed(first, second)


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("/v1/models", fake_model(test="another")),
        ("/v1/models?name=other", fake_model(test="this")),
        ("/v1/analyze", fake_model(test="this")),
    ],
)
def test_another_request_under_the_same_key_is_refused(service: RunningService, url: str, content: bytes) -> None:
    headers = key()
    assert service.client.post("/v1/models", content=fake_model(test="this"), headers=headers).status_code in (200, 201)
    answer = service.client.post(url, content=content, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:lipserve:problem:idempotency-mismatch")


@pytest.mark.parametrize(("value", "status"), [("x" * 255, 404), ("a b:~", 404), ("x" * 256, 422), ("\xe9", 422)])
def test_keys_are_short_and_printable(service: RunningService, value: str, status: int) -> None:
    headers = [(b"Idempotency-Key", value.encode("latin-1"))]
    answer = service.client.post("/v1/jobs", json={"model": "0" * 64}, headers=headers)
    assert answer.status_code == status


def test_while_the_first_is_in_flight_the_second_is_told_to_wait(service: RunningService) -> None:
    headers, data = key(), fake_model(inspect={"do": "sleep", "seconds": 1.5})
    answers: list[httpx.Response] = []

    def post() -> None:
        answers.append(httpx.post(service.url + "/v1/models", content=data, headers=headers, timeout=30))

    first = threading.Thread(target=post)
    first.start()
    time.sleep(0.6)
    second = service.client.post("/v1/models", content=data, headers=headers)
    first.join()
    assert (second.status_code, second.json()["type"]) == (409, "urn:lipserve:problem:idempotency-conflict")
    assert second.headers["Retry-After"]
    assert answers[0].status_code == 201
    assert_replayed(answers[0], service.client.post("/v1/models", content=data, headers=headers))


def test_twenty_at_once_make_one_job(service: RunningService) -> None:
    model, headers = service.upload(fake_model(test="twenty")), key()
    answers: list[httpx.Response] = []
    together = threading.Barrier(20)

    def post() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            together.wait()
            answers.append(client.post("/v1/jobs", json={"model": model}, headers=headers))

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert len(accepted) == 1
    assert [job["id"] for job in jobs_of(service, model)] == list(accepted)
    assert service.client.post("/v1/jobs", json={"model": model}, headers=headers).json()["id"] in accepted


def test_a_full_queue_is_not_remembered(start_service: Callable[..., RunningService]) -> None:
    service = start_service(max_queued_per_owner=1)
    blocker = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 67}), wait=None).json()
    eventually(lambda: service.client.get(blocker["urls"]["self"]).json()["status"], lambda status: status == "running")
    model = service.upload(fake_model(test="full"))
    waiting = service.client.post("/v1/jobs", json={"model": model}).json()
    headers = key()
    refused = service.client.post("/v1/jobs", json={"model": model, "seed": 1}, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:lipserve:problem:quota-exceeded")
    assert int(refused.headers["Retry-After"]) >= 1
    service.client.post(waiting["urls"]["cancel"])
    accepted = service.client.post("/v1/jobs", json={"model": model, "seed": 1}, headers=headers)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "queued")
    assert "Idempotency-Replayed" not in accepted.headers


def test_after_a_crash_the_key_still_leads_to_the_job(start_service: Callable[..., RunningService]) -> None:
    """kill -9 while the request waits for its job: the job was acknowledged to nobody, and is done once."""
    service = start_service()
    model = service.upload(fake_model(analyze={"do": "sleep", "seconds": 1}))
    headers = key() | {"Prefer": "wait=30"}

    def post() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.post(service.url + "/v1/jobs", json={"model": model}, headers=headers, timeout=60)

    waiting = threading.Thread(target=post)
    waiting.start()
    eventually(lambda: jobs_of(service, model), lambda jobs: jobs and jobs[0]["status"] == "running")
    service.kill()
    waiting.join()
    service.start()
    answer = service.client.post("/v1/jobs", json={"model": model}, headers=headers)
    assert (answer.status_code, answer.headers["Idempotency-Replayed"]) == (200, "true")
    assert [job["id"] for job in jobs_of(service, model)] == [answer.json()["id"]]
    assert answer.json()["status"] == "succeeded"
    other = service.client.post("/v1/jobs", json={"model": model, "seed": 9}, headers=headers)
    assert other.status_code == 422


CLAIM = Claim("ada", "k", "f" * 64)


def test_a_claim_that_died_can_be_taken_over(database: Database) -> None:
    keys = IdempotencyRepository(database, keep_s=3600, stale_s=0.2)
    hold = keys.begin(CLAIM)
    assert isinstance(hold, float)
    assert keys.begin(CLAIM) == Earlier(CLAIM.fingerprint, None, None, {}, "")
    for _ in range(4):
        time.sleep(0.1)
        keys.renew(CLAIM, hold)
    assert isinstance(keys.begin(CLAIM), Earlier)
    time.sleep(0.3)
    later = keys.begin(CLAIM)
    assert isinstance(later, float)
    keys.finish(CLAIM, hold, 201, {}, "too late")
    assert keys.begin(CLAIM) == Earlier(CLAIM.fingerprint, None, None, {}, "")
    keys.finish(CLAIM, later, 201, {"a": "b"}, "answer")
    time.sleep(0.3)
    assert keys.begin(CLAIM) == Earlier(CLAIM.fingerprint, None, 201, {"a": "b"}, "answer")
    assert isinstance(keys.begin(Claim("bob", "k", "g" * 64)), float)


def test_answers_are_kept_for_a_while(database: Database) -> None:
    keys = IdempotencyRepository(database, keep_s=0.2, stale_s=3600)
    hold = keys.begin(CLAIM)
    assert isinstance(hold, float)
    keys.finish(CLAIM, hold, 200, {}, "x")
    time.sleep(0.3)
    assert isinstance(keys.begin(Claim("ada", "other", "f" * 64)), float)
    with database.read() as connection:
        assert [row["key"] for row in connection.execute(idempotency.select()).mappings()] == ["other"]
    assert isinstance(keys.begin(Claim("ada", "k", "g" * 64)), float), "another request may use the key now"


def test_a_released_claim_is_free_unless_it_has_a_job(database: Database) -> None:
    keys = IdempotencyRepository(database, keep_s=3600, stale_s=3600)
    hold = keys.begin(CLAIM)
    assert isinstance(hold, float)
    keys.release(CLAIM, hold)
    hold = keys.begin(CLAIM)
    assert isinstance(hold, float)
    with database.write() as connection:
        connection.execute(idempotency.update().values(job="j"))
    keys.release(CLAIM, hold)
    assert keys.begin(CLAIM) == Earlier(CLAIM.fingerprint, "j", None, {}, "")


def test_one_of_many_claims_wins(database: Database) -> None:
    keys = IdempotencyRepository(database, keep_s=3600, stale_s=3600)
    found: list[float | Earlier] = []
    together = threading.Barrier(10)

    def begin() -> None:
        together.wait()
        found.append(keys.begin(CLAIM))

    threads = [threading.Thread(target=begin) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [isinstance(one, float) for one in found].count(True) == 1
    assert len(found) == 10
