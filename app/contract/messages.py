"""What a child may say, of which types, and how much of it.

A child may be under the control of the program that it ran, so nothing that it says is believed to be well formed:
`read` checks size, encoding, depth, numbers and types, and only then is there a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from . import plain
from .comparison import ComparisonView
from .domain import Document
from .graph import GraphFacts, ModelFacts
from .progress import Name, Progress
from .result import CertificateView, ResultView, VerdictView

KIB, MIB = 2**10, 2**20


class NoMessage(ValueError):
    """A child sent what is not a message, or not one that it may send now."""


class Ready(BaseModel):
    """The child is warm."""

    device: Literal["cpu", "cuda"]
    confinement: Literal["full", "partial", "none"]
    torch: Name
    details: Document


class Failure(BaseModel):
    """A refusal by the library, or what it failed of."""

    slug: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,63}$")]
    detail: Annotated[str, Field(min_length=1)]


class Captured(BaseModel):
    """The captured graph follows as file `artifact`."""


TYPES: Mapping[str, tuple[type[BaseModel], int]] = {
    "ready": (Ready, 64 * KIB),
    "progress": (Progress, 4 * KIB),
    "error": (Failure, 16 * KIB),
    "inspection": (ModelFacts, 4 * MIB),
    "artifact": (Captured, KIB),
    "graph": (GraphFacts, 16 * MIB),
    "result": (ResultView, 8 * MIB),
    "comparison": (ComparisonView, 8 * MIB),
    "verdict": (VerdictView, 8 * MIB),
}
"""Every kind of message with its type, and the most bytes that it may take."""

MAX_CERTIFICATE_VALUES = 4_000_000

MAX_DETAIL = 3_000
"""Characters of an error's text; with six bytes each it stays below the cap."""


def max_bytes(kind: str) -> int:
    """The cap of that kind; NoMessage where there is none of that name."""
    if kind not in TYPES:
        raise NoMessage(f"there are no messages of kind {kind!r}")
    return TYPES[kind][1]


def read(kind: str, body: bytes) -> Document:
    """The message as plain JSON that has its kind's type; NoMessage where it has not."""
    if len(body) > max_bytes(kind):
        raise NoMessage(f"a message of kind {kind!r} takes {len(body)} bytes")
    return _typed(TYPES[kind][0], body, f"a message of kind {kind!r}")


def read_certificate(file: bytes) -> Document:
    """A certificate as plain JSON; what it proves is for `verify` to say. NoMessage where it is none."""
    return _typed(CertificateView, file, "the certificate", MAX_CERTIFICATE_VALUES)


def _typed(kind: type[BaseModel], data: bytes, what: str, max_values: int = plain.MAX_VALUES) -> Document:
    try:
        document: Document = plain.parse(data, max_values)
        kind.model_validate(document, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise NoMessage(f"{what} is not of its type: {place}: {first['msg'][:200]}") from error
    except ValueError as error:
        raise NoMessage(f"{what} cannot be read: {error}") from error
    return document
