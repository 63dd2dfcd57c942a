"""The contract's types: every field says what it is, and what was stored once is served as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.api.views import job_view
from app.client import Job, Unexpected
from app.contract import examples
from app.contract.methods import METHODS
from app.contract.question import MethodOptions
from app.contract.request import AnalysisFields
from app.jobs.record import JobRecord, Kind
from app.jobs.states import Status
from app.main import create_app
from app.settings import Settings
from tests.pages.results import result

RECORD = JobRecord(
    id="j", kind=Kind.ANALYZE, status=Status.SUCCEEDED, model="0" * 64, blob="b", request=dict(examples.REQUEST),
    metadata={}, cached=False, priority=5, timeout_s=60.0, created_at=1.0, started_at=2.0, finished_at=3.0,
    expires_at=None, attempt=1, losses=0, owner="o", worker="w", device="cpu", progress=None, error=None,
    has_witness=False, has_certificate=False, dataset=None, tenant="", start_by=None, expired=False, quick=False,
    program=False, computed_at=None, has_radii=False, computed_s=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    document: dict[str, Any] = create_app(Settings()).openapi()
    return document["components"]["schemas"]


def test_every_field_says_what_it_is(schemas: dict[str, Any]) -> None:
    silent = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, told in schema.get("properties", {}).items()
        if not told.get("description")
    }
    assert not silent


def test_a_result_is_a_type_down_to_its_layers(schemas: dict[str, Any]) -> None:
    told = schemas["JobView"]["properties"]["result"]["anyOf"]
    assert {"$ref": "#/components/schemas/ResultView"} in told
    assert {"upper", "lower", "estimates", "layers", "certificates"} <= schemas["ResultView"]["properties"].keys()
    assert schemas["ResultView"]["properties"]["layers"]["items"] == {"$ref": "#/components/schemas/LayerView"}
    assert {"lipschitz", "cumulative", "share"} <= schemas["LayerView"]["properties"].keys()


def test_options_are_a_type_a_method(schemas: dict[str, Any]) -> None:
    assert MethodOptions.model_fields.keys() == {method.name for method in METHODS}
    for method in METHODS:
        assert MethodOptions.model_fields[method.name].annotation is method.settings
    assert schemas["LipsdpOptions"]["properties"]["form"]["enum"] == ["layer", "neuron", "network"]


def test_defaults_of_options_are_not_part_of_the_question() -> None:
    assert AnalysisFields.model_validate({}).canonical()["options"] == {}
    given = {"gradient": {"steps": 3}, "exact": {}}
    assert AnalysisFields.model_validate({"options": given}).canonical()["options"] == given


BEFORE = result()
"""A result in the form of the first version: no factors, sources or captured graph."""
ODD = {"domain": {"kind": "cone"}, "upper": 3.0, "layers": "none", "more": [1]}
"""What never was a result."""


@pytest.mark.parametrize("stored", [BEFORE, ODD], ids=["before", "odd"])
def test_what_was_stored_is_served_as_it_was(stored: dict[str, Any]) -> None:
    of_before = {name: stored[name] for name in stored if name != "upper"} | {"upper": None}
    served = json.loads(job_view(RECORD, of_before).model_dump_json(exclude_unset=True))
    assert served["result"] == of_before
    assert served["request"] == examples.REQUEST


def test_a_request_of_another_time_is_served_as_it_was() -> None:
    request = {"methods": "auto", "norm": "7", "options": {"magic": {"x": 1}}}
    served = json.loads(job_view(replace(RECORD, request=request), None).model_dump_json(exclude_unset=True))
    assert served["request"] == request


def test_a_client_gets_types() -> None:
    job = Job.of(dict(examples.JOB))
    assert job.result is not None
    assert (job.result.ends, job.result.layers[0].share, job.verdict) == ((23.9, 26.1), 0.6, None)
    with pytest.raises(Unexpected, match="finished_at"):
        Job.of({name: value for name, value in examples.JOB.items() if name != "finished_at"})
