"""Models that the service fetches itself: from URLs and from the hub."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.registries.guard import Guard
from app.registries.huggingface import Hub
from tests.api.owners import new_key
from tests.conftest import RunningService, eventually, fake_model, free_port
from tests.lipschitz.bundles import identity_of, split
from tests.registries.hub import StandInHub, stand_in_hub
from tests.registries.local_server import Answer, Asked, LocalServer, local_server

Start = Callable[..., RunningService]
MODEL = fake_model(inspect=None, mark="source")
SHA256 = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture(scope="module")
def files() -> Iterator[LocalServer]:
    with local_server(lambda _: Answer(body=MODEL)) as server:
        yield server


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with stand_in_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory, files: LocalServer, hub: StandInHub) -> Iterator[RunningService]:
    running = RunningService(
        tmp_path_factory.mktemp("fetching") / "data",
        outbound_allow=f"{files.place},{hub.store.place}",
        huggingface_endpoint=hub.server.url,
        huggingface_token="hf_token",
        max_upload_bytes=2**20,
        source_timeout_s=5,
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _as_new(files: LocalServer, hub: StandInHub) -> None:
    files.answer = lambda _: Answer(body=MODEL)
    files.asked.clear()
    hub.server.asked.clear()
    hub.store.asked.clear()


def post(service: RunningService, source: dict[str, Any], headers: dict[str, str] | None = None, **others: Any) -> Any:
    return service.client.post("/v1/models", json={"source": source, **others}, headers=headers or {})


def forget(service: RunningService, sha256: str = SHA256) -> None:
    service.client.delete(f"/v1/models/{sha256}")


def slug(answer: Any) -> str:
    return answer.json()["type"].rpartition(":")[2]


def test_a_url_becomes_the_model_that_an_upload_would_be(fetching: RunningService, files: LocalServer) -> None:
    forget(fetching)
    url = f"{files.url}/models/my%20net.onnx?v=1"
    first, second = post(fetching, {"url": url}), post(fetching, {"url": url})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert (first.json()["id"], first.json()["name"]) == (SHA256, "my net.onnx")
    assert first.headers["Location"] == f"/v1/models/{SHA256}"
    assert files.asked[0].path == "/models/my%20net.onnx?v=1"
    assert fetching.client.post("/v1/models", files={"file": ("m", MODEL)}).status_code == 200


def test_a_known_digest_is_not_fetched_and_a_wrong_one_is_refused(fetching: RunningService, files: LocalServer) -> None:
    forget(fetching)
    wrong = post(fetching, {"url": files.url}, sha256="0" * 64)
    assert (wrong.status_code, slug(wrong)) == (400, "digest-mismatch")
    assert fetching.client.head(f"/v1/models/{SHA256}").status_code == 404
    assert post(fetching, {"url": files.url}, sha256=SHA256, name="mine").json()["name"] == "mine"
    asked = len(files.asked)
    assert post(fetching, {"url": files.url}, sha256=SHA256).status_code == 200
    assert len(files.asked) == asked


def test_an_idempotency_key_replays_without_fetching(fetching: RunningService, files: LocalServer) -> None:
    forget(fetching)
    key = {"Idempotency-Key": "one"}
    first = post(fetching, {"url": files.url}, key)
    again = post(fetching, {"url": files.url}, key)
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    assert len(files.asked) == 1
    other = post(fetching, {"url": f"{files.url}/other"}, key)
    assert slug(other) == "idempotency-mismatch"


@pytest.mark.parametrize(("status", "expected"), [(404, 502), (500, 502), (302, 422), (206, 502)])
def test_answers_that_are_no_file(fetching: RunningService, files: LocalServer, status: int, expected: int) -> None:
    files.answer = lambda _: Answer(status, headers={"Location": files.url} if status == 302 else {})
    answer = post(fetching, {"url": files.url})
    assert (answer.status_code, slug(answer)) == (
        expected,
        "source-refused" if expected == 422 else "source-unreachable",
    )
    assert len(files.asked) == 1


def test_places_that_are_forbidden_or_not_there(fetching: RunningService) -> None:
    with local_server() as inside:
        for url in (inside.url, f"http://localhost:{inside.port}/", "http://169.254.169.254/", "file:///etc/passwd"):
            answer = post(fetching, {"url": url})
            assert (answer.status_code, slug(answer)) == (422, "source-refused"), url
        assert inside.asked == []


@pytest.mark.slow
def test_nothing_listens(start_service: Start) -> None:
    port = free_port()
    service = start_service(outbound_allow=f"127.0.0.1:{port}")
    answer = post(service, {"url": f"http://127.0.0.1:{port}/m.onnx"})
    assert (answer.status_code, slug(answer)) == (502, "source-unreachable")


def test_caps_and_formats_are_those_of_uploads(fetching: RunningService, files: LocalServer) -> None:
    before = fetching.files()
    files.answer = lambda _: Answer(body=bytes(2**20 + 1))
    assert slug(post(fetching, {"url": files.url})) == "too-large"
    files.answer = lambda _: Answer(body=b"<html>")
    assert slug(post(fetching, {"url": files.url})) == "not-a-model"
    refusing = fake_model(inspect={"do": "refuse", "slug": "invalid-model", "detail": "no"})
    files.answer = lambda _: Answer(body=refusing)
    assert slug(post(fetching, {"url": files.url})) == "invalid-model"
    assert fetching.files() == before


@pytest.mark.parametrize(
    "body",
    [{}, {"source": {}}, {"source": {"url": "http://a", "hf": {"repo": "a/b"}}}, {"source": {"url": 1}},
     {"source": {"url": "http://a"}, "sha256": "x"}, {"source": {"mlflow": {"name": "a"}}}, [], {"sourc": 1},
     {"source": {"mlflow": {"name": "a", "version": "1", "alias": "b"}}}],
)  # fmt: skip
def test_bodies_that_do_not_fit(fetching: RunningService, body: Any) -> None:
    answer = fetching.client.post("/v1/models", json=body)
    assert (answer.status_code, slug(answer)) == (422, "invalid-request")


def test_the_hub_gives_a_file_by_commit_and_large_ones_from_elsewhere(
    fetching: RunningService, hub: StandInHub
) -> None:
    hub.token, hub.large = "hf_token", {"onnx/model.onnx"}
    model = fake_model(mark="hub")
    digest = hashlib.sha256(model).hexdigest()
    sha = hub.commit({"README.md": b"x", "config.json": b"{}", "onnx/model.onnx": model, "z.onnx": b"no"})
    first = post(fetching, {"hf": {"repo": "acme/net"}})
    assert (first.status_code, first.json()["id"]) == (201, digest), first.text
    assert f"/acme/net/resolve/{sha}/onnx/model.onnx" in [asked.path for asked in hub.server.asked]
    assert [asked.headers.get("authorization") for asked in hub.store.asked] == [None]
    asked = len(hub.store.asked)
    assert post(fetching, {"hf": {"repo": "acme/net", "revision": sha}}).status_code == 200
    assert len(hub.store.asked) == asked
    assert slug(post(fetching, {"hf": {"repo": "acme/net", "file": "none.onnx"}})) == "invalid-model"
    assert slug(post(fetching, {"hf": {"repo": "acme/net", "revision": "gone"}})) == "source-unreachable"
    assert slug(post(fetching, {"hf": {"repo": "../../etc"}})) == "source-refused"


def test_a_model_comes_with_the_files_beside_it(fetching: RunningService, hub: StandInHub, files: LocalServer) -> None:
    model = split({"w": "model.onnx_data", "v": "weights/v.bin"}, seed=3)
    model = {name.replace("m.onnx", "model.onnx"): data for name, data in model.items()}
    hub.commit({"README.md": b"x", "model.safetensors": b"y"} | {f"onnx/{name}": data for name, data in model.items()})
    first, again = (post(fetching, {"hf": {"repo": "acme/net"}}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert (first.json()["id"], first.json()["name"]) == (identity_of(model), "acme-net-model.onnx")
    assert {file["name"] for file in first.json()["files"]} == set(model)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in model.items():
            archive.writestr(f"export/{name}", data)
    files.answer = lambda _: Answer(body=packed.getvalue())
    assert post(fetching, {"url": f"{files.url}/net.zip"}).json()["id"] == identity_of(model)
    hub.commit({f"onnx/{name}": data for name, data in model.items() if name != "weights/v.bin"})
    assert slug(post(fetching, {"hf": {"repo": "acme/net"}})) == "source-unreachable"


def test_a_large_file_that_is_not_what_the_hub_says_is_refused(fetching: RunningService, hub: StandInHub) -> None:
    hub.large = {"model.onnx"}
    hub.commit({"model.onnx": fake_model(mark="promised")})
    real = hub.answer

    def swap(asked: Any) -> Answer:
        answer = real(asked)
        hub.store.answer = lambda _: Answer(body=fake_model(mark="swapped"))
        return answer

    hub.server.answer = swap
    assert slug(post(fetching, {"hf": {"repo": "acme/net"}})) == "digest-mismatch"
    hub.server.answer = real


def test_mlflow_is_refused_where_there_is_none(fetching: RunningService) -> None:
    assert slug(post(fetching, {"mlflow": {"name": "m", "version": "1"}})) == "source-refused"


# The hub's hook

SECRET = "hub-secret"


@pytest.fixture
def hooked(start_service: Start, hub: StandInHub) -> Start:
    def start(**settings: Any) -> RunningService:
        hub.token = ""
        given = {
            "huggingface_endpoint": hub.server.url, "huggingface_webhook_secret": SECRET, "poll_s": 0.05,
            "outbound_allow": hub.store.place, "hook_pauses_s": "[0.1, 0.1]",
            "hook_request": json.dumps({"methods": ["autolip"], "gate": {"max_upper": 3}, "metadata": {"from": "hub"}}),
        }  # fmt: skip
        return start_service(**given | settings)

    return start


def tell(service: RunningService, message: dict[str, Any], secret: str = SECRET) -> Any:
    return service.client.post("/v1/hooks/huggingface", json=message, headers={"X-Webhook-Secret": secret})


def received(service: RunningService) -> list[dict[str, Any]]:
    return service.client.get("/v1/webhooks/received").json()["received"]


def over(service: RunningService) -> dict[str, Any]:
    [row] = eventually(lambda: received(service), lambda r: r and r[0]["state"] in ("done", "failed"), 30)
    return row


def test_a_push_is_analysed_once(hooked: Start, hub: StandInHub) -> None:
    service = hooked()
    sha = hub.commit({"model.onnx": fake_model(mark="pushed")})
    answers = [tell(service, hub.push(sha)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    row = over(service)
    assert (row["state"], row["event"]) == ("done", {"repository": "acme/net", "revision": sha})
    [job] = service.client.get("/v1/jobs").json()["jobs"]
    assert job["id"] == row["job"]
    assert (job["request"]["methods"], job["metadata"]["from"]) == (["autolip"], "hub")
    assert job["metadata"]["huggingface"]["revision"] == sha
    assert row["tags"]["lipschitz.upper"] == "2.0"
    [version] = service.client.get("/v1/series/acme/net").json()["versions"]
    assert (version["version"], version["upper"], version["job"]) == (sha, 2.0, job["id"])
    assert tell(service, hub.push(sha)).json() == {"delivery": f"acme/net@{sha}", "state": "done", "job": job["id"]}
    assert len(service.client.get("/v1/jobs").json()["jobs"]) == 1


def test_wrong_secrets_and_other_messages(hooked: Start, hub: StandInHub, service: RunningService) -> None:
    running = hooked()
    message = hub.push("0" * 40)
    for wrong in ("", "hub-secre", "HUB-SECRET", "hub-secret-"):
        answer = tell(running, message, wrong)
        assert (answer.status_code, slug(answer)) == (401, "bad-signature")
        assert "WWW-Authenticate" in answer.headers
    assert received(running) == []
    assert slug(tell(service, message)) == "hook-disabled"
    assert tell(running, message | {"event": {"action": "update", "scope": "discussion"}}).json()["state"] == "ignored"
    assert (
        tell(running, message | {"repo": {"type": "dataset", "name": "a", "headSha": "0"}}).json()["state"] == "ignored"
    )


def test_a_hub_that_fails_is_tried_again_and_its_failure_told(hooked: Start, hub: StandInHub) -> None:
    sha = hub.commit({"model.onnx": fake_model(mark="late")})
    real, failures = hub.answer, iter([Answer(503), Answer(503)])
    hub.server.answer = lambda asked: next(failures, None) or real(asked)
    service = hooked()
    tell(service, hub.push(sha))
    assert over(service)["state"] == "done"
    hub.server.answer = lambda _: Answer(503)
    tell(service, hub.push("f" * 40))
    row = eventually(lambda: received(service)[0], lambda r: r["state"] == "failed", 20)
    assert (row["job"], row["error"]) == (None, "The host 127.0.0.1 answers with status 503.")
    hub.server.answer = real


@pytest.mark.slow
def test_what_was_told_survives_a_kill(hooked: Start, hub: StandInHub) -> None:
    """Killed while it fetches, and again while the job runs: one job, and it ends."""
    sha = hub.commit({"model.onnx": fake_model(mark="slow", analyze={"do": "sleep", "seconds": 3})})
    service = hooked()
    real = hub.answer
    hub.server.answer = lambda _: Answer(503)
    tell(service, hub.push(sha))
    service.kill()
    hub.server.answer = real
    service.start()
    eventually(lambda: received(service)[0]["state"], lambda s: s == "waiting", 60)
    service.kill()
    service.start()
    assert over(service)["state"] == "done"
    assert len(service.client.get("/v1/jobs").json()["jobs"]) == 1


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_hub_that_hangs(hooked: Start, hub: StandInHub) -> None:
    released, real = threading.Event(), hub.answer
    hub.server.answer = lambda _: Answer(200 if released.wait(60) else 504)
    service = hooked()
    tell(service, hub.push("e" * 40))
    eventually(lambda: hub.server.asked, len)
    begun = time.monotonic()
    service.terminate()
    assert time.monotonic() - begun < 15
    released.set()
    hub.server.answer = real


# Keys


def test_tenants_see_their_own_and_hooks_need_no_key(hooked: Start, hub: StandInHub, files: LocalServer) -> None:
    allowed = f"{files.place},{hub.store.place}"
    service = hooked(hook_owner="ops", mlflow_tracking_uri=files.url, outbound_allow=allowed)
    keys = {owner: new_key(service, owner, "read,write")["secret"] for owner in ("ops", "other")}
    sha = hub.commit({"model.onnx": fake_model(mark="of ops")})
    assert tell(service, hub.push(sha)).status_code == 202
    assert service.client.get("/v1/webhooks/received").status_code == 401

    def ask(owner: str, method: str, path: str, **more: Any) -> Any:
        return service.client.request(method, path, headers={"X-API-Key": keys[owner]}, **more)

    def rows(owner: str, path: str, name: str) -> list[Any]:
        return list(ask(owner, "GET", path).json()[name])

    eventually(lambda: rows("ops", "/v1/webhooks/received", "received"), lambda r: r and r[0]["state"] == "done", 30)
    assert rows("other", "/v1/webhooks/received", "received") == []
    assert rows("other", "/v1/jobs", "jobs") == []
    [job] = rows("ops", "/v1/jobs", "jobs")
    again = {"model": job["model"], "webhook_url": files.url}
    assert ask("ops", "POST", "/v1/jobs", json=again).status_code == 202
    [delivery] = eventually(lambda: rows("ops", "/v1/webhooks/deliveries", "deliveries"), len)
    assert rows("other", "/v1/webhooks/deliveries", "deliveries") == []
    assert ask("other", "POST", f"/v1/webhooks/deliveries/{delivery['id']}/redeliver").status_code == 404
    secrets = {ask(owner, "GET", "/v1/webhooks/secret").json()["secret"] for owner in keys}
    assert len(secrets) == 2
    source = {"source": {"mlflow": {"name": "m", "version": "1"}}}
    assert slug(ask("other", "POST", "/v1/models", json=source)) == "source-refused"
    assert slug(ask("ops", "POST", "/v1/models", json=source)) == "source-unreachable"


def test_the_hubs_token_goes_to_no_other_host(hub: StandInHub, files: LocalServer) -> None:
    """Neither where a page of files is said to go on, nor where a file is said to lie, nor back from there."""
    secret = "hf_only_for_the_hub"
    hub.commit({"model.onnx": MODEL})
    elsewhere = {"Link": f'<{files.url}/more>; rel="next"'}
    listing = json.dumps([{"type": "file", "path": "model.onnx"}]).encode()
    files.answer = lambda asked: Answer(body=b"[]") if asked.path == "/more" else Answer(body=MODEL)

    def answer(asked: Asked) -> Answer:
        if "/tree/" in asked.path:
            return Answer(body=listing, headers=elsewhere)
        if "/resolve/" in asked.path:
            return Answer(302, headers={"Location": f"{files.url}/file"})
        return hub.answer(asked)

    with local_server(answer) as server:
        client = Hub.of(server.url, secret, Guard.of(files.place), 10)
        found = client.snapshot("acme/net", "main", "*.onnx")
        got: list[bytes] = []
        found.read(found.find().path, got.append)
        assert b"".join(got) == MODEL
        assert [asked.headers["authorization"] for asked in server.asked] == [f"Bearer {secret}"] * 3
    assert {asked.path for asked in files.asked} == {"/more", "/file"}
    assert not [asked for asked in files.asked if secret in str(asked.headers)]
