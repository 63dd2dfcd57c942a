"""One JSON line a request and a job, with what ties them together, and with no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.observability import configure_logging, request_id
from app.settings import Settings
from tests.api.owners import client_of, new_key
from tests.conftest import RunningService, fake_model


def lines(service: RunningService) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]


def test_requests_and_jobs_leave_lines_and_no_secrets(start_service: Callable[..., RunningService]) -> None:
    service = start_service()
    secret = new_key(service, "ada", "read,write")["secret"]
    with client_of(service, secret) as client:
        headers = {"X-Request-Id": "trace-me", "Prefer": "wait=20", "Idempotency-Key": "do-not-log-me"}
        answer = client.post("/v1/analyze?name=private-name", content=fake_model(test="log"), headers=headers)
        assert answer.status_code == 200
        client.get("/v1/models", headers={"Authorization": "", "X-API-Key": secret})
        client.get(f"/v1/models?secret={secret}")
        client.get("/v1/models", headers={"Authorization": f"Bearer {secret}wrong"})
        httpx.get(service.url + "/nowhere/" + "x" * 10)
    service.terminate()
    shown = lines(service)
    access = [line for line in shown if line["logger"] == "lipserve.access"]
    posted = next(line for line in access if line["route"] == "/v1/analyze")
    assert (posted["method"], posted["status"], posted["tenant"], posted["request_id"]) == (
        "POST", 200, "ada", "trace-me",
    )  # fmt: skip
    assert posted["job"] == answer.json()["id"]
    assert 0 < posted["ms"] < 20_000
    assert {line["status"] for line in access} == {200, 401, 404}
    assert not [line for line in access if line["route"] == "/readyz"]
    assert [line for line in shown if line["logger"].startswith("app.jobs") and answer.json()["id"] in str(line)]
    for hidden in (secret, secret.removeprefix("lip_"), "private-name", "do-not-log-me"):
        assert hidden not in service.log()


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "is_json"),
    [("auto", False, True), ("auto", True, False), ("text", False, False), ("json", True, True)],
)
def test_the_format_is_chosen(
    monkeypatch: pytest.MonkeyPatch, log_format: Any, is_terminal: bool, is_json: bool
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    stream, root = Stream(), logging.getLogger()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(Settings(log_format=log_format))
    token = request_id.set("abc")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("some.room").exception("it failed", extra={"job": "j1"})
    finally:
        request_id.reset(token)
    text = stream.getvalue()
    assert "it failed" in text
    assert "boom" in text
    if is_json:
        line = json.loads(text)
        assert {"level": "ERROR", "logger": "some.room", "job": "j1", "request_id": "abc"}.items() <= line.items()
        assert line["time"].endswith("+00:00")
    else:
        assert not text.startswith("{")
