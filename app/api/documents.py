"""Pieces of the OpenAPI document that the framework cannot derive: problem answers, streamed bodies."""

from __future__ import annotations

from ..contract.plain import Json
from ..contract.request import AnalysisFields
from ..errors import Problem
from .problems import MEDIA_TYPE

Responses = dict[int | str, Json]


def answers(*kinds: type[Problem], also: Responses | None = None) -> Responses:
    """The responses of an endpoint that may answer these problems, with an example of each, and `also`."""
    responses: Responses = dict(also or {})
    for kind in kinds:
        response = responses.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}, "examples": {}}},
            },
        )
        joined = "; ".join(filter(None, (response["description"], kind.title)))
        response["description"] = joined
        response["content"][MEDIA_TYPE]["examples"][kind.slug] = {"value": kind().document("/v1/...")}
    return responses


def file_body(*, with_request: bool = False, source: str | None = None, is_model: bool = True) -> Json:
    """The body of an upload: a form with part `file`, or the file itself, or JSON of the schema `source`.

    A model may take several parts `file`.
    """
    one = {"type": "string", "format": "binary"}
    many = "A model, and the files beside it that hold its weights; or a .zip, .tar or .tar.gz of their folder."
    parts: Json = {"file": {"type": "array", "items": one, "description": many} if is_model else one}
    if with_request:
        parts["request"] = {"$ref": "#/components/schemas/AnalysisFields"}
    form = {"type": "object", "required": ["file"], "properties": parts}
    raw = {"schema": {"type": "string", "format": "binary"}}
    content = {"multipart/form-data": {"schema": form}, "application/octet-stream": raw}
    if source is not None:
        content["application/json"] = {"schema": {"$ref": f"#/components/schemas/{source}"}}
    return {"requestBody": {"required": True, "content": content}}


def json_body(schema: str) -> Json:
    """A JSON body of that schema."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


def query_fields() -> Json:
    """Every field of an analysis as a query parameter."""
    fields = AnalysisFields.model_fields.items()
    return {"parameters": [_query_parameter(name, field.description or "") for name, field in fields]}


def _query_parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}
