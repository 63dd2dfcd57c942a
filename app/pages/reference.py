"""The OpenAPI document as a page: every endpoint, field and problem, with nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup, escape

from ..contract.plain import Json

REFERENCE = "#/components/schemas/"
CODE = re.compile(r"`([^`]+)`")
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxLength", "maxItems", "pattern")


@dataclass(frozen=True)
class Field:
    """A parameter, or a member of a schema."""

    name: str
    place: str
    kind: Markup
    is_required: bool
    about: Markup


@dataclass(frozen=True)
class Answer:
    """What an endpoint may answer with one status."""

    status: str
    kind: Markup
    about: Markup
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One endpoint."""

    method: str
    path: str
    about: Markup
    fields: tuple[Field, ...]
    bodies: tuple[tuple[str, Markup], ...]
    answers: tuple[Answer, ...]

    @property
    def anchor(self) -> str:
        """Where it stands on the page."""
        return f"{self.method}-{self.path}".lower()


@dataclass(frozen=True)
class Schema:
    """A JSON object, or another type with a name."""

    name: str
    about: Markup
    kind: Markup
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Reference:
    """An OpenAPI document, as the page shows it."""

    document: Json

    @cached_property
    def groups(self) -> dict[str, list[Operation]]:
        """The endpoints by their tag, in the document's order."""
        groups: dict[str, list[Operation]] = {}
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                tag = (operation.get("tags") or ["Others"])[0]
                groups.setdefault(tag, []).append(_operation(method.upper(), path, operation))
        return groups

    @cached_property
    def schemas(self) -> list[Schema]:
        return [_schema(name, schema) for name, schema in self.document["components"]["schemas"].items()]


def _operation(method: str, path: str, operation: Json) -> Operation:
    fields = tuple(
        _field(one["name"], one["schema"], one.get("required", False), one["in"], one.get("description"))
        for one in operation.get("parameters", [])
    )
    bodies = operation.get("requestBody", {}).get("content", {}).items()
    return Operation(
        method,
        path,
        _prose(operation.get("description", "")),
        fields,
        tuple((media, _kind(content.get("schema", {}))) for media, content in bodies),
        tuple(_answer(status, answer) for status, answer in operation["responses"].items()),
    )


def _answer(status: str, answer: Json) -> Answer:
    contents = answer.get("content", {})
    shown = Markup(", ").join(
        Markup("{} {}").format(media, _kind(content.get("schema", {}))) for media, content in contents.items()
    )
    problems = contents.get("application/problem+json", {}).get("examples", {})
    return Answer(status, shown, _prose(answer.get("description", "")), tuple(problems))


def _schema(name: str, schema: Json) -> Schema:
    required = schema.get("required", [])
    fields = tuple(_field(one, kind, one in required) for one, kind in schema.get("properties", {}).items())
    return Schema(name, _prose(schema.get("description", "")), _kind(schema), fields)


def _field(name: str, schema: Json, is_required: bool, place: str = "", about: str | None = None) -> Field:
    says = [about or schema.get("description", "")]
    if "default" in schema:
        says.append(f"Default: `{json.dumps(schema['default'])}`.")
    return Field(name, place, _kind(schema), is_required, _prose(" ".join(filter(None, says))))


def _kind(schema: Json) -> Markup:
    """The type in words, names of schemas as links."""
    return Markup("").join(_words(schema))


def _words(schema: Json) -> Iterator[str | Markup]:
    if reference := schema.get("$ref"):
        name = reference.removeprefix(REFERENCE)
        yield Markup('<a href="#schema-{}">{}</a>').format(name, name)
    elif choices := schema.get("anyOf") or schema.get("oneOf"):
        yield Markup(" or ").join(map(_kind, choices))
    elif "enum" in schema or "const" in schema:
        yield escape(" | ".join(map(json.dumps, schema.get("enum", [schema.get("const")]))))
    elif schema.get("type") == "array":
        yield Markup("list of ({})").format(_kind(schema.get("items", {})))
    else:
        limits = [f"{name} {schema[name]}" for name in LIMITS if name in schema]
        yield escape(", ".join([schema.get("format") or schema.get("type", "anything"), *limits]))


def _prose(text: str) -> Markup:
    """Text with its pieces of code marked."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped before)
