"""The end of a job is told to its receiver: signed, again and again until it has it, and never to a forbidden place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.registries.signing import tenant_secret
from tests.conftest import RunningService, eventually, fake_model
from tests.registries.local_server import Answer, Asked, LocalServer, local_server

Start = Callable[..., RunningService]


@pytest.fixture
def receiver() -> Iterator[LocalServer]:
    with local_server() as server:
        yield server


QUICK = {"webhook_pauses_s": [0.1, 0.1, 0.1], "poll_s": 0.05, "webhook_timeout_s": 1}


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests that leave it as it was; it may call every receiver."""
    running = RunningService(tmp_path_factory.mktemp("sender") / "data", outbound_allow="127.0.0.1", **QUICK)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def sending(start_service: Start, receiver: LocalServer) -> Callable[..., RunningService]:
    """Starts a service that may call the receiver, with short pauses."""

    def start(**settings: Any) -> RunningService:
        given = QUICK | {"outbound_allow": receiver.place} | settings
        return start_service(**{name: json.dumps(v) if isinstance(v, list) else v for name, v in given.items()})

    return start


def submit(service: RunningService, url: str, wait: float | None = 30, **told: Any) -> dict[str, Any]:
    answer = service.analyze(fake_model(**told), wait=wait, webhook_url=url)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def deliveries(service: RunningService, job: str) -> list[dict[str, Any]]:
    return service.client.get("/v1/webhooks/deliveries", params={"job": job}).json()["deliveries"]


def settled(service: RunningService, job: str, within_s: float = 20) -> dict[str, Any]:
    found = eventually(lambda: deliveries(service, job), lambda d: d and d[0]["state"] != "pending", within_s)
    assert len(found) == 1
    return found[0]


def secret(service: RunningService) -> str:
    return service.client.get("/v1/webhooks/secret").json()["secret"]


def test_the_reference_receiver_verifies_our_signature(sending: Start, receiver: LocalServer) -> None:
    service = sending(public_url="https://lip.example/")
    job = submit(service, f"{receiver.url}/hook?a=1")
    delivery = settled(service, job["id"])
    [asked] = receiver.asked
    message = Webhook(secret(service)).verify(asked.body, asked.headers)
    assert message == {
        "type": "job.succeeded",
        "timestamp": job["finished_at"],
        "data": {
            "id": job["id"],
            "status": "succeeded",
            "urls": {name: path and f"https://lip.example{path}" for name, path in job["urls"].items()},
        },
    }
    assert (asked.path, asked.headers["content-type"]) == ("/hook?a=1", "application/json")
    assert (delivery["id"], delivery["state"]) == (asked.headers["webhook-id"], "delivered")
    assert [(a["status"], a["error"]) for a in delivery["attempts"]] == [(200, None)]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(service)).verify(asked.body.replace(b"succeeded", b"Succeeded"), asked.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(tenant_secret("another", "")).verify(asked.body, asked.headers)


def test_a_receiver_that_fails_twice_gets_the_third(sender: RunningService, receiver: LocalServer) -> None:
    receiver.answer = lambda _: Answer(503 if len(receiver.asked) <= 2 else 204)
    delivery = settled(sender, submit(sender, receiver.url)["id"])
    assert [a["status"] for a in delivery["attempts"]] == [503, 503, 204]
    assert delivery["state"] == "delivered"
    assert len({asked.headers["webhook-id"] for asked in receiver.asked}) == 1
    for asked in receiver.asked:
        Webhook(secret(sender)).verify(asked.body, asked.headers)


def test_tries_end_and_a_redelivery_begins_anew_under_the_same_id(
    sender: RunningService, receiver: LocalServer
) -> None:
    receiver.answer = lambda _: Answer(500)
    failed = settled(sender, submit(sender, receiver.url)["id"])
    assert (failed["state"], len(failed["attempts"]), failed["next_at"]) == ("failed", 4, None)
    receiver.answer = lambda _: Answer(200)
    answer = sender.client.post(f"/v1/webhooks/deliveries/{failed['id']}/redeliver")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    again = settled(sender, failed["job"])
    assert (again["state"], again["id"], len(again["attempts"])) == ("delivered", failed["id"], 5)
    sender.client.post(f"/v1/webhooks/deliveries/{failed['id']}/redeliver")
    eventually(lambda: len(receiver.asked), lambda n: n == 6)
    missing = sender.client.post("/v1/webhooks/deliveries/msg_none/redeliver")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:lipserve:problem:unknown-delivery")


def test_every_end_is_told(sender: RunningService, receiver: LocalServer) -> None:
    endings = {
        "failed": submit(sender, receiver.url, analyze={"do": "refuse", "slug": "method-skipped", "detail": "no"}),
        "timed_out": timed_out(sender, receiver.url),
        "canceled": submit(sender, receiver.url, None, analyze={"do": "sleep", "seconds": 60}),
    }
    sender.client.post(f"/v1/jobs/{endings['canceled']['id']}/cancel")
    for status, job in endings.items():
        assert settled(sender, job["id"])["type"] == f"job.{status}"
    first = submit(sender, receiver.url, ledger="/dev/null")
    again = sender.client.post(
        "/v1/jobs", json={"model": first["model"], "webhook_url": f"{receiver.url}/again"}
    ).json()
    assert again["cached"] or sender.finished(again["id"])
    assert settled(sender, again["id"])["url"] == f"{receiver.url}/again"


def timed_out(service: RunningService, url: str) -> dict[str, Any]:
    model = service.upload(fake_model(analyze={"do": "sleep", "seconds": 61}))
    return service.client.post("/v1/jobs", json={"model": model, "timeout_s": 0.3, "webhook_url": url}).json()


def test_nothing_is_sent_for_a_job_that_goes_on_or_has_no_receiver(
    sender: RunningService, receiver: LocalServer
) -> None:
    busy = submit(sender, receiver.url, None, analyze={"do": "sleep", "seconds": 60})
    eventually(lambda: sender.client.get(f"/v1/jobs/{busy['id']}").json()["status"], lambda s: s == "running")
    assert deliveries(sender, busy["id"]) == []
    assert receiver.asked == []
    sender.client.post(busy["urls"]["cancel"])
    sender.finished(busy["id"])


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "https://[::1]/", "ftp://example.com/", "nonsense",
     "http://user:word@example.com/", "http://[::ffff:127.0.0.1]/"],
)  # fmt: skip
def test_a_receiver_that_can_never_be_called_is_refused_at_once(service: RunningService, url: str) -> None:
    answer = service.analyze(fake_model(), wait=None, webhook_url=url)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/webhook_url"]


@pytest.mark.slow
def test_a_name_that_leads_inside_is_refused_when_it_is_called(start_service: Start, receiver: LocalServer) -> None:
    service = start_service(poll_s=0.05)
    delivery = settled(service, submit(service, f"http://localhost:{receiver.port}/")["id"])
    assert delivery["state"] == "failed"
    assert "not a public address" in delivery["attempts"][0]["error"]
    assert receiver.asked == []


def test_redirects_are_not_followed_and_gone_is_gone(sending: Start, receiver: LocalServer) -> None:
    service = sending(webhook_pauses_s=[0.1])
    with local_server() as inside:
        receiver.answer = lambda _: Answer(307, headers={"Location": inside.url})
        delivery = settled(service, submit(service, receiver.url)["id"])
        assert [a["status"] for a in delivery["attempts"]] == [307, 307]
        assert inside.asked == []
    receiver.answer = lambda _: Answer(410)
    delivery = settled(service, submit(service, receiver.url, ledger="/dev/null")["id"])
    assert [a["status"] for a in delivery["attempts"]] == [410]


def test_a_receiver_may_ask_for_time(sender: RunningService, receiver: LocalServer) -> None:
    receiver.answer = lambda _: Answer(429, headers={"Retry-After": "3600"})
    job = submit(sender, receiver.url)["id"]
    eventually(lambda: deliveries(sender, job)[0]["attempts"], len)
    [delivery] = deliveries(sender, job)
    assert delivery["state"] == "pending"
    asked_at = datetime.fromisoformat(delivery["attempts"][0]["at"])
    assert datetime.fromisoformat(delivery["next_at"]) - asked_at > timedelta(minutes=59)
    assert len(receiver.asked) == 1


@pytest.mark.slow
def test_a_message_survives_the_death_of_its_sender(sending: Start, receiver: LocalServer) -> None:
    """Killed in the middle of a try: the lease ends, and the message goes out again under the same id."""
    hangs = threading.Event()

    def answer(_: Asked) -> Answer:
        if len(receiver.asked) == 1:
            hangs.wait(20)
        return Answer(200)

    receiver.answer = answer
    service = sending()
    job = submit(service, receiver.url)["id"]
    eventually(lambda: receiver.asked, len)
    service.kill()
    hangs.set()
    service.start()
    assert settled(service, job, within_s=30)["state"] == "delivered"
    first, second = receiver.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@pytest.mark.slow
def test_the_message_outlives_its_job_and_the_secret_a_restart(sending: Start, receiver: LocalServer) -> None:
    service = sending(webhook_pauses_s=[0.5] * 20)
    receiver.answer = lambda _: Answer(500)
    job = submit(service, receiver.url)["id"]
    eventually(lambda: receiver.asked, len)
    known = secret(service)
    assert service.client.delete(f"/v1/jobs/{job}").status_code == 204
    service.kill()
    receiver.answer = lambda _: Answer(200)
    service.start()
    assert settled(service, job)["state"] == "delivered"
    assert secret(service) == known
    assert Webhook(known).verify(receiver.asked[-1].body, receiver.asked[-1].headers)["data"]["id"] == job


@pytest.mark.slow
def test_two_processes_send_each_message_once(sending: Start, receiver: LocalServer) -> None:
    one, other = sending(), sending(local_workers=False)
    model = one.upload(fake_model())
    jobs = [
        one.client.post("/v1/jobs", json={"model": model, "seed": seed, "webhook_url": receiver.url}).json()["id"]
        for seed in range(30)
    ]
    for job in jobs:
        assert settled(other, job)["state"] == "delivered"
    told = [json.loads(asked.body)["data"]["id"] for asked in receiver.asked]
    assert sorted(told) == sorted(jobs)


def test_tenants_have_secrets_of_their_own() -> None:
    assert tenant_secret("s", "a") != tenant_secret("s", "b") != tenant_secret("t", "b")
    assert tenant_secret("s", "a") == tenant_secret("s", "a")
    assert tenant_secret("s", "a").startswith("whsec_")
