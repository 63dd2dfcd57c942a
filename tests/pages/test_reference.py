"""The page behind /docs: all of the OpenAPI document, and nothing from elsewhere."""

from __future__ import annotations

import re

import pytest

from app.pages.reference import Reference
from tests.conftest import RunningService

ELSEWHERE = re.compile(r"""(?:src|href|action|data|poster)\s*=\s*["']?(?:https?:)?//|url\(|@import""", re.IGNORECASE)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/", "/v1/jobs/none/report"])
def test_no_page_loads_anything_from_elsewhere(service: RunningService, path: str) -> None:
    answer = service.client.get(path, headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not ELSEWHERE.search(answer.text)
    assert set(re.findall(r"<script(?! nonce=)", answer.text)) == set()


def test_everything_of_the_document_is_shown(service: RunningService) -> None:
    document = service.client.get("/openapi.json").json()
    page = service.client.get("/docs").text
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in page
    for name, schema in document["components"]["schemas"].items():
        assert f'id="schema-{name}"' in page
        for member in schema.get("properties", {}):
            assert f"<code>{member}</code>" in page
    assert set(re.findall(r'href="#([^"]+)"', page)) <= {*re.findall(r'id="([^"]+)"', page)}


def test_what_a_document_says_is_text() -> None:
    hostile = "<script>alert(1)</script> `<b>`"
    operation = {
        "description": hostile,
        "parameters": [{"name": hostile, "in": "query", "schema": {"type": hostile, "default": hostile}}],
        "responses": {"200": {"description": hostile, "content": {hostile: {"schema": {"enum": [hostile]}}}}},
    }
    schema = {"description": hostile, "properties": {hostile: {"$ref": f"#/components/schemas/{hostile}"}}}
    document = {"paths": {"/x": {"get": operation}}, "components": {"schemas": {"S": schema}}}
    reference = Reference(document)
    shown = reference.groups["Others"][0]
    texts = [shown.about, shown.fields[0].kind, shown.fields[0].about, shown.answers[0].kind, shown.answers[0].about]
    texts += [reference.schemas[0].about, reference.schemas[0].fields[0].kind]
    assert not [text for text in texts if "<script" in text or "<b>" in text]
