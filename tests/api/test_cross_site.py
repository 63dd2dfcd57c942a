"""Pages of others get nothing done and nothing told; programs, and pages of our own, are served as ever."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from app.api.hosts import Hosts
from app.settings import Settings
from tests.conftest import RunningService, fake_model

EVIL = "http://evil.example"
CROSS_SITE = (
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": EVIL},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
)
FORM = "multipart/form-data; boundary=x"
BODIES = (("text/plain", b'{"model": "0"}'), (FORM, b"--x--\r\n"), ("application/x-www-form-urlencoded", b"a=b"))


def refused(answer: httpx.Response, status: int, slug: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["x-request-id"]
    assert "LIPSERVE_" in answer.json()["detail"]
    return (answer.status_code, answer.json()["type"]) == (status, f"urn:lipserve:problem:{slug}")


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
@pytest.mark.parametrize(("content_type", "body"), BODIES)
def test_other_pages_cannot_write(
    service: RunningService, headers: dict[str, str], content_type: str, body: bytes
) -> None:
    told = headers | {"Content-Type": content_type}
    for path in ("/v1/jobs", "/v1/models", "/v1/datasets", "/v1/analyze", "/v1/jobs/x/cancel", "/session", "/nowhere"):
        assert refused(service.client.post(path, content=body, headers=told), 403, "cross-site")


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_no_writing_method_is_left_out(service: RunningService, headers: dict[str, str], method: str) -> None:
    assert refused(service.client.request(method, f"/v1/models/{'0' * 64}", headers=headers), 403, "cross-site")


def test_a_key_that_nobody_checks_opens_nothing_to_other_pages(service: RunningService) -> None:
    headers = {"Origin": EVIL, "Authorization": "Bearer lip_any", "X-API-Key": "lip_any"}
    assert refused(service.client.post("/v1/jobs", json={}, headers=headers), 403, "cross-site")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://OWN"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://OWN"},
    ],
    ids=str,
)
def test_programs_and_our_own_pages_write(service: RunningService, headers: dict[str, str]) -> None:
    own = {name: value.replace("OWN", f"127.0.0.1:{service.port}") for name, value in headers.items()}
    answer = service.client.post("/v1/analyze", content=fake_model(test="own"), headers=own | {"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text


def test_another_port_of_the_same_host_is_another_origin(service: RunningService) -> None:
    headers = {"Origin": "http://127.0.0.1:1"}
    assert refused(service.client.post("/v1/jobs", json={}, headers=headers), 403, "cross-site")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs", "/v1/jobs/x/events", "/", "/openapi.json", "/metrics"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", ""]
)
def test_nothing_is_read_under_a_foreign_name(service: RunningService, path: str, host: str) -> None:
    assert refused(service.client.get(path, headers={"Host": host}), 421, "foreign-host")


def test_a_rebound_page_is_foreign_although_its_browser_calls_it_ours(service: RunningService) -> None:
    headers = {"Host": "evil.example", "Origin": EVIL, "Sec-Fetch-Site": "same-origin", "Authorization": "Bearer x"}
    assert refused(service.client.post("/v1/jobs", json={}, headers=headers), 421, "foreign-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "127.8.8.8"])
def test_every_name_of_this_machine_is_answered(service: RunningService, host: str) -> None:
    answer = service.client.get("/v1/jobs", headers={"Host": f"{host}:{service.port}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.0\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nConnection: close\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
    ],
)
def test_a_request_has_one_host(service: RunningService, head: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(head + b"\r\n")
        assert int(connection.recv(4096).split()[1]) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
    ],
    ids=str,
)
def test_other_pages_lead_here_and_show_pictures_only(
    service: RunningService, headers: dict[str, str], status: int
) -> None:
    assert service.client.get("/v1/jobs", headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/models", "/readyz", "/nowhere", "/openapi.json"])
def test_no_answer_is_shared_with_other_origins(service: RunningService, path: str) -> None:
    for headers in ({"Origin": EVIL}, {"Origin": EVIL, "Access-Control-Request-Method": "POST"}):
        for method in ("GET", "OPTIONS"):
            answer = service.client.request(method, path, headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_with_keys_a_key_in_a_header_counts_and_a_cookie_does_not(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    bearer, named = {"Authorization": f"Bearer {secret}"}, {"X-API-Key": secret}
    for headers in CROSS_SITE:
        for key in (bearer, named):
            answer = httpx.post(f"{service.url}/v1/jobs", json={}, headers=headers | key)
            assert answer.status_code == 422
        for key in ({"Cookie": f"lipserve_key={secret}"}, {"Cookie": f"lipserve_key={secret}", "X-API-Key": ""}, {}):
            assert refused(httpx.post(f"{service.url}/v1/jobs", json={}, headers=headers | key), 403, "cross-site")


def test_with_keys_every_name_is_answered(keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    headers = {"Host": "lip.example", "Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{service.url}/v1/jobs", headers=headers).status_code == 200


HOSTS = Hosts.of(
    Settings(allowed_hosts="lip.lan, 10.1.0.0/16, lip.example:8443", public_url="https://pub.example/x", host="0.0.0.0")
)


@pytest.mark.parametrize(
    ("host", "is_held"),
    [
        ("lip.lan", True),
        ("LIP.LAN.:9000", True),
        ("lip.example:8443", True),
        ("lip.example", False),
        ("10.1.2.3:80", True),
        ("10.2.2.3", False),
        ("pub.example", True),
        ("0.0.0.0:8000", False),
        ("192.168.1.5:8000", True),  # the address that the connection came to
        ("192.168.1.6:8000", False),
        ("lip.lan:port", False),
        ("lip.lan/x", False),
        ("[::1", False),
        ("2130706433", False),
    ],
)
def test_names_of_the_service(host: str, is_held: bool) -> None:
    assert HOSTS.hold(host, ("192.168.1.5", 8000)) is is_held


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("https://pub.example", True),
        ("http://lip.lan", True),
        ("http://lip.lan:9000", False),  # another program's pages
        ("https://lip.example:8443", True),
        ("https://lip.example", False),
        ("http://backend:8000", True),
        ("http://backend", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("http://pub.example.evil.example", False),
    ],
)
def test_origins_of_our_own_pages(origin: str, is_own: bool) -> None:
    assert HOSTS.own(origin, "backend:8000") is is_own


def test_what_a_page_sends_as_text_is_no_job(service: RunningService) -> None:
    before: list[Any] = service.client.get("/v1/jobs").json()["jobs"]
    body = json.dumps({"model": "0" * 64})
    service.client.post("/v1/jobs", content=body, headers={"Content-Type": "text/plain", "Origin": EVIL})
    assert service.client.get("/v1/jobs").json()["jobs"] == before
