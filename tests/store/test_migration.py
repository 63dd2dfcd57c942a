"""A database that version 0.1 wrote: brought up to date, and all that was in it served as it was then.

`tests/data/store/0005.sql` holds two jobs on examples/iris.onnx, as that version left them, `0005.json` its answers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.submission import view_of
from app.api.views import model_view
from app.drain import Drain
from app.pages import render
from app.pages.report import report_of
from app.services import Services
from app.settings import Settings
from tests.conftest import ROOT

DATA = ROOT / "tests" / "data" / "store"
ANSWERS: list[dict[str, Any]] = json.loads((DATA / "0005.json").read_text())


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder: Path = tmp_path_factory.mktemp("old")
    with sqlite3.connect(folder / "lipserve.db") as database:
        database.executescript((DATA / "0005.sql").read_text())
    database.close()
    built = Services.build(Settings(data_dir=folder, local_workers=False), Drain())
    yield built
    built.database.close()


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer["request"]["domain"]["kind"]))
def test_jobs_of_before_are_served_as_they_were(services: Services, answer: dict[str, Any]) -> None:
    job = services.jobs.get("", answer["id"])
    served = json.loads(view_of(services, job).model_dump_json(exclude_unset=True))
    served["urls"] = {name: served["urls"][name] for name in answer["urls"]}  # what an answer has may grow
    assert {name: served[name] for name in answer} == answer
    assert served["bracket"]["upper"] == answer["result"]["upper"]["value"]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer["request"]["domain"]["kind"]))
def test_their_reports_are_drawn(services: Services, answer: dict[str, Any]) -> None:
    job = view_of(services, services.jobs.get("", answer["id"]))
    model = model_view(services.models.get("", job.model))
    page = render.page("report.html", "report.js", report=report_of(job, model, []), base_url="http://localhost")
    assert b"iris.onnx" in page.body


def test_their_certificates_and_models_are_there(services: Services) -> None:
    proved = next(answer for answer in ANSWERS if answer["urls"]["certificate"])
    certificate = services.jobs.certificate("", proved["id"])
    assert certificate["bound"] >= proved["result"]["upper"]["value"]
    [model] = services.models.page("", 10, None)
    assert (model.name, model_view(model).files[0].sha256) == ("iris.onnx", model.id)
