"""Versions of a model: named at upload, remembered with their numbers, shown as a series."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from app.client import Client
from app.contract.series import ModelVersion, numbers_of
from app.drain import Drain
from app.pages import render
from app.pages.series import page_of
from app.services import Services
from app.settings import Settings
from app.store.series_tables import answers, versions
from tests.api.owners import client_of, new_key
from tests.conftest import RunningService, fake_model
from tests.pages.conftest import answered
from tests.pages.html import Page
from tests.pages.results import HOSTILE, layer, result

BOX = {"kind": "box", "lower": 0, "upper": 1}


def told(upper: float, norm: float = 2.0, **more: Any) -> dict[str, Any]:
    """A result with that bound, and one layer of that norm."""
    one = layer(0, "fc1", norm={"upper": norm, "lower": norm, "method": "gram"}, sources=[])
    bound = {"value": upper, "method": "exact", "guarantee": "certified"}
    return result(upper=bound, layers=[one], **more)


def release(service: RunningService, name: str, version: str, found: dict[str, Any]) -> str:
    """Upload a version; its id."""
    model = fake_model(result=found, of=[name, version])
    answer = service.client.post("/v1/models", content=model, params={"name": name, "version": version})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def analyse(service: RunningService, model: str, **request: Any) -> dict[str, Any]:
    job = service.client.post("/v1/jobs", json={"model": model} | request, headers={"Prefer": "wait=30"}).json()
    assert job["status"] == "succeeded", job
    return dict(job)


def series(service: RunningService, name: str, **query: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/series/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def uppers(view: dict[str, Any]) -> list[tuple[str, float | None]]:
    return [(one["version"], one["upper"]) for one in view["versions"]]


def test_versions_are_remembered_with_their_numbers(pages: RunningService) -> None:
    first = release(pages, "acme/net", "1", told(8.0))
    release(pages, "acme/net", "2", told(9.0))
    assert uppers(series(pages, "acme/net")) == [("1", None), ("2", None)]
    radii = {"rows": 4, "evaluated": 4, "right": 3, "mean": None, "median": 0.375, "worst": [], "methods": {}}
    radii |= {"certified": [], "ceiling": [], "classes": []}
    third = release(pages, "acme/net", "3", told(16.0, 6.0, radii=radii))
    for model in (first, third):
        job = analyse(pages, model)
    view = series(pages, "acme/net")
    assert uppers(view) == [("1", 8.0), ("2", None), ("3", 16.0)]
    newest = view["versions"][2]
    assert newest["layers"] == [{"name": "fc1", "norm": 6.0}]
    assert newest["radii"] == {"rows": 4, "right": 3, "mean": None, "median": 0.375}
    assert (newest["job"], newest["lower"], newest["model"]) == (job["id"], 8.0, third)
    assert [one["versions"] for one in view["questions"]] == [2]


def test_only_answers_to_one_question_stand_side_by_side(pages: RunningService) -> None:
    """A bound on a box beside one on the whole space would be an improvement that nobody made."""
    ids = [release(pages, "mixed", str(k), told(8.0 + k)) for k in range(2)]
    for model in ids:
        analyse(pages, model, methods=["autolip"])
    analyse(pages, ids[0], domain=BOX)
    view = series(pages, "mixed")
    assert uppers(view) == [("0", 8.0), ("1", 9.0)]
    [_, boxed] = view["questions"]
    assert boxed["asked"]["domain"] == BOX
    assert uppers(series(pages, "mixed", question=boxed["id"])) == [("0", 8.0), ("1", None)]


def test_a_model_that_was_analysed_before_brings_its_numbers(pages: RunningService) -> None:
    found = told(5.0, of="before")
    job = answered(pages, found)
    again = pages.client.post("/v1/models", content=fake_model(result=found), params={"name": "late", "version": "1"})
    assert (again.status_code, again.json()["id"]) == (200, job["model"])
    [version] = series(pages, "late")["versions"]
    assert (version["upper"], version["job"]) == (5.0, job["id"])


def test_a_version_is_one_model_for_ever(pages: RunningService) -> None:
    release(pages, "fixed", "1", told(1.0))
    other = {"content": fake_model(result=told(2.0), of="other"), "params": {"name": "fixed", "version": "1"}}
    refused = pages.client.post("/v1/models", **other)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:lipserve:problem:version-taken")
    nameless = pages.client.post("/v1/models", content=fake_model(), params={"version": "1"})
    assert nameless.status_code == 422
    assert pages.client.get("/v1/series/nobody").json()["type"] == "urn:lipserve:problem:unknown-series"


def test_the_client_names_versions(pages: RunningService, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(fake_model(result=told(3.0), of="client"))
    with Client(pages.url) as client:
        client.analyze(path, {}, name="by client", version="1.0 rc")
        [version] = client.series("by client").versions
    assert (version.version, version.upper) == ("1.0 rc", 3.0)


def test_the_page_draws_two_versions_side_by_side(pages: RunningService) -> None:
    for version, upper, norm in (("1", 8.0, 2.0), ("2", 9.0, 2.0), ("3", 16.0, 6.0)):
        analyse(pages, release(pages, HOSTILE[:60], version, told(upper, norm)))
    answer = pages.client.get("/series/" + HOSTILE[:60].replace("&", "%26").replace("?", "%3F").replace("#", "%23"))
    assert answer.status_code == 200, answer.text
    page = Page(answer.text)
    assert "The bracket, version by version" in page.text
    assert "norm of fc1 2 6 3" in " ".join(page.text.split())
    assert [a["href"] for a in page.named("a") if "/report" in (a.get("href") or "")]
    assert not [a for a in page.named("script") if a.get("src")]
    assert not list(page.named("img"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    built = Services.build(Settings(data_dir=tmp_path_factory.mktemp("series"), local_workers=False), Drain())
    yield built
    built.database.close()


def filled(services: Services, name: str, count: int) -> None:
    """A series of that many versions, each with a job, a result and 50 layers."""
    asked = {"norm": "2", "domain": {"kind": "all"}, "target": {"kind": "all"}}
    norms = [{"name": f"layer{k}", "norm": 1.5} for k in range(50)]
    rows = [{"tenant": "", "model": f"{k:064x}", "question": "q", "asked": asked, "job": f"{name}{k}", "at": 1.0 + k,
             "upper": 10.0 + k, "lower": 5.0, "layers": norms, "radii": None} for k in range(count)]  # fmt: skip
    with services.database.write() as connection:
        connection.execute(delete(answers))
        connection.execute(insert(answers), rows)
        named = [{"tenant": "", "name": name, "version": str(k), "model": f"{k:064x}", "created_at": 1.0 + k}
                 for k in range(count)]  # fmt: skip
        connection.execute(insert(versions), named)


def test_a_hundred_versions_are_drawn_at_once(services: Services) -> None:
    filled(services, "long", 100)
    began = time.process_time()
    page = render.page("series.html", None, page=page_of(services.series.view("", "long")))
    assert time.process_time() - began < 10  # half a second on a quiet machine, the first drawing included
    shown = Page(bytes(page.body).decode())
    assert len(list(shown.named("option"))) == 200
    assert ">99<" in bytes(page.body).decode()  # the last version is named on the axis
    described = [a["aria-label"] for a in shown.named("div") if a.get("role") == "img"]
    assert described == 2 * ["The bracket of 100 versions; the upper bound goes from 10 to 109."]


def test_numbers_stay_when_jobs_and_files_go(pages: RunningService, services: Services) -> None:
    model = release(pages, "kept", "1", told(7.0))
    job = analyse(pages, model)
    assert pages.client.delete(job["urls"]["self"]).status_code == 204
    assert pages.client.delete(f"/v1/models/{model}").status_code == 204
    [version] = series(pages, "kept")["versions"]
    assert (version["upper"], version["job"]) == (7.0, None)
    assert pages.client.delete("/v1/series/kept").status_code == 204
    assert pages.client.get("/v1/series/kept").status_code == 404


def test_owners_do_not_see_each_others_series(tmp_path: Path) -> None:
    service = RunningService(tmp_path / "data", worker_module="tests.pages.told_worker")
    service.start()
    try:
        secrets = {owner: new_key(service, owner, "read,write")["secret"] for owner in ("ada", "bob")}
        named = {"content": fake_model(result=told(1.0)), "params": {"name": "net", "version": "1"}}
        with client_of(service, secrets["ada"]) as ada, client_of(service, secrets["bob"]) as bob:
            assert ada.post("/v1/models", **named).status_code == 201
            assert ada.get("/series/net").status_code == 200
            assert [bob.get(path).status_code for path in ("/v1/series/net", "/series/net")] == [404, 404]
            assert bob.delete("/v1/series/net").status_code == 404
        assert service.client.get("/series/net").status_code == 401
    finally:
        service.stop()


def test_names_of_registries_are_cut_to_what_is_kept() -> None:
    named = ModelVersion.of("n\x00" * 300, "v" * 100)
    assert (len(named.name), len(named.version), named.name.isprintable()) == (255, 64, True)
    assert numbers_of({"upper": None, "lower": None}) == {"upper": None, "lower": None, "layers": [], "radii": None}


def test_the_index_has_the_newest_version_of_each_in_pages(pages: RunningService) -> None:
    old = release(pages, "indexed a", "1", told(8.0))
    release(pages, "indexed b", "1", told(3.0))
    release(pages, "indexed a", "2", told(9.0))
    newest = release(pages, "indexed c", "1", told(4.0, 2.0))
    for model in (old, newest):
        analyse(pages, model)
    seen, token = [], None
    with Client(pages.url) as client:
        while len(seen) < 3:
            params = {"page_size": 1} | ({"page_token": token} if token else {})
            answer = pages.client.get("/v1/series", params=params).json()
            seen += answer["series"]
            token = answer["next_page_token"]
        assert [one.name for one in client.all_series().series][:3] == [one["name"] for one in seen]
    assert [(one["name"], one["version"], one["versions"], one["upper"]) for one in seen] == [
        ("indexed c", "1", 1, 4.0), ("indexed a", "2", 2, None), ("indexed b", "1", 1, None),
    ]  # fmt: skip
    assert seen[0]["question"] == series(pages, "indexed c")["question"]
