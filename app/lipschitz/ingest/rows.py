"""Whether a model whose file fixes a batch treats the rows one by one, proved from its graph, operator by operator.

Of every value that depends on the inputs is known that its first axis is the batch, that row i is a function of the
inputs' row i alone, and that this function is the same for every row. An operator that is not listed, or not in a form
that is, ends the proof: the model is then analysed as its file says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from app.lipschitz.artifact.captured import InputShapes
from app.lipschitz.ingest.onnx_declared import STANDARD_DOMAINS, declared_inputs, opset
from app.lipschitz.ingest.onnx_tensors import to_array

MAX_CONSTANT = 1 << 16
"""Entries of a constant that is looked into: of shapes and axes."""


OLDEST = 9
"""Before this operator set, operands broadcast along axes that attributes name."""


BY_ROW = "every operator of the graph acts row by row: with one norm for both spaces, one row's constant is that of all"
MIXED = "the request's inputs ask for it; whether the rows are independent is not proved"


class Unproved(Exception):
    """An operator may mix rows, or treat them differently."""


@dataclass
class Rows:
    """`ranks`: of the values that depend on the inputs; `shapes` and `values`: of stored constants."""

    opset: int
    batch: int
    ranks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    values: dict[str, list[int]]
    reshapes: dict[int, list[int]] = field(default_factory=dict)
    """By the node's position: its target shape with the batch copied from the input."""

    def rank(self, name: str) -> int:
        """The rank of a value that depends on the inputs."""
        if name not in self.ranks:
            raise Unproved
        return self.ranks[name]

    def constant(self, name: str) -> list[int]:
        """A stored list of integers."""
        if name not in self.values:
            raise Unproved
        return self.values[name]


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
    values = {name: _integers(to_array(tensor)) for name, tensor in small.items()}
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
        rows.reshapes[position] = _target_shape(rows, node)
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
    if (integers := _integers(to_array(given))) is not None:
        rows.values[node.output[0]] = integers


def _integers(array: np.ndarray) -> list[int] | None:
    return [int(x) for x in array.reshape(-1)] if array.dtype.kind in "iu" and array.size <= MAX_CONSTANT else None


def _attribute(node: NodeProto, name: str, default: object) -> object:
    match = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if match is None else helper.get_attribute_value(match)


def _only_first(rows: Rows, node: NodeProto) -> int:
    """The first operand depends on the inputs, and the others do not."""
    if any(name in rows.ranks for name in node.input[1:]):
        raise Unproved
    return rows.rank(node.input[0])


def _alone(rows: Rows, node: NodeProto) -> int:
    """The same, and the others' entries are those of every row."""
    return _only_first(rows, node) and _by_entry(rows, node)


def _by_entry(rows: Rows, node: NodeProto) -> int:
    """Operands broadcast, and no constant reaches the first axis with more than one row."""
    ranks = [rows.ranks[name] for name in node.input if name in rows.ranks]
    rank = max(ranks)
    for name in filter(None, node.input):
        shape = rows.shapes.get(name)
        if name in rows.ranks:
            fits = rows.ranks[name] == rank
        else:
            fits = shape is not None and (len(shape) < rank or (len(shape) == rank and shape[0] == 1))
        if not fits:
            raise Unproved
    return rank


def _images(rows: Rows, node: NodeProto) -> int:
    rank = _only_first(rows, node)
    if rank < 3 or len(node.output) > 1:  # positions count from the first row's
        raise Unproved
    return rank


def _batch_norm(rows: Rows, node: NodeProto) -> int:
    if _attribute(node, "training_mode", 0) or len(node.output) > 1:
        raise Unproved
    return _only_first(rows, node)


def _gemm(rows: Rows, node: NodeProto) -> int:
    bias = rows.shapes.get(node.input[2]) if len(node.input) > 2 and node.input[2] else ()
    if _attribute(node, "transA", 0) or bias is None or (len(bias) > 1 and bias[0] != 1):
        raise Unproved
    return _only_first(rows, node)


def _matmul(rows: Rows, node: NodeProto) -> int:
    left, right = node.input
    if right in rows.ranks:
        rank = rows.rank(left)
        if rank < 3 or rows.ranks[right] != rank:
            raise Unproved
        return rank
    if rows.rank(left) < 2 or len(rows.shapes.get(right, ())) != 2:
        raise Unproved
    return rows.rank(left)


def _target_shape(rows: Rows, node: NodeProto) -> list[int]:
    """Reshape's target with the batch copied: then a row's entries are reshaped, or nothing runs."""
    shape = rows.constant(node.input[1])
    is_batch = bool(shape) and shape[0] in (0, -1, rows.batch)
    if not is_batch or (_attribute(node, "allowzero", 0) and 0 in shape) or node.input[0] not in rows.ranks:
        raise Unproved
    return [0, *shape[1:]]


def _flatten(rows: Rows, node: NodeProto) -> int:
    if _attribute(node, "axis", 1) != 1:
        raise Unproved
    return _only_first(rows, node) and 2


def _axes(rows: Rows, node: NodeProto, rank: int) -> set[int]:
    """The axes that an attribute or the second operand names, from the front."""
    given = _attribute(node, "axes", None)
    if given is None and len(node.input) > 1 and node.input[1]:
        given = rows.constant(node.input[1])
    if given is None:
        raise Unproved
    return {axis % rank for axis in list(given)}  # type: ignore[call-overload]


def _reduction(rows: Rows, node: NodeProto) -> int:
    rank = _only_first(rows, node)
    axes = _axes(rows, node, rank)
    if not axes or 0 in axes:
        raise Unproved
    return rank if _attribute(node, "keepdims", 1) else rank - len(axes)


def _along(default: Callable[[int], int]) -> Callable[[Rows, NodeProto], int]:
    """An operator along one axis (by default `default(opset)`), which is not the first; operands are alike."""

    def rule(rows: Rows, node: NodeProto) -> int:
        rank = rows.rank(node.input[0])
        others = [rows.rank(name) for name in node.input] if node.op_type == "Concat" else [_only_first(rows, node)]
        axis = _attribute(node, "axis", default(rows.opset))
        if not isinstance(axis, int) or axis % rank == 0 or set(others) != {rank}:
            raise Unproved
        return _alone(rows, node) if node.op_type == "LayerNormalization" else rank

    return rule


def _transpose(rows: Rows, node: NodeProto) -> int:
    order = _attribute(node, "perm", None)
    if not order or next(iter(order)) != 0:  # type: ignore[call-overload]
        raise Unproved
    return _only_first(rows, node)


LATER = 13
"""From this operator set on, Softmax works along one axis, the last by default."""

BY_ENTRY_ALONE = frozenset({
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSigmoid", "HardSwish",
    "Gelu", "Mish", "Erf", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Atan", "Identity",
    "Dropout", "Cast", "Clip", "ThresholdedRelu",
})  # fmt: skip
OF_SEVERAL = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Pow", "PRelu"})
OF_IMAGES = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
                       "InstanceNormalization"})  # fmt: skip
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"})

RULES: dict[str, Callable[[Rows, NodeProto], int]] = {
    **dict.fromkeys(BY_ENTRY_ALONE, _alone),
    **dict.fromkeys(OF_SEVERAL, _by_entry),
    **dict.fromkeys(OF_IMAGES, _images),
    **dict.fromkeys(REDUCTIONS, _reduction),
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": lambda rows, node: len(_target_shape(rows, node)),
    "Flatten": _flatten,
    "Softmax": _along(lambda version: -1 if version >= LATER else 1),
    "LogSoftmax": _along(lambda version: -1 if version >= LATER else 1),
    "LayerNormalization": _along(lambda _version: -1),
    "Concat": _along(lambda _version: 0),
    "Split": _along(lambda _version: 0),
    "Transpose": _transpose,
}
"""What shows of an operator that it acts row by row; the rank of its results, or Unproved."""
