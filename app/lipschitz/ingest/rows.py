"""Whether a model whose file fixes a batch treats the rows one by one, proved from its graph, operator by operator.

Of every value that depends on the inputs is known that its first axis is the batch, that row i is a function of the
inputs' row i alone, and that this function is the same for every row. An operator that is not listed, or not in a form
that is, ends the proof: the model is then analysed as its file says.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from ..artifact.captured import InputShapes
from .onnx_declared import STANDARD_DOMAINS, declared_inputs, opset
from .onnx_tensors import to_array
from .row_rules import MAX_CONSTANT, RULES, Rows, Unproved, integers, target_shape

OLDEST = 9
"""Before this operator set, operands broadcast along axes that attributes name."""


BY_ROW = "every operator of the graph acts row by row: with one norm for both spaces, one row's constant is that of all"
MIXED = "the request's inputs ask for it; whether the rows are independent is not proved"


def fixed_batch(model: ModelProto) -> int | None:
    """The number of rows that every input of the model declares; None where it is open, one, or not the same."""
    shapes = [value.type.tensor_type.shape.dim for value in declared_inputs(model.graph)]
    leading = {dims[0].dim_value if len(dims) > 1 else 0 for dims in shapes}
    (size,) = leading if len(leading) == 1 else (0,)
    return size if size > 1 else None


def asked_for(model: ModelProto, shapes: InputShapes) -> int | None:
    """The number of rows in the shapes given for all the inputs; None where they do not agree."""
    names = [value.name for value in declared_inputs(model.graph)]
    given = [shapes.get(name) for name in names] if isinstance(shapes, dict) else list(shapes)
    counts = {shape[0] if shape else None for shape in given}
    return counts.pop() if len(counts) == 1 and len(given) == len(names) else None


def reshapes_by_row(model: ModelProto, batch: int) -> dict[int, list[int]] | None:
    """What `with_batch` needs of a model that treats its `batch` rows one by one; None where that is not proved."""
    graph = model.graph
    if opset(model) < OLDEST or model.functions:  # which may go by an operator's name
        return None
    names = [value.name for value in declared_inputs(graph)]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in declared_inputs(graph)}
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in names}
    shapes = {name: tuple(tensor.dims) for name, tensor in stored.items()}
    small = {name: tensor for name, tensor in stored.items() if np.prod(tensor.dims, initial=1) <= MAX_CONSTANT}
    values = {name: integers(to_array(tensor)) for name, tensor in small.items()}
    rows = Rows(
        opset(model), batch, ranks, shapes, {name: value for name, value in values.items() if value is not None}
    )
    try:
        for position, node in enumerate(graph.node):
            _follow(rows, position, node)
    except Unproved:
        return None
    return rows.reshapes if all(output.name in rows.ranks for output in graph.output) else None


def with_batch(model: ModelProto, size: int, reshapes: Mapping[int, list[int]]) -> ModelProto:
    """The same model for another number of rows."""
    other = ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    for value in declared_inputs(graph):
        value.type.tensor_type.shape.dim[0].dim_value = size
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    graph.ClearField("value_info")
    prefix = _unused(model, "lipserve_shape_")
    for position, shape in reshapes.items():
        node, name = graph.node[position], f"{prefix}{position}"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), name))
        node.input[1] = name
        kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        node.ClearField("attribute")
        node.attribute.extend(kept)
    return other


def _unused(model: ModelProto, prefix: str) -> str:
    """The prefix, longer where a name of the model begins with it."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    names |= {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix


def _follow(rows: Rows, position: int, node: NodeProto) -> None:
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise Unproved
    if not any(name in rows.ranks for name in node.input):
        _note_constant(rows, node)
        return
    rule = RULES.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
    if rule is None:
        raise Unproved
    if node.op_type == "Reshape":
        rows.reshapes[position] = target_shape(rows, node)
    rank = rule(rows, node)
    rows.ranks.update((name, rank) for name in node.output if name)


def _note_constant(rows: Rows, node: NodeProto) -> None:
    """A constant that is no initializer is known where it is written down in its node."""
    if node.op_type != "Constant":
        return
    if any(attribute.name in ("value_float", "value_int") for attribute in node.attribute):
        rows.shapes[node.output[0]] = ()
    given = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
    if given is None:
        return
    rows.shapes[node.output[0]] = tuple(given.dims)
    if (known := integers(to_array(given))) is not None:
        rows.values[node.output[0]] = known
