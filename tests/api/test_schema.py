"""Requests made up from the OpenAPI document: nothing crashes, and every answer is one that the document promises."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from app.main import create_app
from app.settings import Settings
from tests.api.owners import client_of, new_key, upload
from tests.conftest import RunningService, eventually, fake_model
from tests.effort import THOROUGH

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
schema.config.phases.coverage.enabled = THOROUGH  # thousands of requests, one for every keyword of the document
NOT_PROMISED = [
    schemathesis.checks.CHECKS.get_one(name) for name in ("positive_data_acceptance", "negative_data_rejection")
]
"""An answer depends on what was uploaded, which no schema tells; bodies that are files are of any shape."""


SERVER_ERROR = schemathesis.checks.CHECKS.get_one("not_a_server_error")
UNREACHABLE = 502
"""Of a source that nobody can reach; the only error above 499 that is no defect."""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """A client of a service with keys, and ids that exist there."""
    service = RunningService(tmp_path_factory.mktemp("schema") / "data", max_upload_bytes=2**20, max_wait_s=0.1)
    service.start()
    with client_of(service, new_key(service, "ada", "read,write,admin")["secret"]) as client:
        model = upload(client, fake_model(test="schema"))
        job = client.post("/v1/jobs", json={"model": model}).json()
        url = job["urls"]["self"]  # asked again and again: this service lets nobody wait
        eventually(lambda: client.get(url).json()["status"], lambda status: status == "succeeded", within_s=30)
        yield client, {"model_id": model, "job_id": job["id"]}
    service.stop()


CHECKS = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@schema.parametrize()
@settings(max_examples=300 if THOROUGH else 10, deadline=None, suppress_health_check=CHECKS)
def test_every_answer_is_promised(case: Case, keyed: tuple[httpx.Client, dict[str, str]]) -> None:
    client, known = keyed
    for name, value in (case.path_parameters or {}).items():
        if case.method != "DELETE" and name in known and len(str(value)) % 2:
            case.path_parameters[name] = known[name]
    # Browsers get problems as pages; what the document promises is for everybody else.
    headers = {"Authorization": client.headers["Authorization"], "Accept": "application/json"}
    response = case.call(base_url=str(client.base_url), headers=headers, timeout=30)
    promised = [*NOT_PROMISED, SERVER_ERROR] if response.status_code == UNREACHABLE else NOT_PROMISED
    case.validate_response(response, headers=headers, excluded_checks=promised)
