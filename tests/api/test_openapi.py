"""The OpenAPI document covers every route and problem, and its examples are true."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.contract import examples
from app.contract.job import JobView
from app.contract.request import AnalysisFields, JobRequest
from app.contract.uploads import DatasetView, GraphView, ModelView
from app.main import create_app
from app.refusals import problem_types
from app.settings import Settings
from tests.conftest import ROOT, RunningService, fake_model

IN_JOBS_ONLY = {
    "discontinuous-operator", "not-globally-lipschitz", "method-skipped", "bracket-violation", "incomparable-models",
}  # fmt: skip
ANYWHERE = {
    "internal-error", "database-unavailable", "not-found", "method-not-allowed", "request-refused", "foreign-host",
    "request-timeout", "header-too-large", "too-many-connections",
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_every_path_of_the_contract_is_there(document: dict[str, Any]) -> None:
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert operations == {
        "GET /livez", "GET /readyz", "GET /v2/health/live", "GET /v2/health/ready", "GET /metrics",
        "GET /version", "GET /v1/methods", "GET /v1/operators", "GET /v1/workers",
        "GET /v1/models/{model_id}/graph",
        "GET /v1/series", "GET /v1/series/{name}", "DELETE /v1/series/{name}", "GET /series/{name}",
        "POST /v1/models", "GET /v1/models", "PUT /v1/models/{model_id}", "GET /v1/models/{model_id}",
        "HEAD /v1/models/{model_id}", "DELETE /v1/models/{model_id}",
        "POST /v1/datasets", "GET /v1/datasets", "GET /v1/datasets/{dataset_id}",
        "HEAD /v1/datasets/{dataset_id}", "DELETE /v1/datasets/{dataset_id}",
        "POST /v1/analyze", "POST /v1/comparisons", "POST /v1/jobs", "GET /v1/jobs", "GET /v1/jobs/{job_id}",
        "DELETE /v1/jobs/{job_id}", "POST /v1/jobs/{job_id}/cancel", "GET /v1/jobs/{job_id}/events",
        "GET /v1/jobs/{job_id}/witness", "GET /v1/jobs/{job_id}/radii", "GET /v1/jobs/{job_id}/certificate",
        "POST /v1/hooks/mlflow", "POST /v1/hooks/huggingface", "GET /v1/webhooks/secret",
        "GET /v1/webhooks/deliveries", "POST /v1/webhooks/deliveries/{delivery_id}/redeliver",
        "GET /v1/webhooks/received",
        "GET /", "POST /session", "DELETE /session", "GET /v1/jobs/{job_id}/report", "GET /v1/jobs/{job_id}/report.svg",
    }  # fmt: skip


def test_every_problem_is_announced_where_it_can_be_answered(document: dict[str, Any]) -> None:
    announced = {
        slug
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for slug in response.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }
    assert announced == {kind.slug for kind in problem_types()} - IN_JOBS_ONLY - ANYWHERE


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    names = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text


def test_every_operation_and_parameter_says_what_it_is(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            if path == "/v1/analyze":
                assert names == {"name", "version", "Idempotency-Key", *AnalysisFields.model_fields}


def test_examples_are_true() -> None:
    shown_as = (ModelView, examples.MODEL), (GraphView, examples.GRAPH), (DatasetView, examples.DATASET)
    for view, example in (*shown_as, (JobView, examples.JOB)):
        shown = TypeAdapter(view).validate_json(json.dumps(example)).model_dump(mode="json")
        assert set(shown) == set(example)
    assert AnalysisFields.model_validate(examples.REQUEST).canonical() == examples.REQUEST
    for example in JobRequest.model_json_schema()["examples"]:
        JobRequest.model_validate(example)


def test_the_job_example_has_the_members_of_a_real_job(service: RunningService) -> None:
    job = service.analyze(fake_model(test="members")).json()
    assert set(job) == set(examples.JOB)
    assert set(job["request"]) == set(examples.REQUEST)
    assert set(job["urls"]) == set(examples.JOB["urls"])


def test_the_command_line_prints_what_the_service_serves(service: RunningService) -> None:
    command = [sys.executable, "-m", "app", "openapi"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == service.client.get("/openapi.json").json()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
