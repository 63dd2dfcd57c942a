"""What ingest hands on: one graph of ATen operators, whatever the file's format was."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.fx import GraphModule

InputShapes = dict[str, list[int]] | list[list[int]]
"""Input shapes by name or by position, as the caller gives them."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: Open Inference datatype (`FP32`, `INT64`, ...), shape with -1 where left open."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Origin:
    """Where an ATen node comes from: the layer's name in the source file and the source operator's type."""

    name: str
    op: str


@dataclass(frozen=True)
class Inspection:
    """What can be told without running the model (the `model` record of the HTTP contract)."""

    format: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    operators: dict[str, int]
    unsupported: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """So many rows were captured of those `of` that the file fixes, and why they stand for all."""

    rows: int
    of: int
    reason: str


@dataclass(frozen=True)
class Captured:
    """The model as a function of its floating-point inputs, in float64, checked against the original.

    `graph` holds `call_function` nodes on ATen overloads only; its placeholders are the floating-point
    inputs in order, its output is a flat tuple of tensors. Parameters and constants are `get_attr` nodes,
    float64 where they were floating-point (an exact conversion: nothing is folded here). Every node carries
    `meta["origin"]: Origin` and, when it yields a tensor, `meta["shape"]: tuple[int, ...]`.
    """

    graph: GraphModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    inspection: Inspection
    warnings: tuple[str, ...] = field(default=())
    batch: Batch | None = None
    left_out: str = ""
    """Why outputs of the file are none of the graph's; what they are made of is."""
