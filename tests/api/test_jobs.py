"""Jobs over HTTP: submission, waiting, the cache, listing, events, and what is refused."""

import base64
import json
import threading
import time
from typing import Any

import httpx
import pytest

from tests.conftest import RunningService, eventually, fake_model


def submit(service: RunningService, model: str, **fields: Any) -> httpx.Response:
    return service.client.post("/v1/jobs", json={"model": model} | fields)


def test_a_job_is_accepted_and_finishes(service: RunningService) -> None:
    model = service.upload(fake_model(test="accepted"))
    answer = submit(service, model, seed=1, metadata={"mine": [1]}, priority=7, timeout_s=30)
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json()["urls"]["self"]
    assert answer.headers["Retry-After"] == "1"
    job = service.finished(answer.json()["id"])
    assert (job["status"], job["attempt"], job["cached"], job["error"]) == ("succeeded", 1, False, None)
    assert (job["metadata"], job["priority"], job["timeout_s"]) == ({"mine": [1]}, 7, 30)
    budgets = job["result"]["echo"].pop("budget_s"), job["request"].pop("budget_s")
    assert 0 < budgets[0] <= budgets[1], "reading counts towards the budget"
    assert job["result"]["echo"] == job["request"]
    assert job["request"]["seed"] == 1
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert set(job["urls"]) == {"self", "cancel", "events", "report", "certificate", "witness", "radii"}


def test_one_shot_waits_for_the_result(service: RunningService) -> None:
    answer = service.analyze(fake_model(test="one-shot"), methods=["autolip"])
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert answer.json()["result"]["echo"]["methods"] == ["autolip"]


def test_one_shot_takes_query_parameters(service: RunningService) -> None:
    url = "/v1/analyze?methods=autolip,gradient&seed=4&inputs=[[1,4]]&name=q.onnx"
    data = fake_model(test="query")
    job = service.client.post(url, content=data, headers={"Prefer": "wait=30"}).json()
    assert job["request"]["methods"] == ["autolip", "gradient"]
    assert (job["request"]["seed"], job["request"]["inputs"]) == (4, [[1, 4]])
    assert service.client.get(f"/v1/models/{job['model']}").json()["name"] == "q.onnx"
    form = service.client.post(url, files={"file": data}, headers={"Prefer": "respond-async, wait=30"})
    assert form.json()["cached"]


def test_a_wait_that_is_too_short_answers_with_the_running_job(service: RunningService) -> None:
    start = time.monotonic()
    answer = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 62}), wait=1)
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    assert 1 <= time.monotonic() - start < 2
    service.client.post(answer.json()["urls"]["cancel"])
    service.finished(answer.json()["id"])


def test_a_long_poll_ends_with_the_job(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 0.5}), wait=None).json()
    start = time.monotonic()
    assert service.client.get(job["urls"]["self"], params={"wait": 20}).json()["status"] == "succeeded"
    assert time.monotonic() - start < 2


def test_the_same_question_is_answered_from_the_store(service: RunningService) -> None:
    witness = base64.b64encode(b"npz bytes").decode()
    model = service.upload(fake_model(test="cache", witness=witness))
    first = service.finished(submit(service, model, seed=1).json()["id"])
    second = submit(service, model, seed=1, priority=0, metadata={"again": True})
    assert second.status_code == 202
    job = second.json()
    assert (job["status"], job["cached"], job["metadata"]) == ("succeeded", True, {"again": True})
    assert job["id"] != first["id"]
    assert job["result"] == first["result"]
    assert service.client.get(job["urls"]["witness"]).content == b"npz bytes"
    assert not submit(service, model, seed=2).json()["cached"]
    fresh = service.client.post(
        "/v1/jobs", json={"model": model, "seed": 1}, headers={"Cache-Control": "no-cache", "Prefer": "wait=9"}
    )
    assert (fresh.status_code, fresh.json()["cached"]) == (200, False)


def test_a_deleted_model_is_unknown_whatever_is_stored(service: RunningService) -> None:
    model = service.upload(fake_model(test="deleted"))
    job = service.finished(submit(service, model).json()["id"])
    assert service.client.delete(f"/v1/models/{model}").status_code == 204
    assert submit(service, model).status_code == 404
    assert service.client.get(job["urls"]["self"]).json()["result"] == job["result"]


def test_a_failure_is_not_answered_from_the_store(service: RunningService) -> None:
    step = {"do": "refuse", "slug": "unsupported-operator", "detail": "Foo"}
    model = service.upload(fake_model(analyze=step))
    assert service.finished(submit(service, model).json()["id"])["status"] == "failed"
    assert service.finished(submit(service, model).json()["id"])["cached"] is False


def test_a_witness_is_a_file_of_its_own(service: RunningService) -> None:
    data = fake_model(test="witness", witness=base64.b64encode(b"\0npz").decode())
    job = service.analyze(data).json()
    assert "witness" not in job["result"]
    answer = service.client.get(job["urls"]["witness"])
    assert (answer.content, answer.headers["content-type"]) == (b"\0npz", "application/x-npz")
    without = service.analyze(fake_model(test="no witness")).json()
    assert without["urls"]["witness"] is None
    assert service.client.get(f"/v1/jobs/{without['id']}/witness").json()["type"].endswith("no-witness")


def test_a_certificate_is_a_file_of_its_own(service: RunningService) -> None:
    told = {"format": "fake", "bound": 0.1 + 0.2, "method": "fake", "pieces": []}
    model = service.upload(fake_model(test="certificate", certificate=told))
    for _ in ("computed", "from the store"):
        job = service.finished(submit(service, model).json()["id"])
        assert "certificate" not in job["result"]
        assert service.client.get(job["urls"]["certificate"]).json() == told
    without = service.analyze(fake_model(test="no certificate")).json()
    assert without["urls"]["certificate"] is None
    assert service.client.get(f"/v1/jobs/{without['id']}/certificate").json()["type"].endswith("no-certificate")


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"{", 400, "malformed-json"),
        (b"", 400, "malformed-json"),
        (b'{"model": NaN}', 400, "malformed-json"),
        (b'{"metadata": {"half a character": "\\ud800"}}', 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (json.dumps({"model": "0" * 64}).encode(), 404, "unknown-model"),
        (json.dumps({"model": "0" * 64, "methods": ["magic"]}).encode(), 422, "invalid-request"),
        (json.dumps({"model": "0" * 64, "timeout_s": 1e9}).encode(), 422, "invalid-request"),
        (json.dumps({"model": "0" * 64, "webhook": "x"}).encode(), 422, "invalid-request"),
        (b" " * (8 * 2**20 + 1), 413, "too-large"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_submissions(service: RunningService, content: bytes, status: int, slug: str) -> None:
    answer = service.client.post("/v1/jobs", content=content)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:lipserve:problem:{slug}")


def test_a_bad_one_shot_keeps_no_file(service: RunningService) -> None:
    before, data = service.files(), fake_model(test="bad one-shot")
    assert service.analyze(data, methods=["magic"]).status_code == 422
    assert service.client.post("/v1/analyze?seed=x", content=data).status_code == 422
    parts = {"file": ("m", data), "request": (None, "{")}
    assert service.client.post("/v1/analyze", files=parts).status_code == 400
    assert service.files() == before


def test_lists_filter_and_leave_out_results(service: RunningService) -> None:
    model = service.upload(fake_model(test="lists"))
    ids = [
        service.finished(submit(service, model, methods=methods).json()["id"])["id"]
        for methods in (["autolip"], ["gradient"], ["autolip", "gradient"])
    ]

    def listed(**query: Any) -> list[str]:
        body = service.client.get("/v1/jobs", params={"model": model} | query).json()
        assert all("result" not in job for job in body["jobs"])
        return [job["id"] for job in body["jobs"]]

    assert listed() == ids[::-1]
    assert listed(method="autolip") == [ids[2], ids[0]]
    assert listed(method="auto") == []
    assert listed(status="failed") == []
    assert listed(status="succeeded", page_size=1) == [ids[2]]
    middle = service.client.get(f"/v1/jobs/{ids[1]}").json()["created_at"]
    assert listed(created_after=middle)[0] == ids[2]
    assert listed(created_after="2100-01-01T00:00:00Z") == []


def test_inspections_are_not_listed(service: RunningService) -> None:
    model = service.upload(fake_model(test="unlisted"))
    assert service.client.get("/v1/jobs", params={"model": model}).json()["jobs"] == []


def test_cancel_and_delete(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 63}), wait=None).json()
    assert service.client.delete(job["urls"]["self"]).status_code == 409
    assert service.client.post(job["urls"]["cancel"]).status_code == 202
    assert service.finished(job["id"])["status"] == "canceled"
    assert service.client.post(job["urls"]["cancel"]).status_code == 200
    assert service.client.delete(job["urls"]["self"]).status_code == 204
    assert service.client.get(job["urls"]["self"]).status_code == 404


def test_a_queued_job_is_canceled_at_once(service: RunningService) -> None:
    busy = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 64}), wait=None).json()
    waiting = service.analyze(fake_model(test="waiting"), wait=None).json()
    answer = service.client.post(waiting["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (202, "canceled")
    service.client.post(busy["urls"]["cancel"])
    service.finished(busy["id"])
    assert service.client.get(waiting["urls"]["self"]).json()["started_at"] is None


def test_events_as_a_page(service: RunningService) -> None:
    job = service.analyze(fake_model(test="events")).json()
    events = service.client.get(job["urls"]["events"]).json()["events"]
    assert [event["data"]["status"] for event in events] == ["queued", "running", "succeeded"]
    rest = service.client.get(job["urls"]["events"], params={"after": events[0]["id"]}).json()["events"]
    assert rest == events[1:]


def test_events_as_a_stream_that_can_be_resumed(service: RunningService) -> None:
    data = fake_model(analyze={"do": "tick", "times": 8, "every": 0.2})
    job = service.analyze(data, wait=None).json()
    headers = {"Accept": "text/event-stream"}
    with service.client.stream("GET", job["urls"]["events"], headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = list(stream.iter_lines())
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data_ = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert data_[0] == {"status": "queued"}
    assert data_[-1] == {"status": "succeeded"}
    assert 1 <= kinds.count("progress") <= 5  # stored twice a second at most
    assert ids == sorted(set(ids))
    headers["Last-Event-ID"] = str(ids[-2])
    resumed = service.client.get(job["urls"]["events"], headers=headers).text
    assert resumed.startswith(f"id: {ids[-1]}\n")


def test_progress_shows_while_the_job_runs(service: RunningService) -> None:
    data = fake_model(analyze={"do": "tick", "times": 300, "every": 0.2})
    job = service.analyze(data, wait=None).json()
    seen = eventually(lambda: service.client.get(job["urls"]["self"]).json(), lambda job: job["progress"])
    assert seen["status"] == "running"
    assert seen["progress"]["phase"] == "ticking"
    assert seen["progress"]["total"] == 300
    service.client.post(job["urls"]["cancel"])
    service.finished(job["id"])


def test_many_clients_wait_at_once(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 0.8}), wait=None).json()
    seen: list[str] = []

    def wait() -> None:
        seen.append(httpx.get(service.url + job["urls"]["self"], params={"wait": 20}, timeout=30).json()["status"])

    threads = [threading.Thread(target=wait) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["succeeded"] * 30
