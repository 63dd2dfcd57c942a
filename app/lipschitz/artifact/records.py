"""The JSON half of an artifact, as types: what is not of this shape is refused before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

VERSION = 1

MAX_NODES = 200_000
MAX_TEXT = 1000
"""Characters of a name or a warning."""
MAX_AXES = 64
MAX_ELEMENTS = 1 << 28
"""Entries of one tensor."""

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""Neither control characters nor marks that turn the direction of what follows."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=PRINTABLE)]
Identifier = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Target = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){1,2}$")]
Size = Annotated[int, Field(ge=0, le=MAX_ELEMENTS)]
OpenSize = Annotated[int, Field(ge=-1, le=MAX_ELEMENTS)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Index = Annotated[int, Field(ge=0, lt=MAX_NODES)]
Texts = Annotated[list[Text], Field(max_length=10_000)]
Shape = Annotated[list[Size], Field(max_length=MAX_AXES)]


class Record(BaseModel):
    """Exactly the fields named, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Spec(Record):
    """A tensor that goes in or comes out; open sizes (-1) only in what the file declares."""

    name: Text
    datatype: Text
    shape: Annotated[list[OpenSize], Field(max_length=MAX_AXES)]


class Declared(Record):
    """What the file says of itself."""

    format: Literal["onnx", "torchscript", "torch_export"]
    inputs: Annotated[list[Spec], Field(max_length=10_000)]
    outputs: Annotated[list[Spec], Field(max_length=10_000)]
    parameters: Count
    operators: Annotated[dict[Text, Count], Field(max_length=10_000)]
    unsupported: Texts
    warnings: Texts


class Place(Record):
    """Where a node comes from."""

    name: Text
    op: Text


class Node(Record):
    """One step. `arguments` are encoded as in `arguments`; a stored tensor's is the tensor's name, an item's its place.

    `datatype` is the element type in the model's own precision, for people; None where several tensors come out.
    """

    kind: Literal["input", "stored", "call", "item", "unsupported"]
    name: Identifier
    place: Place
    shape: Shape | None
    datatype: Text | None
    target: Target | None = None
    args: list[Any] = []
    kwargs: dict[Identifier, Any] = {}


class Batch(Record):
    """Which part of a fixed batch was captured."""

    rows: Annotated[int, Field(ge=1, lt=2**31)]
    of: Annotated[int, Field(ge=1, lt=2**63)]
    reason: Text


class Graph(Record):
    """The whole: nodes read earlier nodes only, `results` are the nodes that come out; `samples` runs travel along."""

    version: Literal[1]
    declared: Declared
    inputs: Annotated[list[Spec], Field(min_length=1, max_length=10_000)]
    outputs: Annotated[list[Spec], Field(min_length=1, max_length=10_000)]
    warnings: Texts
    nodes: Annotated[list[Node], Field(max_length=MAX_NODES)]
    results: Annotated[list[Index], Field(min_length=1, max_length=10_000)]
    samples: Annotated[int, Field(ge=0, le=100)]
    batch: Batch | None = None
    left_out: Text = ""
