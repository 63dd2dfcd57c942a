"""A key that is revoked ends at once whatever it opened before: streams and waits too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.settings import Settings
from app.store.database import Database
from app.store.keys import KeyRepository
from tests.api.owners import client_of, new_key, upload
from tests.conftest import RunningService, fake_model

SOON_S = 5.0
SLEEPING = fake_model(analyze={"do": "sleep", "seconds": 60})


@pytest.fixture
def revoke(keyed: tuple[RunningService, str]) -> Callable[[str], None]:
    def now(key_id: str) -> None:
        database = Database(Settings(data_dir=keyed[0].data_dir).sqlalchemy_url())
        assert KeyRepository(database).revoke(key_id)
        database.close()

    return now


def streamed(client: httpx.Client, url: str, seen: list[Any]) -> None:
    with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer:
        seen.append(answer.status_code)
        for line in answer.iter_lines():
            seen.append(line)
    seen.append(time.monotonic())


def waited(client: httpx.Client, url: str, seen: list[Any]) -> None:
    seen.append(client.get(f"{url}?wait=3").status_code)


def test_a_stream_ends_and_a_wait_tells_nothing(
    keyed: tuple[RunningService, str], revoke: Callable[[str], None]
) -> None:
    service, _ = keyed
    key = new_key(service, "eve", "read,write")
    events: list[Any] = []
    answers: list[Any] = []
    with client_of(service, key["secret"]) as client, client_of(service, key["secret"]) as other:
        job = client.post("/v1/jobs", json={"model": upload(client, SLEEPING)}).json()
        threads = [
            threading.Thread(target=streamed, args=(client, job["urls"]["events"], events)),
            threading.Thread(target=waited, args=(other, job["urls"]["self"], answers)),
        ]
        for thread in threads:
            thread.start()
        while not events:
            time.sleep(0.01)
        revoked_at = time.monotonic()
        revoke(key["id"])
        for thread in threads:
            thread.join(timeout=20)
    assert events[0] == 200
    assert events[-1] - revoked_at < SOON_S
    assert answers == [401]


@pytest.mark.slow
def test_a_stream_without_a_key_ends_with_the_first_key(start_service: Callable[..., RunningService]) -> None:
    service = start_service()
    job = service.analyze(SLEEPING, wait=None).json()
    seen: list[Any] = []
    thread = threading.Thread(target=streamed, args=(service.client, job["urls"]["events"], seen))
    thread.start()
    while not seen:
        time.sleep(0.01)
    new_key(service, "first", "read")
    thread.join(timeout=SOON_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("number", ["9" * 30, str(2**63), "-1", "x"])
def test_any_number_of_the_last_event_is_read(service: RunningService, number: str) -> None:
    job = service.analyze(fake_model(test="last")).json()
    headers = {"Accept": "text/event-stream", "Last-Event-ID": number}
    assert service.client.get(job["urls"]["events"], headers=headers).status_code == 200
    assert service.client.get(f"{job['urls']['events']}?after={number}").status_code == 422
