"""Every problem type maps to a status and a slug, and every refusal of the library to a problem type."""

import re
from collections.abc import Iterator

import pytest

from app.advice import ADVICE
from app.errors import TYPE_PREFIX, Problem
from app.lipschitz.errors import LipschitzError
from app.refusals import BY_SLUG, AnalysisFailed, from_slug, problem_types

STATUSES = {
    "internal-error": 500,
    "malformed-request": 400,
    "malformed-json": 400,
    "digest-mismatch": 400,
    "unauthorized": 401,
    "bad-signature": 401,
    "stale-delivery": 401,
    "forbidden": 403,
    "cross-site": 403,
    "not-found": 404,
    "unknown-model": 404,
    "unknown-dataset": 404,
    "unknown-series": 404,
    "version-taken": 409,
    "unknown-delivery": 404,
    "hook-disabled": 404,
    "unknown-job": 404,
    "no-witness": 404,
    "no-radii": 404,
    "no-certificate": 404,
    "method-not-allowed": 405,
    "model-in-use": 409,
    "dataset-in-use": 409,
    "idempotency-conflict": 409,
    "idempotency-mismatch": 422,
    "job-active": 409,
    "job-expired": 410,
    "too-large": 413,
    "not-a-model": 415,
    "not-a-dataset": 415,
    "foreign-host": 421,
    "request-timeout": 408,
    "header-too-large": 431,
    "request-refused": 400,
    "invalid-request": 422,
    "invalid-model": 422,
    "invalid-artifact": 422,
    "missing-data": 422,
    "surplus-data": 422,
    "invalid-dataset": 422,
    "invalid-inputs": 422,
    "unsupported-operator": 422,
    "data-dependent-control-flow": 422,
    "discontinuous-operator": 422,
    "stateful-model": 422,
    "not-globally-lipschitz": 422,
    "conversion-mismatch": 422,
    "incomparable-models": 422,
    "source-refused": 422,
    "source-unreachable": 502,
    "method-skipped": 422,
    "bracket-violation": 500,
    "analysis-failed": 500,
    "torchscript-refused": 422,
    "out-of-memory": 500,
    "worker-crashed": 500,
    "worker-protocol": 500,
    "worker-lost": 500,
    "queue-deadline": 504,
    "time-limit": 504,
    "queue-full": 429,
    "quota-exceeded": 429,
    "not-ready": 503,
    "draining": 503,
    "busy": 503,
    "too-many-connections": 503,
    "database-unavailable": 503,
    "storage-unavailable": 503,
    "storage-full": 507,
}


def refusals(kind: type[LipschitzError] = LipschitzError) -> Iterator[type[LipschitzError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from refusals(child)


def test_statuses_and_slugs_are_stable() -> None:
    assert {kind.slug: kind.status for kind in problem_types()} == STATUSES


@pytest.mark.parametrize("kind", list(problem_types()), ids=lambda kind: kind.slug)
def test_document_is_rfc_9457(kind: type[Problem]) -> None:
    fault = {"detail": "d", "pointer": "#/p"}
    document = kind("what happened", errors=[fault]).document("/v1/here")
    assert document.pop("advice", None) == ADVICE.get(kind.slug)
    assert document == {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": "what happened",
        "instance": "/v1/here",
        "errors": [fault],
    }
    assert re.fullmatch(r"[a-z-]+", kind.slug)
    assert kind.__doc__


@pytest.mark.parametrize("refusal", list(refusals()), ids=lambda refusal: refusal.slug)
def test_every_refusal_of_the_library_has_a_problem(refusal: type[LipschitzError]) -> None:
    assert refusal.slug in BY_SLUG
    assert from_slug(refusal.slug, "why").detail == "why"


def test_a_slug_that_a_child_invents_is_an_analysis_failure() -> None:
    assert isinstance(from_slug("made-up", "d"), AnalysisFailed)
