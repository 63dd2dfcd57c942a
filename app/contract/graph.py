"""A model as its file tells it, and the graph that it is captured as."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class TensorView(BaseModel):
    """One input or output; -1 stands for a size that the file leaves open."""

    name: str = Field(description="Its name in the file.")
    datatype: str = Field(description="Type of an entry: FP32, INT64, ...")
    shape: list[int] = Field(description="Sizes of its axes; -1 where the file leaves one open.")


class ModelFacts(BaseModel):
    """What a look into the file tells."""

    format: Literal["onnx", "torchscript", "torch_export"] = Field(description="The file's format.")
    inputs: list[TensorView] = Field(description="Inputs as the file declares them.")
    outputs: list[TensorView] = Field(description="Outputs as the file declares them.")
    parameters: int = Field(description="Numbers that the file stores.")
    operators: dict[str, int] = Field(description="Operators of the file's graph, with their number.")
    unsupported: list[str] = Field(description="Operators without a rule.")
    warnings: list[str] = Field(description="What a user of the model should know.")


class OriginView(BaseModel):
    """Where a node comes from."""

    name: str = Field(description="Layer, module or stored tensor in the file.")
    op: str = Field(description="Its operator there.")


class NodeView(BaseModel):
    """One node of a captured graph."""

    index: int = Field(description="Its place in the graph, from 0.")
    name: str = Field(description="Its name in the captured graph.")
    op: str = Field(description="An ATen operator, `getitem` for one of its results, `input` or `stored`.")
    inputs: list[int] = Field(description="Indices of the nodes that it reads, all of them smaller.")
    shape: list[int] | None = Field(description="Null where there are several results.")
    datatype: str | None = Field(description="In the file; the analysis computes in FP64.")
    parameters: int = Field(description="Numbers that a stored tensor holds.")
    rule: str | None = Field(description="The rule of `GET /v1/operators`; null without one of its own.")
    origin: OriginView | None = Field(description="Where in the file it comes from.")
    constant: bool = Field(description="Whether it does not depend on the inputs, and needs no rule.")


class GraphEnd(TensorView):
    """One input or output of a captured graph."""

    node: int | None = Field(description="Index of its node; null where the graph was cut off before it.")


class GraphDigest(BaseModel):
    """Which captured graph it is."""

    sha256: str = Field(description="SHA-256 of the captured graph.")


class GraphFacts(BaseModel):
    """A captured graph, each node after those that it reads."""

    graph: GraphDigest = Field(description="Which graph it is.")
    nodes: list[NodeView] = Field(description="Its nodes, each after those that it reads.")
    inputs: list[GraphEnd] = Field(description="With the shapes that were used.")
    outputs: list[GraphEnd] = Field(description="With the shapes that came out.")
    choices: list[str] = Field(default=[], description="What `output: auto` takes in place of outputs that jump.")
    node_count: int = Field(description="How many nodes there are, shown or not.")
    truncated: bool = Field(description="Whether only the first nodes are shown.")
