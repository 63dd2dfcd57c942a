"""Nobody sees what another owner has: every route of the service is asked by two of them."""

import base64
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from app.main import create_app
from app.settings import Settings
from tests.api.owners import client_of, finished, lipserve, new_key, upload
from tests.conftest import RunningService, eventually, fake_model

OPEN = {
    "GET /", "GET /livez", "GET /readyz", "GET /v2/health/live", "GET /v2/health/ready", "GET /version",
    "GET /docs", "GET /openapi.json", "HEAD /openapi.json", "GET /redoc",
}  # fmt: skip
COMMON = {"GET /v1/methods", "GET /v1/operators"}
"""The same for everybody with a key."""
ADMIN = {"GET /metrics"}
VIEWS = {"GET /v1/workers", "GET /v1/webhooks/secret"}
SIGNED = {"POST /v1/hooks/mlflow", "POST /v1/hooks/huggingface"}
"""The caller is a registry, which signs; off without its secret."""
SESSIONS = {"POST /session", "DELETE /session"}
"""A browser signs in with the key in a form, and out."""
LISTS = {
    "GET /v1/models", "GET /v1/datasets", "GET /v1/jobs", "GET /v1/webhooks/deliveries", "GET /v1/webhooks/received",
    "GET /v1/series",
}  # fmt: skip
CREATIONS = {
    "POST /v1/models", "PUT /v1/models/{model_id}", "POST /v1/datasets", "POST /v1/jobs", "POST /v1/analyze",
    "POST /v1/comparisons",
}  # fmt: skip
THINGS = {
    "GET /v1/models/{model_id}", "HEAD /v1/models/{model_id}", "DELETE /v1/models/{model_id}",
    "GET /v1/models/{model_id}/graph",
    "GET /v1/datasets/{dataset_id}", "HEAD /v1/datasets/{dataset_id}", "DELETE /v1/datasets/{dataset_id}",
    "GET /v1/jobs/{job_id}", "DELETE /v1/jobs/{job_id}", "POST /v1/jobs/{job_id}/cancel",
    "GET /v1/jobs/{job_id}/events", "GET /v1/jobs/{job_id}/witness",
    "GET /v1/jobs/{job_id}/radii", "GET /v1/jobs/{job_id}/certificate",
    "GET /v1/jobs/{job_id}/report", "GET /v1/jobs/{job_id}/report.svg",
    "POST /v1/webhooks/deliveries/{delivery_id}/redeliver",
    "GET /v1/series/{name}", "GET /series/{name}", "DELETE /v1/series/{name}",
}  # fmt: skip
"""What is addressed by its id: another owner gets 404."""
HOOK_SECRET = "told-to-the-hub"
CLOSED = sorted(COMMON | ADMIN | VIEWS | LISTS | CREATIONS | THINGS)


@dataclass
class World:
    """A service with keys, and what its owner ada has there."""

    service: RunningService
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def url(self, operation: str) -> tuple[str, str]:
        """Method and path of an operation on ada's things."""
        method, template = operation.split(" ")
        return method, template.format(**self.ids)


CERTIFICATE = {"bound": 1.0, "method": "fake", "pieces": []}


def model_of(name: str) -> bytes:
    return fake_model(name=name, witness=base64.b64encode(b"npz").decode(), certificate=CERTIFICATE)


def dataset() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    service = RunningService(
        tmp_path_factory.mktemp("owners") / "data",
        outbound_allow="127.0.0.1",
        hook_owner="ada",
        huggingface_webhook_secret=HOOK_SECRET,
    )
    service.start()
    world = World(service)
    scopes = {"ada": "read,write", "bob": "read,write", "reader": "read", "writer": "write", "boss": "read,admin"}
    for name, granted in scopes.items():
        owner = name if name in ("ada", "bob") else "ada"
        world.clients[name] = client_of(service, new_key(service, owner, granted)["secret"])
    world.clients["nobody"] = service.client
    ada = world.clients["ada"]
    model = upload(ada, model_of("ada's"))
    ada.put(f"/v1/models/{model}?name=adas&version=1", content=model_of("ada's")).raise_for_status()
    world.ids = {
        "name": "adas",
        "model_id": model,
        "dataset_id": upload(ada, dataset(), "datasets"),
        "job_id": finished(ada, model, webhook_url=f"{service.url}/nowhere")["id"],
        "received_id": "some/model@" + "0" * 40,
    }
    deliveries = eventually(lambda: ada.get("/v1/webhooks/deliveries").json()["deliveries"], bool)
    world.ids["delivery_id"] = deliveries[0]["id"]
    told = {"event": {"action": "update", "scope": "repo.content"}, "updatedRefs": [{"newSha": "0" * 40}]}
    told |= {"repo": {"type": "model", "name": "some/model", "headSha": "0" * 40}}
    hooked = service.client.post("/v1/hooks/huggingface", json=told, headers={"X-Webhook-Secret": HOOK_SECRET})
    assert hooked.status_code == 202, hooked.text
    yield world
    for client in world.clients.values():
        client.close()
    service.stop()


def test_every_route_is_known_here() -> None:
    service = create_app(Settings())
    documented = {f"{verb.upper()} {path}" for path, verbs in service.openapi()["paths"].items() for verb in verbs}
    pages = {operation for operation in OPEN if any(part in operation for part in ("docs", "openapi", "redoc"))}
    assert documented == (OPEN - pages) | SIGNED | SESSIONS | set(CLOSED), (
        "say above who may use a route, and test it below"
    )
    hidden = {
        f"{verb} {route.path}"
        for route in service.routes
        if not getattr(route, "include_in_schema", True)
        for verb in getattr(route, "methods", None) or ()
    }
    assert hidden <= pages


@pytest.mark.parametrize("operation", sorted(SIGNED))
def test_registries_sign_and_send_no_key(world: World, operation: str) -> None:
    for name in ("nobody", "ada"):
        answer = world.clients[name].request(*world.url(operation), json={})
        assert answer.json()["type"].rpartition(":")[2] in ("bad-signature", "hook-disabled")


@pytest.mark.parametrize("operation", sorted(OPEN))
def test_some_routes_need_no_key(world: World, operation: str) -> None:
    assert world.clients["nobody"].request(*world.url(operation)).status_code == 200


@pytest.mark.parametrize("operation", CLOSED)
def test_every_other_route_needs_a_key(world: World, operation: str) -> None:
    for headers in ({}, {"Authorization": "Bearer lip_wrong"}, {"X-API-Key": "wrong"}, {"Authorization": "Basic YTpi"}):
        answer = world.clients["nobody"].request(*world.url(operation), headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="lipserve"')
        if not operation.startswith("HEAD"):
            assert answer.json()["type"] == "urn:lipserve:problem:unauthorized"


@pytest.mark.parametrize("operation", CLOSED)
def test_every_other_route_needs_its_scope(world: World, operation: str) -> None:
    method, url = world.url(operation)
    missing = "admin" if operation in ADMIN else "read" if method in ("GET", "HEAD") else "write"
    answer = world.clients["reader" if missing != "read" else "writer"].request(method, url)
    assert answer.status_code == 403
    assert f'scope="{missing}"' in answer.headers["WWW-Authenticate"]
    if method != "HEAD":
        assert answer.json()["type"] == "urn:lipserve:problem:forbidden"
        assert f"`{missing}`" in answer.json()["detail"]


@pytest.mark.parametrize("operation", sorted(THINGS, key=lambda operation: (operation.startswith("DELETE"), operation)))
def test_another_owners_thing_does_not_exist(world: World, operation: str) -> None:
    """Deletions come last, and take nothing away."""
    ada, bob = world.clients["ada"], world.clients["bob"]
    for headers in ({}, {"Accept": "text/event-stream"}):
        answer = bob.request(*world.url(operation), headers=headers)
        assert answer.status_code == 404
        if not operation.startswith("HEAD"):
            assert answer.json()["type"].startswith("urn:lipserve:problem:unknown-")
    for thing in (
        "models/{model_id}",
        "datasets/{dataset_id}",
        "jobs/{job_id}",
        "jobs/{job_id}/certificate",
        "series/{name}",
    ):
        assert ada.get("/v1/" + thing.format(**world.ids)).status_code == 200


@pytest.mark.parametrize("operation", sorted(LISTS))
def test_lists_show_only_ones_own(world: World, operation: str) -> None:
    _, url = world.url(operation)
    kind = url.rpartition("/")[2]
    name, own = {
        "deliveries": ("id", "delivery_id"),
        "received": ("delivery", "received_id"),
        "series": ("name", "name"),
    }.get(kind, ("id", f"{kind.removesuffix('s')}_id"))

    def seen_by(client: str) -> set[str]:
        return {item[name] for item in world.clients[client].get(url).json()[kind]}

    assert world.ids[own] in seen_by("ada")
    assert not seen_by("bob") & set(world.ids.values())
    assert seen_by("boss") == seen_by("ada")


def test_a_browser_signs_in_with_a_key_only(world: World) -> None:
    nobody, secret = world.clients["nobody"], world.clients["ada"].headers["Authorization"].removeprefix("Bearer ")
    assert nobody.post("/session", data={"key": "lip_wrong"}).status_code == 401
    signed_in = httpx.post(world.service.url + "/session", data={"key": secret})
    assert signed_in.status_code == 303
    assert "HttpOnly" in signed_in.headers["Set-Cookie"]
    cookie = {"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]}
    url, other = "/v1/models", {"Sec-Fetch-Site": "same-site"}
    assert nobody.get(url, headers=cookie).status_code == 200
    assert nobody.post(url, headers=cookie | other).status_code == 403, "another site's page sends the cookie, too"
    assert nobody.delete("/session").status_code == 204


def test_everybody_has_a_webhook_secret_of_their_own(world: World) -> None:
    secrets = [world.clients[name].get("/v1/webhooks/secret").json()["secret"] for name in ("ada", "bob")]
    assert secrets[0] != secrets[1]
    assert world.clients["reader"].get("/v1/webhooks/secret").status_code == 403


def test_the_same_file_is_new_for_everybody(world: World) -> None:
    bob = world.clients["bob"]
    data = model_of("shared by content")
    mine = upload(world.clients["ada"], data)
    answer = bob.put(f"/v1/models/{mine}", content=data)
    assert (answer.status_code, answer.json()["id"]) == (201, mine)
    assert bob.post("/v1/models", content=data).status_code == 200
    assert bob.delete(f"/v1/models/{mine}").status_code == 204
    assert world.clients["ada"].get(f"/v1/models/{mine}").status_code == 200
    finished(world.clients["ada"], mine)


def test_a_job_cannot_name_what_another_owner_has(world: World) -> None:
    bob, data = world.clients["bob"], fake_model(name="bob's")
    own = upload(bob, data)
    theirs = {"model": world.ids["model_id"]}, {"model": own, "dataset": world.ids["dataset_id"]}
    for request, slug in zip(theirs, ("unknown-model", "unknown-dataset"), strict=True):
        answer = bob.post("/v1/jobs", json=request)
        assert (answer.status_code, answer.json()["type"]) == (404, f"urn:lipserve:problem:{slug}")
    answer = bob.post(f"/v1/analyze?dataset={world.ids['dataset_id']}", content=data)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:lipserve:problem:unknown-dataset")
    centre = {"kind": "ball", "center": f"{world.ids['dataset_id']}#0", "radius": 1}
    assert bob.post("/v1/jobs", json={"model": own, "domain": centre}).status_code == 404


def test_an_answer_is_not_taken_from_another_owners_job(world: World) -> None:
    data = model_of("asked by two")
    for name in ("ada", "bob"):
        client = world.clients[name]
        model = upload(client, data)
        assert [finished(client, model)["cached"] for _ in range(2)] == [False, True]


def test_an_idempotency_key_belongs_to_its_owner(world: World) -> None:
    data, headers = fake_model(name="one key, two owners"), {"Idempotency-Key": "mine"}
    answers = [world.clients[name].post("/v1/analyze", content=data, headers=headers) for name in ("ada", "bob")]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 2
    assert not any("Idempotency-Replayed" in answer.headers for answer in answers)


def test_workers_hide_the_jobs_of_others(world: World) -> None:
    ada = world.clients["ada"]
    model = upload(ada, fake_model(analyze={"do": "sleep", "seconds": 66}))
    job = ada.post("/v1/jobs", json={"model": model}).json()

    def seen_by(name: str) -> Any:
        return [worker["job"] for worker in world.clients[name].get("/v1/workers").json()["workers"]]

    eventually(lambda: seen_by("ada"), lambda jobs: job["id"] in jobs)
    assert job["id"] in seen_by("boss")
    assert set(seen_by("bob")) == {None}
    ada.post(job["urls"]["cancel"])
    ada.get(job["urls"]["self"], params={"wait": 20})


def test_a_revoked_key_ends_at_once_and_opens_nothing(world: World) -> None:
    key = new_key(world.service, "ada", "read")
    with client_of(world.service, key["secret"]) as client:
        assert client.get("/v1/models").status_code == 200
        assert lipserve(world.service, "keys", "revoke", key["id"]).returncode == 0
        assert client.get("/v1/models").status_code == 401
    assert lipserve(world.service, "keys", "revoke", key["id"]).returncode == 1


def test_either_header_carries_the_key(world: World) -> None:
    secret = world.clients["reader"].headers["Authorization"].removeprefix("Bearer ")
    assert world.clients["nobody"].get("/v1/models", headers={"X-API-Key": secret}).status_code == 200
    assert world.clients["nobody"].get("/v1/models", headers={"Authorization": f"bearer {secret}"}).status_code == 200


@pytest.mark.slow
def test_many_requests_with_keys_at_once(world: World) -> None:
    seen: list[int] = []

    def ask(name: str) -> None:
        headers = world.clients[name].headers
        seen.append(httpx.get(world.service.url + "/v1/models", headers=headers).status_code)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("ada", "bob", "nobody") for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [200] * 40 + [401] * 20
