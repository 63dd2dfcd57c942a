"""Signing in with a browser."""

from __future__ import annotations

import httpx
import pytest

from app.api.session import COOKIE
from tests.conftest import RunningService

BROWSER = {"Accept": "text/html"}


def test_a_cookie_that_no_script_reads_carries_the_key(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    answer = service.client.post("/session", data={"key": f" {secret}\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}={secret}".lower())
    service.client.cookies.clear()
    for part in ("httponly", "samesite=strict", "path=/"):
        assert part in cookie
    assert "max-age" not in cookie
    gone = service.client.delete("/session")
    assert gone.status_code == 204
    assert "max-age=0" in gone.headers["set-cookie"].lower()


def test_a_wrong_key_gets_no_cookie(keyed: tuple[RunningService, str]) -> None:
    answer = keyed[0].client.post("/session", data={"key": "lip_wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}]
)
def test_pages_of_other_origins_cannot_sign_anybody_in(
    keyed: tuple[RunningService, str], headers: dict[str, str]
) -> None:
    service, secret = keyed
    assert service.client.post("/session", data={"key": secret}, headers=headers).status_code == 403
    assert service.client.delete("/session", headers=headers).status_code == 403


def test_signing_in_leads_back_to_a_report_and_nowhere_else(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    for page, place in (("/v1/jobs/a-1/report", "/v1/jobs/a-1/report"), ("//evil.example", "/"), ("/docs", "/")):
        answer = service.client.post("/session", data={"key": secret, "page": page})
        assert answer.headers["location"] == place


def test_without_a_key_people_get_a_box_for_it(keyed: tuple[RunningService, str]) -> None:
    client = httpx.Client(base_url=keyed[0].url)
    assert client.get("/").status_code == 200
    answer = client.get("/v1/jobs/none/report", headers=BROWSER)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert 'action="/session"' in answer.text
    assert 'value="/v1/jobs/none/report"' in answer.text
    assert client.get("/v1/jobs/none/report").headers["content-type"] == "application/problem+json"
    client.close()


def test_the_cookie_opens_what_the_key_opens(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    with httpx.Client(base_url=service.url) as client:
        assert client.get("/v1/jobs").status_code == 401
        client.post("/session", data={"key": secret})
        assert client.get("/v1/jobs").status_code == 200
        other = {"Sec-Fetch-Site": "same-site"}
        assert client.post("/v1/jobs", json={}, headers=other).status_code == 403
        assert client.post("/v1/jobs", json={}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 422
        client.delete("/session")
        assert client.get("/v1/jobs").status_code == 401


def test_a_form_for_signing_in_is_short_and_has_no_files(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    assert service.client.post("/session", data={"key": secret, "page": "x" * 2**20}).status_code == 413
    assert service.client.post("/session", files={"key": ("k", secret), "file": ("f", b"x")}).status_code == 422
    assert service.client.post("/session", data={"key": "x" * 300}).json()["errors"][0]["pointer"] == "#/key"
    assert service.client.post("/session", content=b"key=" + b"\xff" * 20).status_code == 401
